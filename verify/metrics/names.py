"""The metrics that this package knows by name: what each is, and on which predictions it is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from verify.errors import UsageError
from verify.foundation.spelling import suggestion
from verify.store.predictions import Family
from verify.types import Unit


@dataclass(frozen=True)
class Metric:
    """What a metric is: the ``families`` of predictions that it is measured on, and the scale of its values.

    ``unit`` is FRACTION for values that cards print as a fraction or a percentage alike (correlations too), RAW for
    values that are never rescaled.
    """

    name: str
    summary: str
    families: tuple[Family, ...] = (Family.CLASSIFICATION,)
    greater_is_better: bool = True
    unit: Unit = Unit.FRACTION


_C, _R, _M, _T, _A = (
    Family.CLASSIFICATION,
    Family.REGRESSION,
    Family.MULTI_LABEL,
    Family.TAGGING,
    Family.ANSWERS,
)
_AVERAGED = {
    "f1": "harmonic mean of precision and recall",
    "precision": "share of what is predicted that is right",
    "recall": "share of what is there that is found",
}
_BARE = "of entities (tagging), of an answer's words (question answering), else of classes, the average not stated"
_AVERAGES = {
    "binary": ("of label 1", (_C,)),
    "macro": ("mean over classes, or types of entity", (_C, _M, _T)),
    "micro": ("counts summed over all classes; equal to accuracy where there is one class an example", (_C, _M, _T)),
    "weighted": ("mean over classes, or types of entity, weighted by how often they occur", (_C, _M, _T)),
    "samples": ("mean over examples", (_M,)),
    "strict": ("of entities whose tags follow the scheme exactly", (_T,)),
}


def _averaged() -> Iterator[Metric]:
    for name, summary in _AVERAGED.items():
        yield Metric(name, f"{summary}: {_BARE}", (_C, _M, _T, _A) if name == "f1" else (_C, _M, _T))
        for average, (how, families) in _AVERAGES.items():
            yield Metric(f"{name}_{average}", f"{summary}: {how}", families)


def _better_low(name: str, summary: str, families: tuple[Family, ...], unit: Unit = Unit.FRACTION) -> Metric:
    return Metric(name, summary, families, greater_is_better=False, unit=unit)


_CORRELATED = {
    "": "of the cosine of two embeddings, or of a predicted number",
    "dot_": "of the dot product of two embeddings",
    "euclidean_": "of the negative Euclidean distance of two embeddings",
    "manhattan_": "of the negative Manhattan distance of two embeddings",
}


def _correlations() -> Iterator[Metric]:
    for prefix, of in _CORRELATED.items():
        families = (Family.SIMILARITY,) if prefix else (_R, Family.SIMILARITY)
        yield Metric(f"{prefix}pearson", f"linear correlation, from -1 to 1, {of}", families)
        yield Metric(f"{prefix}spearman", f"rank correlation, from -1 to 1, {of}", families)


_SUMMARIES, _TRANSLATIONS, _TRANSCRIPTS = (Family.SUMMARIES,), (Family.TRANSLATIONS,), (Family.TRANSCRIPTS,)
_LIKELIHOOD = (Family.LIKELIHOOD,)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            "share of examples (words, for tags; sets of classes, for several labels) that are right",
            (_C, _M, _T, Family.LIKELIHOOD),
        ),
        Metric("top5_accuracy", "share of examples whose label is among the five largest logits"),
        *_averaged(),
        Metric("f1_token_macro", "mean over all word tags, O included, of F1", (_T,)),
        Metric("f1_token_micro", "F1 of word tags summed over all tags but O", (_T,)),
        Metric("matthews_correlation", "correlation of predicted and true classes, from -1 to 1"),
        *_correlations(),
        _better_low("mse", "mean squared error", (_R,), Unit.RAW),
        _better_low("mae", "mean absolute error", (_R,), Unit.RAW),
        _better_low(
            "loss",
            "mean cross-entropy in nats (per example, or per token); for a regression the mean squared error",
            (_C, _R, _M, Family.LIKELIHOOD),
            Unit.RAW,
        ),
        _better_low("hamming_loss", "share of single yes-or-no labels that are wrong", (_M,)),
        Metric("jaccard", "shared labels divided by all labels of prediction and truth, mean over examples", (_M,)),
        Metric("roc_auc_micro", "area under the ROC curve over all labels together", (_M,)),
        Metric("roc_auc_macro", "area under the ROC curve, mean over labels", (_M,)),
        Metric("pr_auc", "average precision, mean over labels", (_M,)),
        Metric("exact_match", "share of texts that equal a reference", (_A, Family.TRANSLATIONS)),
        Metric("has_answer_exact_match", "exact_match of answerable questions", (_A,)),
        Metric("has_answer_f1", "f1 of answerable questions", (_A,)),
        Metric("no_answer_exact_match", "share of unanswerable questions that get no answer", (_A,)),
        Metric("no_answer_f1", "the same as no_answer_exact_match", (_A,)),
        Metric("best_exact_match", "exact_match at the best threshold for no answer", (_A,)),
        Metric("best_f1", "f1 at the best threshold for no answer", (_A,)),
        Metric("rouge1", "F-measure of shared words", _SUMMARIES),
        Metric("rouge2", "F-measure of shared pairs of words", _SUMMARIES),
        Metric("rougeL", "F-measure of the longest common subsequence of the whole texts", _SUMMARIES),
        Metric("rougeLsum", "F-measure of the longest common subsequence, sentence by sentence", _SUMMARIES),
        Metric("bleu", "corpus BLEU (sacreBLEU); cards print it from 0 to 100", _TRANSLATIONS),
        Metric("chrf", "F-score of character n-grams; cards print it from 0 to 100", _TRANSLATIONS),
        Metric("chrf++", "chrf with words and pairs of words too; cards print it from 0 to 100", _TRANSLATIONS),
        _better_low("ter", "edits, shifts included, per word of the reference", _TRANSLATIONS),
        _better_low("wer", "wrong, missing and added words per word of the reference", _TRANSCRIPTS),
        _better_low("cer", "wrong, missing and added characters per character of the reference", _TRANSCRIPTS),
        _better_low("mer", "wrong, missing and added words per word of the alignment", _TRANSCRIPTS),
        _better_low("wil", "word information lost", _TRANSCRIPTS),
        _better_low("ser", "share of transcripts with an error", _TRANSCRIPTS),
        _better_low("perplexity", "exp of the mean cross-entropy per token", _LIKELIHOOD, Unit.RAW),
        _better_low("word_perplexity", "exp of the cross-entropy per word", _LIKELIHOOD, Unit.RAW),
        _better_low("byte_perplexity", "exp of the cross-entropy per byte", _LIKELIHOOD, Unit.RAW),
        _better_low("bits_per_byte", "cross-entropy in bits per byte", _LIKELIHOOD, Unit.RAW),
    )
}
"""Every canonical name. The scale is a fraction also where cards print 0 to 100; RAW values are never rescaled."""


def find(name: str) -> Metric:
    """Return the metric of a canonical name.

    Raises:
        UsageError: if there is none; the message gives the nearest spelling.
    """
    if name not in METRICS:
        raise UsageError(f'There is no metric "{name}". {suggestion(name, METRICS)}')
    return METRICS[name]
