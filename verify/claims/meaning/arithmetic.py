"""What can be said of a claim without running anything: an accuracy is a count of N examples, and so on.

Everything is exact: printed decimals and integers. A print may have been rounded half up, half to
even, or truncated, so a print v of unit u allows every value x with v − u/2 ≤ x < v + u.

The joint test enumerates binary confusion matrices itself. ``mlscorecheck`` does the same for known counts of positives
and negatives, but a card seldom states them; with four printed digits at most a handful of matrices fit each possible
number of positives, so all of them are tried in time linear in N.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from math import ceil, floor
from struct import pack, unpack

from verify.claims.form.values import half_unit, read_number
from verify.claims.meaning.group import Finding
from verify.claims.meaning.words import words
from verify.types import Claim, Unit

COUNTED = frozenset(
    ("accuracy", "exact_match", "top5_accuracy", "error_rate", "recall@1", "recall@5", "recall@10", "pass@1")
)
_PER_TOKEN = words("token_tasks")
_LARGEST_JOINT = 200_000
_FINEST_BY_HAND = Fraction(1, 10**8)  # nobody rounds to more digits than this; programs print all they have
_SINGLE, _DOUBLE = Fraction(1, 2**23), Fraction(1, 2**52)
_LARGEST_SINGLE = 1e38
_REASONS = (
    "a mean over several seeds, a mean over batches of unequal size, or a score on other examples than this split"
)


@dataclass(frozen=True)
class Printed:
    """The exact fractions that a printed score allows: ``low`` is one of them, ``high`` the first above."""

    low: Fraction
    high: Fraction

    def holds(self, value: Fraction) -> bool:
        return self.low <= value < self.high

    def counts(self, n: int) -> range:
        """Every k for which k/n may have been printed so."""
        return range(max(0, ceil(self.low * n)), min(n + 1, ceil(self.high * n)))


@lru_cache(maxsize=4096)
def printed(literal: str, unit: Unit) -> Printed | None:
    """The fractions that ``literal`` allows; None if it is no bounded score."""
    number = read_number(literal)
    if number is None or unit is Unit.RAW:
        return None
    scale = 100 if unit is Unit.PERCENT else 1
    value, half = Fraction(number.decimal), Fraction(half_unit(number.decimal))
    error = _rounding_error(float(number.decimal)) if half < _FINEST_BY_HAND else Fraction(0)
    return Printed((value - half - error) / scale, (value + 2 * half + error) / scale)


def _rounding_error(value: float) -> Fraction:
    """How far a number that a program printed in full may lie from the exact ratio: one unit in its last binary place.

    Training tools compute in double or in single precision; a number that single precision holds exactly came from it.
    """
    single: float = unpack("f", pack("f", value))[0] if abs(value) < _LARGEST_SINGLE else value
    return Fraction(abs(value)) * (_SINGLE if single == value else _DOUBLE)


def possible_counts(claim: Claim, n: int) -> range:
    """The numbers of correct examples of ``n`` that the claim's print allows; empty if no count does."""
    allowed = printed(claim.literal, claim.unit)
    return allowed.counts(n) if allowed and n > 0 else range(0)


def examine(
    claims: Sequence[Claim], sizes_of: Callable[[Claim], Mapping[str, int]] | Mapping[str, int]
) -> list[Finding]:
    """Findings on the claims of one card.

    ``sizes_of`` gives, for a claim, the number of examples of each split of the data that it is about (from the task
    that it resolves to; empty if unknown).
    """
    lookup = sizes_of if callable(sizes_of) else (lambda _: sizes_of)
    findings: list[Finding] = []
    for claim in claims:
        if is_counted(claim) and (sizes := lookup(claim)):
            findings += granularity(claim, sizes)
    for alike in _runs(claims):
        findings += _joint(alike, lookup)
    return findings


def is_counted(claim: Claim) -> bool:
    """True if the metric is a share of examples: not for scores per token or per class, nor for ± means."""
    task = (claim.task or "").casefold().replace(" ", "-").replace("_", "-")
    spread = any("spread" in note for note in claim.notes)
    return claim.metric in COUNTED and claim.unit is not Unit.RAW and task not in _PER_TOKEN and not spread


def granularity(claim: Claim, sizes: Mapping[str, int]) -> list[Finding]:
    """Whether the value is some k of N of its split; if it is printed fully, which k of which split it is."""
    named = dict(sizes)
    if claim.split is not None and claim.split in sizes:
        named = {claim.split: sizes[claim.split]}
    if claim.split == "train" and any("Trainer" in note for note in claim.notes):
        named = dict(sizes)
    fitting = {split: counts for split, n in sizes.items() if (counts := possible_counts(claim, n))}
    if not any(split in fitting for split in named):
        return [_impossible(claim, named, fitting, sizes)]
    exact = {
        split: counts[0]
        for split, counts in fitting.items()
        if len(counts) == 1 and _is_full_print(claim, sizes[split])
    }
    if not exact:
        return []
    listed = ", ".join(f"{count} of {sizes[split]} ({split})" for split, count in exact.items())
    return [_finding("reconstruction", f"{claim.metric} {claim.literal} is exactly {listed}.", [claim])]


def _is_full_print(claim: Claim, n: int) -> bool:
    """True if the print is so fine that a chance hit on a count of ``n`` is out of the question (under 1 in 1000)."""
    allowed = printed(claim.literal, claim.unit)
    return allowed is not None and (allowed.high - allowed.low) * n < Fraction(1, 1000)


