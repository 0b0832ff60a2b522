"""What several hypotheses need of one case: the statistics of each example, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from verify.judging.cases import Case, once, wanted
from verify.metrics.additive import Additive, Floats, mean_of
from verify.metrics.families.rouge import ROUGE
from verify.metrics.families.text import best_rouge
from verify.metrics.registry import additive_metrics
from verify.store.predictions import Family, TextPredictions


def statistics(case: Case) -> Mapping[str, Additive]:
    """The metrics that the claims can be about, as far as they are functions of sums over examples."""
    if case.predictions.family is Family.SUMMARIES:
        return {name: mean_of(values[:, 2]) for name, values in rouge(case).items()}
    return once(case, "statistics", lambda: additive_metrics(case.predictions, case.settings, wanted(case)))


def rouge(case: Case, stem: bool | None = None, sentences: str | None = None) -> dict[str, Floats]:
    """Precision, recall and F-measure [N, 3] of every ROUGE metric that the claims are about.

    Under the task's settings, but for those given. Only rougeLsum depends on ``sentences``.
    """
    own = str(case.settings.get("sentences", "rule"))
    stem = bool(case.settings.get("use_stemmer", True)) if stem is None else stem
    sentences = own if sentences is None else sentences
    names = [name for name in ROUGE if name in wanted(case)]
    if sentences != own:
        names = [name for name in names if name == "rougeLsum"]
    changed = {**case.settings, "use_stemmer": stem, "sentences": sentences}
    predictions = cast(TextPredictions, case.predictions)
    found = once(case, f"rouge {stem} {sentences}", lambda: best_rouge(predictions, changed, names))
    return found if sentences == own else {**rouge(case, stem), **found}
