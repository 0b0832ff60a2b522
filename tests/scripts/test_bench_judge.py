"""The judge's benchmark on causes: what is printed, how outcomes are counted, and the quick form as a whole."""

import pytest
from bench_judge import in_words
from benchmarks.causes.cards import FOUR, FOUR_PERCENT, THREE, Injected, Labels, Placebo
from benchmarks.causes.runs import Runs
from benchmarks.judge.causes import judged_card, printed, rows, tallied
from scipy.stats import beta
from sklearn.metrics import f1_score

from verify.types import Unit

FIELDS = {"name", "peer", "ours", "theirs", "ratio", "unit", "runs", "equal", "low", "high"}


@pytest.mark.parametrize(
    ("metric", "style", "slip", "literal", "unit"),
    [
        ("accuracy", FOUR, 1.0, "0.8107", Unit.FRACTION),
        ("accuracy", THREE, 1.0, "0.811", Unit.FRACTION),
        ("accuracy", FOUR_PERCENT, 1.0, "81.07", Unit.PERCENT),
        ("accuracy", FOUR, 0.01, "0.8107", Unit.PERCENT),
        ("mse", FOUR_PERCENT, 1.0, "0.8107", Unit.RAW),
    ],
)
def test_a_card_prints_a_number_in_its_style(metric, style, slip, literal, unit):
    found = printed("org/model", metric, 0.81068, style, slip)
    assert (found.literal, found.unit) == (literal, unit)


def test_without_the_data_nothing_is_run_and_one_line_says_so(tmp_path, capsys):
    assert list(rows(quick=False, data=tmp_path / "none", cache=tmp_path)) == []
    assert "there are no data in" in capsys.readouterr().err


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    from benchmarks.causes.quick import made_up

    return Runs(made_up, tmp_path_factory.mktemp("causes"))


@pytest.mark.slow
def test_cards_are_judged_and_counted(made_up):
    run = made_up.run("topics", 0)
    labels = Labels.of(run)
    predicted = labels.logits.argmax(axis=1)
    right = f1_score(labels.reference, predicted, average="macro")
    weighted = f1_score(labels.reference, predicted, average="weighted")
    assert abs(right - weighted) > 0.002
    cards = [
        Injected("averaging", ("averaging",), run, {"f1_macro": weighted, "accuracy": labels.plain()["accuracy"]}),
        Injected("averaging", ("label_order",), run, {"f1_macro": weighted}),
        Injected("averaging", ("averaging",), run, {"f1_macro": right}),
        Placebo("another model's", run, {"accuracy": labels.plain()["accuracy"] - 0.0731}),
    ]
    outcomes = [judged_card(card, made_up) for card in cards]
    assert [one.named for one in outcomes[:3]] == ["averaging", "averaging", None]
    assert [one.is_right for one in outcomes] == [True, False, False, False]
    assert outcomes[0].explained == "averaging"
    found = {row["name"]: row for row in tallied(outcomes)}
    named = found["averaging: cause named first"]
    assert (named["ours"], named["runs"], named["other_named"]) == (0.5, 2, 1)
    assert named["low"] == pytest.approx(beta.ppf(0.025, 1, 2))
    assert named["high"] == pytest.approx(beta.ppf(0.975, 2, 1))
    assert found["all cards: every number holds as it is"]["ours"] == 0.25
    assert found["placebos: explained"]["runs"] == 1


@pytest.mark.slow
def test_the_quick_form_names_causes_and_explains_placebos_by_chance_at_most(made_up):
    found = {row["name"]: row for row in rows(quick=True, cache=made_up.cache)}
    assert all(set(row) >= FIELDS and row["low"] <= row["ours"] <= row["high"] for row in found.values())
    assert all(in_words(row).startswith(name) for name, row in found.items())
    assert found["all causes: cause named first"]["runs"] >= 12
    assert found["all causes: cause named first"]["ours"] >= 0.9
    placebos = found["placebos: explained"]
    assert placebos["runs"] >= 12
    assert placebos["ours"] <= 0.15  # each has a chance of a twentieth at most, of some 25
    assert found["explained cards: rightly, placebos counted"]["ours"] >= 0.8