def _impossible(
    claim: Claim, named: Mapping[str, int], fitting: Mapping[str, range], sizes: Mapping[str, int]
) -> Finding:
    where = " nor ".join(f"{n} examples ({split})" for split, n in named.items())
    sentence = (
        f"{claim.metric} {claim.literal} cannot be one run on this split: no number of correct answers out of "
        f"{where} is printed so. It may be {_REASONS}."
    )
    if elsewhere := [split for split in fitting if split not in named]:
        counts = ", ".join(f"{fitting[split][0]} of {sizes[split]} on {split}" for split in elsewhere)
        sentence += f" It would fit {counts}."
    return _finding("granularity", sentence, [claim])


def _runs(claims: Iterable[Claim]) -> Iterator[dict[str, Claim]]:
    """Claims that the card presents as one run: same data, split, settings and place; one claim for each metric."""
    runs: dict[tuple[object, ...], dict[str, Claim]] = {}
    for claim in claims:
        settings = tuple(sorted((name, str(value)) for name, value in claim.settings.items()))
        place = (claim.evidence[0].source, claim.evidence[0].file) if claim.evidence else ()
        run = (claim.dataset, claim.config, claim.split, claim.subject, settings, claim.verified, place)
        runs.setdefault(run, {}).setdefault(claim.metric, claim)
    yield from runs.values()


def _joint(run: Mapping[str, Claim], sizes_of: Callable[[Claim], Mapping[str, int]]) -> list[Finding]:
    """F1 against precision and recall, and all of them with accuracy against one binary confusion matrix."""
    if not {"precision", "recall", "f1"} <= run.keys():
        return []
    trio = [run[name] for name in ("precision", "recall", "f1")]
    bounds = [printed(claim.literal, claim.unit) for claim in trio]
    precision, recall, f1 = bounds
    if precision is None or recall is None or f1 is None:
        return []
    listed = ", ".join(f"{claim.metric} {claim.literal}" for claim in trio)
    if not harmonic(precision, recall, f1):
        outside = f1.high <= min(precision.low, recall.low) or f1.low >= max(precision.high, recall.high)
        how = "lies outside precision and recall" if outside else "is not their harmonic mean"
        sentence = (
            f"{listed}: F1 {how}, so these are not one binary or micro-averaged score; averages over classes (macro, "
            "weighted) may stand so."
        )
        return [_finding("f1-mismatch", sentence, trio)]
    accuracy = run.get("accuracy")
    if accuracy is None or not is_counted(accuracy):
        return []
    share = printed(accuracy.literal, accuracy.unit)
    sizes = sizes_of(accuracy)
    n = sizes.get(accuracy.split or "") or (next(iter(sizes.values())) if len(sizes) == 1 else 0)
    if share is None or not 0 < n <= _LARGEST_JOINT or matrix(n, share, precision, recall, f1):
        return []
    sentence = (
        f"accuracy {accuracy.literal}, {listed}: no binary confusion matrix of {n} examples gives all four, so they "
        f"cannot be one run on this split with two classes. They may be averages over more classes, or {_REASONS}."
    )
    return [_finding("joint", sentence, [accuracy, *trio])]


def harmonic(precision: Printed, recall: Printed, f1: Printed) -> bool:
    """True if some precision and recall within their prints have an F1 within its print."""

    def mean(one: Fraction, other: Fraction) -> Fraction:
        return 2 * one * other / (one + other) if one + other > 0 else Fraction(0)

    low = mean(max(precision.low, Fraction(0)), max(recall.low, Fraction(0)))
    high = mean(max(precision.high, Fraction(0)), max(recall.high, Fraction(0)))
    return low < f1.high and f1.low < high


def matrix(
    n: int, accuracy: Printed, precision: Printed, recall: Printed, f1: Printed
) -> tuple[int, int, int, int] | None:
    """A binary confusion matrix (true positives, false positives, false negatives, true negatives) that fits all four.

    For each number of positives the recall allows few true positives, and each of them and the precision few false
    positives.
    """
    for positives in range(1, n):
        for true_positives in islice(recall.counts(positives), 64):
            for false_positives in islice(_false_positives(true_positives, precision, n - positives), 64):
                correct = true_positives + n - positives - false_positives
                called = 2 * true_positives + (positives - true_positives) + false_positives
                if accuracy.holds(Fraction(correct, n)) and f1.holds(Fraction(2 * true_positives, called)):
                    missed = positives - true_positives
                    return true_positives, false_positives, missed, n - positives - false_positives
    return None


def _false_positives(true_positives: int, precision: Printed, negatives: int) -> range:
    if true_positives == 0:
        return range(0, negatives + 1) if precision.low <= 0 else range(0)
    if precision.high <= 0:
        return range(0)
    fewest = max(0, floor(true_positives / precision.high - true_positives) + 1)
    most = negatives if precision.low <= 0 else min(negatives, floor(true_positives / precision.low - true_positives))
    return range(fewest, most + 1)


def _finding(kind: str, sentence: str, claims: Sequence[Claim]) -> Finding:
    evidence = tuple(claim.evidence[0] for claim in claims if claim.evidence)
    return Finding(kind, sentence, tuple(claim.claim_id for claim in claims), evidence)
