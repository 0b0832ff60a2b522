"""The counts behind ROUGE, for many pairs of texts at once: shared n-grams, and longest common subsequences.

The scores are those of the package rouge-score, with its words (runs of a to z and digits, in lower case) and its
stemmer. Its tables of Python numbers cost too much where one run is scored under several settings; here n-grams are
counted for all pairs together, and a row of such a table is the bits of one number (Hyyrö, Bit-parallel LCS-length
computation revisited, AWOCA 2004).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Floats
from verify.metrics.families.ngrams import shared_ngrams

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")

Ids = list[int]
Sentences = list[Ids]
Hits = NDArray[np.int64]


def rouge_scores(
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    names: Collection[str],
    *,
    stem: bool,
    prepare: Callable[[str], str] = str,
) -> dict[str, Floats]:
    """Precision, recall and F-measure of each text, [N, 3] (fractions), for each of ``names``.

    Each text counts against the one of its references with the best F-measure, the first of equal ones. ``prepare``
    puts each sentence on a line of its own, for rougeLsum; ``stem`` turns on the Porter stemmer.
    """
    numbers = _Numbers(stem=stem)
    owner = np.repeat(np.arange(len(texts)), [len(several) for several in references])
    of_texts = [_sentences(prepare(text), numbers) for text in texts]
    predicted = [of_texts[row] for row in owner.tolist()]
    actual = [_sentences(prepare(text), numbers) for several in references for text in several]
    flat = [[list(chain.from_iterable(sentences)) for sentences in side] for side in (predicted, actual)]
    lengths = [np.array([len(ids) for ids in side], np.int64) for side in flat]
    found = {}
    orders = max((_ORDERS.get(name, 0) for name in names), default=0)
    shared = shared_ngrams(flat[0], flat[1:], orders)
    for name in names:
        if name in _ORDERS:
            order = _ORDERS[name]
            hits = shared[:, order - 1]
            sizes = [np.maximum(length - order + 1, 0) for length in lengths]
        else:
            count = (
                [_union_hits(*pair) for pair in zip(predicted, actual, strict=True)]
                if name == "rougeLsum"
                else [_longest(*pair) for pair in zip(*flat, strict=True)]
            )
            hits, sizes = np.array(count, np.int64), lengths
        found[name] = _best(_ratios(hits, *sizes), owner)
    return found


_WORD = re.compile("[a-z0-9]+")

_ORDERS: Mapping[str, int] = {"rouge1": 1, "rouge2": 2}


def _ratios(hits: Hits, predicted: Hits, actual: Hits) -> Floats:
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(actual, 1)
    both = precision + recall
    return np.stack([precision, recall, 2 * precision * recall / np.where(both > 0, both, 1)], axis=1)


def _best(ratios: Floats, owner: Hits) -> Floats:
    order = np.lexsort((-ratios[:, 2], owner))
    best: Floats = ratios[order[np.searchsorted(owner, np.unique(owner))]]
    return best


class _Numbers(dict[str, int]):
    """The number of each word, or of its stem: the words of rouge-score, of which those of four letters have stems."""

    def __init__(self, *, stem: bool) -> None:
        super().__init__()
        self._stem = _stem if stem else str
        self._known: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        self[word] = self._known.setdefault(self._stem(word) if len(word) > 3 else word, len(self._known))
        return self[word]


@cache
def _stem(word: str) -> str:
    stemmed: str = _stemmer().stem(word)
    return stemmed


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def _sentences(text: str, numbers: _Numbers) -> Sentences:
    """The words of each line as numbers. Words are those that rouge-score's tokeniser finds."""
    return [[numbers[word] for word in _WORD.findall(line.lower())] for line in text.split("\n") if line]


def _places(ids: Ids) -> dict[int, int]:
    """For each id a number whose bit j is set where the id stands at place j."""
    places: dict[int, int] = {}
    for place, one in enumerate(ids):
        places[one] = places.get(one, 0) | 1 << place
    return places


def _table(reference: Ids, places: Mapping[int, int], width: int) -> list[int]:
    """The table of longest common subsequences, a number for each of the reference's beginnings, the empty one first.

    The zeros among the j lowest bits of row i count the longest common subsequence of i words and j words.
    """
    everything = (1 << width) - 1
    row = everything
    rows = [row]
    for one in reference:
        if met := row & places.get(one, 0):
            row = ((row + met) | (row - met)) & everything
        rows.append(row)
    return rows


def _longest(predicted: Ids, actual: Ids) -> int:
    width = len(predicted)
    return width - _table(actual, _places(predicted), width)[-1].bit_count()


def _chosen(predicted: Ids, actual: Ids, places: Mapping[int, int]) -> list[int]:
    """The places in ``actual`` of one longest common subsequence: of several the one that rouge-score takes."""
    i, j = len(actual), len(predicted)
    if actual == predicted:
        return list(range(i))
    rows = _table(actual, places, j)
    chosen: list[int] = []
    if rows[-1] == rows[0]:
        return chosen
    while i > 0 and j > 0:
        low = (1 << j) - 1
        if actual[i - 1] == predicted[j - 1]:
            chosen.append(i - 1)
            i, j = i - 1, j - 1
        elif (rows[i] & low).bit_count() < (rows[i - 1] & low).bit_count():
            j -= 1
        else:
            i -= 1
    return chosen


def _union_hits(predicted: Sentences, actual: Sentences) -> int:
    """How many words of the reference lie in a longest common subsequence of its sentence and one of the text.

    Each word of the text is counted at most as often as it occurs there (ROUGE 1.5.5).
    """
    if predicted == actual:
        return sum(len(sentence) for sentence in actual)
    if len(predicted) == len(actual) == 1:
        return _longest(predicted[0], actual[0])
    places = [_places(sentence) for sentence in predicted]
    left, hits = Counter(chain.from_iterable(predicted)), 0
    for reference in actual:
        pairs = zip(predicted, places, strict=True)
        for place in sorted({place for sentence, where in pairs for place in _chosen(sentence, reference, where)}):
            word = reference[place]
            if left[word] > 0:
                hits += 1
                left[word] -= 1
    return hits
