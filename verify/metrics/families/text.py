"""Metrics of generated texts: ROUGE of summaries (rouge-score), BLEU, chrF and TER of translations (sacreBLEU).

All scores are fractions, whatever the scale on which cards print them. Importing this module loads numpy alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib.metadata import version
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.errors import DataError, UsageError
from verify.metrics.additive import Additive, Floats, mean_of, ratio, share_of
from verify.metrics.families.ngrams import shared_ngrams
from verify.metrics.families.rouge import ROUGE, rouge_scores
from verify.metrics.stored import Scoring, Statistics, remembered
from verify.store.predictions import TextPredictions
from verify.tasks.kinds import KINDS
from verify.types import Setting

SENTENCES = ("rule", "lines")

# No end after an initial ("J. Smith", "U.S."), nor after a common title, nor before a word in lower case ("e.g. this").
_SENTENCE_END = re.compile(
    r"(?=[.!?])"  # looked for first, since that is fast
    r"(?<!\b[A-Z])(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bvs)(?<!\bMrs)(?<!\bProf)([.!?]+[\"'”’)\]]*)\s+(?![a-z])"
)


def split_sentences(text: str) -> str:
    """Put each sentence on a line of its own, as rougeLsum wants it.

    A sentence ends at full stops, exclamation or question marks (with the quotes and brackets that close after them)
    before white space, unless a single capital letter or a title (Mr, Mrs, Ms, Dr, St, Prof, vs) stands before them, or
    a lower-case letter follows. Line breaks of the text stay ends too. Most published scores come from NLTK's punkt
    model instead, which must be downloaded: on an abbreviation that this rule does not know, the two differ.
    """
    return _SENTENCE_END.sub(r"\1\n", text)


def require_references(predictions: TextPredictions) -> None:
    """Raise DataError if there are no examples, or some have no reference text."""
    if len(predictions) == 0:
        raise DataError(
            "There is nothing to measure: the run holds no examples. Run at least one example of the split."
        )
    missing = sum(not texts for texts in predictions.references)
    if missing:
        raise DataError(
            f"{missing} of {len(predictions)} examples have no reference text, as in test splits whose references are "
            "kept secret. Choose a split with references."
        )


def summary_metrics(
    predictions: TextPredictions, settings: Mapping[str, Setting], only: Collection[str] = ROUGE
) -> Mapping[str, Additive]:
    """ROUGE-1, -2, -L and -Lsum, or those named in ``only``: the mean F-measure of the examples, a fraction.

    With several references the best F-measure of an example counts. `evaluate` has the same mean, or, by default, the
    median of a random bootstrap of it. ``settings``: ``use_stemmer`` (True), and ``sentences``, which rougeLsum
    compares: by :func:`split_sentences` ("rule") or as the texts' line breaks have them ("lines"). rouge-score keeps
    the letters a to z and digits alone, so that texts in another script score 0.

    Raises:
        DataError: if there are no examples, or some have no reference.
        UsageError: if a setting is none of those.
    """
    scores = best_rouge(predictions, settings, only)
    return {name: mean_of(values[:, 2]) for name, values in scores.items()}


def best_rouge(
    predictions: TextPredictions, settings: Mapping[str, Setting], only: Collection[str] = ROUGE
) -> dict[str, Floats]:
    """Precision, recall and F-measure of each example, [N, 3], against the reference with the best F-measure.

    Settings and errors are those of :func:`summary_metrics`.
    """
    require_references(predictions)
    sentences, stem = _sentences(settings), bool(settings.get("use_stemmer", True))
    prepare = split_sentences if sentences == "rule" else str

    def compute(some: TextPredictions, names: Collection[str]) -> Statistics:
        return rouge_scores(some.texts, some.references, names, stem=stem, prepare=prepare)

    scorings = {}
    for name in ROUGE:
        if name in only:
            bearing: dict[str, Setting] = {"use_stemmer": stem}
            bearing |= {"sentences": sentences} if name == "rougeLsum" else {}
            scorings[name] = Scoring(name, bearing, ("rouge-score", "nltk"))
    return dict(remembered(predictions, scorings, compute))


def summary_settings(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """What :func:`summary_metrics` does under these settings, to be kept with the scores."""
    return {
        "rouge": f"rouge-score {version('rouge-score')}",
        "use_stemmer": bool(settings.get("use_stemmer", True)),
        "sentences": _sentences(settings),
        "references": "best",
        "aggregate": "mean of F-measures",
    }


def _sentences(settings: Mapping[str, Setting]) -> str:
    chosen = settings.get("sentences", SENTENCES[0])
    if chosen not in SENTENCES:
        raise UsageError(f"The setting sentences is {' or '.join(SENTENCES)}, not {chosen!r}.")
    return str(chosen)


def bleu(sums: Floats, *, effective_order: bool = False) -> Floats:
    """Corpus BLEU as a fraction [...] from sums [..., 10]: lengths of system and reference, matches, n-grams (1 to 4).

    The geometric mean of the four precisions times the brevity penalty (Papineni et al., 2002), smoothed as sacreBLEU
    does by default ("exp"): the k-th order without a match counts 1 / 2^k matches. 0 where nothing matches, or where
    the system has no n-gram of some order; with ``effective_order``, sacreBLEU's choice for single sentences, such
    orders are left out instead.
    """
    length, reference = sums[..., 0], sums[..., 1]
    matches, ngrams = sums[..., 2:6], sums[..., 6:10]
    with np.errstate(divide="ignore", invalid="ignore"):
        smoothed = np.where(matches == 0, 0.5 ** np.cumsum(matches == 0, axis=-1), matches)
        logs = np.where(ngrams > 0, np.log(smoothed / ngrams), 0.0)
        precision = np.exp(logs.sum(axis=-1) / (ngrams > 0).sum(axis=-1))
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        scored = (matches > 0).any(axis=-1) & (effective_order | (ngrams > 0).all(axis=-1))
        return np.where(scored, brevity * precision, 0.0)


def chrf(sums: Floats) -> Floats:
    """chrF2 or chrF2++ as a fraction [...] from sums [..., 3 · orders]: n-grams of system and reference, and matches.

    F with β = 2 of the mean precision and the mean recall over the orders that both sides have (Popović, 2015, 2017;
    sacreBLEU's default, without its ε smoothing).
    """
    orders = sums.reshape(*sums.shape[:-1], -1, 3)
    system, reference, matches = orders[..., 0], orders[..., 1], orders[..., 2]
    both = (system > 0) & (reference > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(both, matches / system, 0.0).sum(axis=-1) / both.sum(axis=-1)
        recall = np.where(both, matches / reference, 0.0).sum(axis=-1) / both.sum(axis=-1)
        score: Floats = np.nan_to_num(5 * precision * recall / (4 * precision + recall), nan=0.0)
    return score


def ter(sums: Floats) -> Floats:
    """Edits per reference word [...] from sums [..., 2] (Snover et al., 2006): a fraction that may exceed 1.

    Against references without a word it is 1 if there are edits and 0 if there are none, as in sacreBLEU.
    """
    edits, words = sums[..., 0], sums[..., 1]
    return np.where(words > 0, ratio(sums), (edits > 0).astype(np.float64))


_TRANSLATION: Mapping[str, Callable[[Floats], Floats]] = {"bleu": bleu, "chrf": chrf, "chrf++": chrf, "ter": ter}
TRANSLATION = (*_TRANSLATION, "exact_match")

_ORDERS = 4
"""The longest n-grams of BLEU."""

_OF_CHARACTERS = 18
"""The statistics of chrF: three for each of six orders of n-grams."""


def translation_metrics(
    predictions: TextPredictions, settings: Mapping[str, Setting], only: Collection[str] = TRANSLATION
) -> Mapping[str, Additive]:
    """BLEU, chrF, chrF++, TER and exact match of a whole corpus, or those named in ``only``: all fractions.

    The statistics of each example are sacreBLEU's own, several references included. ``settings``: ``tokenize`` ("13a")
    and ``lowercase`` (False), of BLEU alone; TER ignores case, which is sacreBLEU's default. exact_match is the share
    of texts that equal a reference but for white space at the ends. TER costs more than all the others together.

    Raises:
        DataError: if there are no examples, or some have no reference.
        UsageError: if there is no such tokeniser.
    """
    require_references(predictions)
    by_sacrebleu = _sacrebleu(settings)

    def compute(some: TextPredictions, names: Collection[str]) -> Statistics:
        found = {name: _segments(some, by_sacrebleu[name]) for name in names if name not in ("bleu", "chrf")}
        if "bleu" in names:
            found["bleu"] = _bleu_counts(some, by_sacrebleu["bleu"])
        if "chrf" in names:
            # chrF++ counts the same characters, and words after them; of several references it may prefer another
            is_part = "chrf++" in found and all(len(texts) == 1 for texts in some.references)
            found["chrf"] = found["chrf++"][:, :_OF_CHARACTERS] if is_part else _segments(some, by_sacrebleu["chrf"])
        return found

    scorings = {}
    for name in _TRANSLATION:
        if name in only:
            bearing = _bleu_settings(settings) if name == "bleu" else {}
            scorings[name] = Scoring(name, bearing, ("sacrebleu", "regex"))
    rows = remembered(predictions, scorings, compute)
    metrics = {name: Additive(rows[name], _TRANSLATION[name]) for name in scorings}
    if "exact_match" in only:
        metrics["exact_match"] = share_of(_exact(predictions))
    return metrics


def translation_settings(
    settings: Mapping[str, Setting], predictions: TextPredictions | None = None
) -> dict[str, Setting]:
    """What :func:`translation_metrics` does under these settings: sacreBLEU's signatures, to be kept with the scores.

    A signature states the number of references, which is read off ``predictions``; it is 1 without them.
    """
    counts = {1} if predictions is None else {len(texts) for texts in predictions.references}
    recorded = _bleu_settings(settings)
    for name, metric in _sacrebleu(settings).items():
        metric.num_refs = counts.copy().pop() if len(counts) == 1 else -1  # -1: it varies
        recorded[f"{name}_signature"] = str(metric.get_signature())
    return recorded


def _bleu_settings(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    return {"tokenize": settings.get("tokenize", "13a"), "lowercase": bool(settings.get("lowercase", False))}


def _segments(predictions: TextPredictions, metric: Any) -> Floats:
    """The statistics of each example [N, K], as sacreBLEU counts them."""
    # It wants one stream for each reference number, with gaps where an example has fewer.
    streams = list(zip_longest(*predictions.references))
    # No public function gives the statistics of each segment.
    rows = metric._extract_corpus_statistics(list(predictions.texts), streams)
    return np.array(rows, np.float64)


def _bleu_counts(predictions: TextPredictions, metric: Any) -> Floats:
    """The same of BLEU [N, 10], as :func:`bleu` takes them; its words are sacreBLEU's, and counted for all examples.

    The length of the reference is that of the one nearest in length, the shorter of two.
    """
    known: dict[str, int] = {}

    @cache
    def ids(text: str) -> list[int]:
        return [known.setdefault(word, len(known)) for word in metric._preprocess_segment(text).split()]

    texts, references = (
        [ids(text) for text in predictions.texts],
        [list(map(ids, row)) for row in predictions.references],
    )
    length = np.array([len(words) for words in texts], np.int64)
    nearest = [
        min((len(words) for words in several), key=lambda size: (abs(size - len(text)), size))
        for text, several in zip(texts, references, strict=True)
    ]
    shared = shared_ngrams(texts, list(zip_longest(*references)), _ORDERS)
    totals = np.maximum(length[:, None] - np.arange(_ORDERS), 0)
    return np.concatenate([length[:, None], np.array(nearest)[:, None], shared, totals], axis=1).astype(np.float64)


def _sacrebleu(settings: Mapping[str, Setting]) -> dict[str, Any]:
    chosen, allowed = _bleu_settings(settings), KINDS["translation"].settings["tokenize"].allowed
    tokenize = chosen["tokenize"]
    if tokenize not in allowed:
        raise UsageError(f"The setting tokenize is one of {', '.join(allowed)}, not {tokenize!r}.")
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    return {
        # force: no warning about texts that look tokenised already.
        "bleu": BLEU(tokenize=str(tokenize), lowercase=bool(chosen["lowercase"]), force=True),
        "chrf": CHRF(),
        "chrf++": CHRF(word_order=2),
        "ter": TER(),
    }


def _exact(predictions: TextPredictions) -> NDArray[np.bool_]:
    return np.array(
        [
            text.strip() in {reference.strip() for reference in references}
            for text, references in zip(predictions.texts, predictions.references, strict=True)
        ],
        np.bool_,
    )
