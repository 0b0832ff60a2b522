"""Causes that lie in how summaries and translations are compared with their references."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from verify.judging.cases import Case, Trial, exchanged, replaced, wanted
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.judging.hypotheses.statistics import rouge, statistics
from verify.metrics.additive import Additive
from verify.metrics.families.rouge import ROUGE
from verify.metrics.families.text import SENTENCES, bleu, translation_metrics
from verify.metrics.registry import additive_metrics
from verify.store.predictions import Family, TextPredictions
from verify.tasks.kinds import KINDS
from verify.types import Setting

_WITHOUT_SPACES = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Thai, Japanese, Chinese, Korean: the scripts for which BLEU is taken over characters."""

_RESAMPLES = 1000
"""How often rouge-score's BootstrapAggregator resamples."""


def _rouge_settings(case: Case) -> Iterator[Trial]:
    """Stemmer and sentences, alone and together: `evaluate` uses neither by default, transformers' example both."""
    names = _claimed(case, ROUGE)
    own_stem, own_sentences = bool(case.settings.get("use_stemmer", True)), case.settings.get("sentences", SENTENCES[0])
    for sentences in (own_sentences, *(one for one in SENTENCES if one != own_sentences)):
        for stem in (own_stem, not own_stem):
            moves = stem != own_stem or (sentences != own_sentences and "rougeLsum" in names)
            if names and moves and (sentences == own_sentences or "rougeLsum" in names):
                scores = {
                    name: float(values[:, 2].mean()) for name, values in rouge(case, stem, str(sentences)).items()
                }
                changes = [] if stem == own_stem else [f"{'with' if stem else 'without'} a stemmer"]
                if sentences != own_sentences:
                    changes.append(
                        "every line is a sentence" if sentences == "lines" else "sentences end at full stops"
                    )
                yield Trial("rouge_settings", ", ".join(changes), replaced(case, scores))


def _rouge_measure(case: Case) -> Iterator[Trial]:
    if _claimed(case, ROUGE):
        for column, words in enumerate(("precision", "recall")):
            scores = {name: float(values[:, column].mean()) for name, values in rouge(case).items()}
            yield Trial("rouge_measure", words, replaced(case, scores))


def _rouge_median(case: Case) -> Iterator[Trial]:
    """`evaluate` reports the median of resampled means, drawn anew each time, as its default.

    It lies about the mean with a standard deviation of that of the mean times √(π / 2 / resamples), the asymptotic one
    of a median of normal numbers; three of them are allowed.
    """
    scores = {name: values[:, 2] for name, values in rouge(case).items()} if _claimed(case, ROUGE) else {}
    if scores:
        spread = max(float(values.std()) for values in scores.values()) / math.sqrt(len(case.predictions))
        means = {name: float(values.mean()) for name, values in scores.items()}
        reach = 3 * spread * math.sqrt(math.pi / 2 / _RESAMPLES)
        setting = f"the median of {_RESAMPLES} resamplings"
        yield Trial("rouge_median", setting, replaced(case, means), reach=reach)


_EXCHANGED: Mapping[str, str] = {"rougeL": "rougeLsum", "rougeLsum": "rougeL", "chrf": "chrf++", "chrf++": "chrf"}


def _mislabelled(case: Case) -> Iterator[Trial]:
    """Of two variants that share a name, the claims that differ may hold the other's number."""
    yield from exchanged(case, "variant_mislabelled", _EXCHANGED)


def _bleu_tokens(case: Case) -> Iterator[Trial]:
    if not _claimed(case, ("bleu",)):
        return
    own = case.settings.get("tokenize", "13a")
    for tokenize in KINDS["translation"].settings["tokenize"].allowed:
        if tokenize != own and (tokenize not in ("zh", "char") or _is_without_spaces(case)):
            yield Trial("bleu_tokenisation", tokenize, _bleu(case, {"tokenize": tokenize}))


def _bleu_case(case: Case) -> Iterator[Trial]:
    if _claimed(case, ("bleu",)):
        ignores = not case.settings.get("lowercase", False)
        yield Trial("bleu_case", "ignored" if ignores else "kept", _bleu(case, {"lowercase": ignores}))


def _bleu_of_sentences(case: Case) -> Iterator[Trial]:
    if _claimed(case, ("bleu",)):
        each = bleu(statistics(case)["bleu"].statistics, effective_order=True)
        setting = "BLEU is averaged over sentences and not taken of the whole corpus"
        yield Trial("sentence_bleu", setting, replaced(case, {"bleu": float(each.mean())}))


def _first_reference(case: Case) -> Iterator[Trial]:
    predictions = cast(TextPredictions, case.predictions)
    if any(len(texts) > 1 for texts in predictions.references):
        first = replace(predictions, references=[texts[:1] for texts in predictions.references])
        scores = _values(additive_metrics(first, case.settings, wanted(case)))
        yield Trial("first_reference", "only the first of several references counts", replaced(case, scores))


def _bleu(case: Case, settings: Mapping[str, Setting]) -> dict[str, float]:
    predictions = cast(TextPredictions, case.predictions)
    return replaced(case, _values(translation_metrics(predictions, {**case.settings, **settings}, ["bleu"])))


def _values(metrics: Mapping[str, Additive]) -> dict[str, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: float(metric.value(metric.statistics.sum(axis=0))) for name, metric in metrics.items()}


def _claimed(case: Case, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in wanted(case)]


def _is_without_spaces(case: Case) -> bool:
    """Whether most references are in a script without spaces between words."""
    references = [texts[0] for texts in cast(TextPredictions, case.predictions).references]
    return 2 * sum(bool(_WITHOUT_SPACES.search(text)) for text in references) > len(references)


_SUMMARIES, _TRANSLATIONS = frozenset({Family.SUMMARIES}), frozenset({Family.TRANSLATIONS})

HYPOTHESES = (
    Hypothesis(
        "variant_mislabelled",
        "another variant stands under this name ({setting})",
        _SUMMARIES | _TRANSLATIONS,
        _mislabelled,
        weight=1.5,
    ),
    Hypothesis("rouge_settings", "ROUGE is computed with other settings ({setting})", _SUMMARIES, _rouge_settings),
    Hypothesis("bleu_tokenisation", "BLEU is computed with the tokeniser {setting}", _TRANSLATIONS, _bleu_tokens),
    Hypothesis("bleu_case", "BLEU is computed with upper and lower case {setting}", _TRANSLATIONS, _bleu_case),
    Hypothesis(
        "rouge_measure", "ROUGE is reported as its {setting} and not as its F-measure", _SUMMARIES, _rouge_measure
    ),
    Hypothesis("sentence_bleu", "{setting}", _TRANSLATIONS, _bleu_of_sentences, weight=0.8),
    Hypothesis("first_reference", "{setting}", _SUMMARIES | _TRANSLATIONS, _first_reference, weight=0.8),
    Hypothesis("rouge_median", "it is {setting} and not the mean", _SUMMARIES, _rouge_median, weight=0.5),
)
"""The hypotheses on texts, the most common first."""
