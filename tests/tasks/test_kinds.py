"""The settings of kinds, and what they do to the identity of stored results."""

import pytest

from verify.tasks.kinds import KINDS, inference_settings, scoring_settings, settings_of

STORED_BEFORE = {
    "sequence-classification": {},
    "image-classification": {},
    "token-classification": {"scheme": "auto", "subword": "first"},
    "question-answering": {
        "max_input_tokens": 384,
        "stride": 128,
        "max_answer_tokens": 30,
        "n_best": 20,
        "no_answer": "auto",
        "no_answer_threshold": 0.0,
    },
}
"""What identified results before truncation_side, lowercase_input, interpolation, resize and crop_pct were added."""


@pytest.mark.parametrize("kind", STORED_BEFORE)
def test_results_stored_before_a_setting_was_added_are_found_again(kind):
    assert inference_settings(kind, {}) == STORED_BEFORE[kind]
    silent = {name: spec.default for name, spec in KINDS[kind].settings.items() if spec.added_later}
    assert silent
    assert inference_settings(kind, silent) == STORED_BEFORE[kind]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("sequence-classification", "truncation_side", "left"),
        ("sequence-classification", "lowercase_input", True),
        ("token-classification", "lowercase_input", True),
        ("question-answering", "lowercase_input", True),
        ("image-classification", "interpolation", "bicubic"),
        ("image-classification", "resize", "exact"),
        ("image-classification", "crop_pct", 0.875),
    ],
)
def test_a_setting_that_is_changed_is_another_result(kind, name, value):
    assert inference_settings(kind, {name: value}) == {**STORED_BEFORE[kind], name: value}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_either_changes_predictions_or_how_they_are_scored(kind):
    given = {name: spec.allowed[-1] if spec.allowed else spec.type(1) for name, spec in KINDS[kind].settings.items()}
    inference, scoring = inference_settings(kind, given), scoring_settings(kind, given)
    assert not inference.keys() & scoring.keys()
    assert {**inference, **scoring} == settings_of(kind, given) == given
