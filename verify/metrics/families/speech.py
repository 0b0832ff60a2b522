"""Metrics of transcripts: word and character error rates, which are those of jiwer: its words, and its alignments.

A rate is a sum over all examples divided by another, as everywhere in the field, never a mean of rates. All are
fractions, and those that count added words may exceed 1. Importing this module loads numpy alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.errors import UsageError
from verify.foundation.content import content_key
from verify.metrics.additive import Additive, Floats, ratio, share_of
from verify.metrics.families.text import require_references
from verify.metrics.stored import Scoring, Statistics, remembered
from verify.store.predictions import TextPredictions
from verify.types import Setting

RATES = ("wer", "cer", "mer", "wil", "ser")

Normalizer = Callable[[str], str]
Spelling = Mapping[str, str]


def no_punctuation(text: str) -> str:
    """Lower case; ’ becomes '; every other character of Unicode's category P is deleted; one space between words.

    Nothing takes the place of a deleted character, as is the custom in fine-tuning recipes: "well-known" becomes
    "wellknown". Symbols ($, %, + …) are not all of category P, and those that are not stay.
    """
    return " ".join(text.lower().replace("’", "'").translate(_PUNCTUATION).split())


class _Punctuation(dict[int, int | None]):
    """What :meth:`str.translate` makes of each character: itself, or None where it is deleted."""

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        self[code] = None if char != "'" and unicodedata.category(char).startswith("P") else code
        return self[code]


_PUNCTUATION = _Punctuation()


def whisper_basic(text: str) -> str:
    """Whisper's normaliser for any language (transformers' BasicTextNormalizer, diacritics kept).

    Lower case, without what stands in brackets, and a space for every mark, symbol and punctuation character.
    """
    normalized: str = _whisper_basic()(text)
    return normalized


def whisper_english(text: str) -> str:
    """Whisper's normaliser for English (transformers' EnglishTextNormalizer), spellings left as they are.

    Without what stands in brackets, contractions and numbers written in one way, punctuation replaced by spaces.
    Whisper's own pipeline also turns British into American spellings; :func:`normalizer` takes the mapping for that.
    """
    normalized: str = _whisper_english()(text)
    return normalized


NORMALIZERS: Mapping[str, Normalizer] = {
    "none": str,
    "lower": str.lower,
    "no_punctuation": no_punctuation,
    "whisper_basic": whisper_basic,
    "whisper_english": whisper_english,
}
"""What may be done to both texts before they are compared. The last two import transformers when they are called."""


@cache
def _whisper_basic() -> Any:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()


@cache
def _whisper_english() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


def normalizer(settings: Mapping[str, Setting], spelling: Spelling | None = None) -> Normalizer:
    """The normaliser that the setting ``normalizer`` names ("none" without it).

    ``spelling`` maps British to American words, for "whisper_english". transformers has no such mapping of its own: a
    Whisper checkpoint has it in ``normalizer.json`` (the tokeniser's ``english_spelling_normalizer``).

    Raises:
        UsageError: if there is none of that name.
    """
    name = settings.get("normalizer", "none")
    if name not in NORMALIZERS:
        raise UsageError(f"The setting normalizer is one of {', '.join(NORMALIZERS)}, not {name!r}.")
    if name == "whisper_english" and spelling:
        from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

        unify: Normalizer = EnglishTextNormalizer(spelling)
        return unify
    return NORMALIZERS[str(name)]


def speech_settings(settings: Mapping[str, Setting], spelling: Spelling | None = None) -> dict[str, Setting]:
    """What :func:`metrics` does under these settings, to be kept with the scores."""
    normalizer(settings)
    recorded: dict[str, Setting] = {
        "normalizer": settings.get("normalizer", "none"),
        "alignment": f"jiwer {version('jiwer')}",
    }
    if recorded["normalizer"] == "whisper_english":
        recorded["spelling"] = "as the checkpoint maps it" if spelling else "not unified: no mapping at hand"
    return recorded


def metrics(
    predictions: TextPredictions,
    settings: Mapping[str, Setting],
    spelling: Spelling | None = None,
    only: Collection[str] = RATES,
) -> Mapping[str, Additive]:
    """wer, cer, mer, wil and ser of transcripts after the setting ``normalizer`` ("none"): the lower, the better.

    With ``only``, some that it does not name may be left out: cer costs more than all the others together.

    With S substitutions, D deletions, I insertions and H hits: wer is (S + D + I) / (H + S + D), words of the reference
    in the denominator, and cer the same of characters, spaces between words included; mer is (S + D + I) /
    (H + S + D + I), and wil is 1 − H² / ((H + S + D) (H + S + I)). ser is the share of examples with a wrong word.

    An empty reference is silence: every word of the text is an insertion. Rates are undefined where no reference has
    any word. With several references the one with the fewest word errors counts (for cer the fewest of characters).
    ``spelling`` is as in :func:`normalizer`.

    Raises:
        DataError: if there are no examples, or some have no reference.
        UsageError: if there is no such normaliser.
    """
    require_references(predictions)
    normalize = normalizer(settings, spelling)

    def compute(some: TextPredictions, names: Collection[str]) -> Statistics:
        known = cache(normalize)
        texts = [known(text) for text in some.texts]
        references = [[known(text) for text in several] for several in some.references]
        return {name: _COUNTS[name](texts, references) for name in names}

    parts = {"words": not {"cer"}.issuperset(only), "characters": "cer" in only}
    scorings = {name: _scoring(name, settings, spelling) for name, is_wanted in parts.items() if is_wanted}
    counts = remembered(predictions, scorings, compute)
    found = {}
    if "words" in counts:
        words = counts["words"]
        found = {
            "wer": Additive(_rate(words), ratio),
            "mer": Additive(words, match_error_rate),
            "wil": Additive(words, word_information_lost),
            "ser": share_of(words[:, 1:].sum(axis=1) > 0),
        }
    if "characters" in counts:
        found["cer"] = Additive(counts["characters"], ratio)
    return found


def _scoring(name: str, settings: Mapping[str, Setting], spelling: Spelling | None) -> Scoring:
    chosen = settings.get("normalizer", "none")
    bearing: dict[str, Setting] = {"normalizer": chosen}
    if chosen == "whisper_english" and spelling:
        bearing["spelling"] = content_key(dict(spelling))
    is_whispers = str(chosen).startswith("whisper")
    return Scoring(name, bearing, ("jiwer", "rapidfuzz", *(("transformers", "regex") if is_whispers else ())))


def match_error_rate(sums: Floats) -> Floats:
    """Errors per word of the alignment [...], up to 1, from sums [..., 4] of H, S, D, I (Morris et al., 2004)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _where_words(sums, sums[..., 1:].sum(axis=-1) / sums.sum(axis=-1))


def word_information_lost(sums: Floats) -> Floats:
    """Word information lost [...], up to 1, from sums [..., 4] of H, S, D, I (Morris et al., 2004)."""
    hits, substitutions, deletions, insertions = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        preserved = (
            hits / (hits + substitutions + deletions) * np.nan_to_num(hits / (hits + substitutions + insertions))
        )
    return _where_words(sums, 1 - preserved)


def _where_words(sums: Floats, values: Floats) -> Floats:
    return np.where(sums[..., :3].sum(axis=-1) > 0, values, np.nan)


def _rate(counts: Floats) -> Floats:
    return np.stack([counts[:, 1:].sum(axis=1), counts[:, :3].sum(axis=1)], axis=1)


def _word_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Hits, substitutions, deletions and insertions of each example [N, 4], against the nearest of its references."""
    from jiwer import transformations
    from rapidfuzz.distance import Levenshtein

    known: dict[str, int] = {}

    def numbered(written: Sequence[str]) -> list[list[int]]:
        return [
            [known.setdefault(word, len(known)) for word in words] for words in transformations.wer_default(written)
        ]

    owner, flat = _pairs(references)
    of_texts = numbered(list(texts))
    rows = []
    for row, actual in zip(owner.tolist(), numbered(flat), strict=True):
        if of_texts[row] == actual:
            rows.append([len(actual), 0, 0, 0])
        else:
            # the alignment that jiwer takes, which is one of several where several are as short
            rows.append(_operations(Levenshtein.opcodes(actual, of_texts[row])))
    pairs = np.array(rows, np.float64)
    return pairs[_first_smallest(pairs[:, 1:].sum(axis=1), owner)]


def _character_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Errors and characters of the reference of each example [N, 2], against the nearest of its references.

    As in jiwer, white space counts, but at the ends. However the texts are aligned, the errors are the edit distance.
    """
    from rapidfuzz.distance import Levenshtein

    owner, flat = _pairs(references)
    of_texts, actual = [text.strip() for text in texts], [text.strip() for text in flat]
    errors = [Levenshtein.distance(one, of_texts[row]) for one, row in zip(actual, owner.tolist(), strict=True)]
    pairs = np.array([errors, [len(one) for one in actual]], np.float64).T
    return pairs[_first_smallest(pairs[:, 0], owner)]


_COUNTS: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[str]]], Floats]] = {
    "words": _word_counts,
    "characters": _character_counts,
}


def _pairs(references: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], list[str]]:
    """The example of each reference, ascending, and all references in that order."""
    owner = np.repeat(np.arange(len(references)), [len(several) for several in references])
    return owner, [reference for several in references for reference in several]


def _operations(chunks: Iterable[Any]) -> list[int]:
    lengths = {"equal": 0, "replace": 0, "delete": 0, "insert": 0}
    for kind, start, end, start_of_text, end_of_text in chunks:
        lengths[kind] += end_of_text - start_of_text if kind == "insert" else end - start
    return list(lengths.values())


def _first_smallest(values: Floats, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each owner 0, 1 … the index of its smallest value, the first of equal ones; ``owner`` is ascending."""
    order = np.lexsort((values, owner))
    return order[np.searchsorted(owner, np.unique(owner))]
