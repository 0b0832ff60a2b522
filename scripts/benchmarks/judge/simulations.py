"""How often a verdict is wrong, and what it costs, on simulated splits: a section of the judge's benchmark.

    python scripts/bench_judge.py --only simulations [--quick]

The populations are simulated, the verdicts are the package's own: claims are printed and read, intervals, flip budgets
and e-values come from ``verify``. Each figure comes with a 95 % confidence interval: Clopper and Pearson's of a rate,
the normal one of a mean. A rate's peer is what one would do without the package: two binomial standard errors about
the measured value for a full rerun, and "the first 500 examples are off by more than a point" for a part of a split.

Full reruns: the author's run and ours differ in a Poisson number of flipped predictions, each as likely to help as to
hurt, and the probe of our run sees another such number; the accuracy is drawn evenly from 0.75 to 0.94. Sequential
runs: the claim is a printed accuracy near 0.91, and the run is looked at after every block of the engine's.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from verify.claims.form.values import read_number
from verify.engine.running.plan import blocks
from verify.judging.betting import Means, Ratios
from verify.judging.compare import judge
from verify.judging.intervals import allowed
from verify.judging.martingale import Shares
from verify.judging.sequential import ANSWERS, OUTSIDE, Answer, Seen, Standing, standing
from verify.metrics.flips.budget import flip_budget
from verify.metrics.registry import measure
from verify.store.predictions import LabelPredictions, subset
from verify.tasks.match import Match
from verify.types import (
    Claim,
    DatasetSource,
    Evidence,
    Interval,
    Measurement,
    Score,
    Source,
    TaskSpec,
    Unit,
    VerdictKind,
)

POPULATIONS = (872, 10_000, 50_000)
DIGITS = (2, 3, 4, 5)
FLIPS = (0.5, 1.0, 2.0)
"""Flipped predictions per 1,000 examples between two configurations of a run."""
INFLATIONS = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Points that the claim is above what the author's own run gave."""
REPETITIONS, QUICK_REPETITIONS = 10_000, 300
PROBED = 0.1
TASK = TaskSpec("simulated", "sequence-classification", DatasetSource("simulated"), {}, ("accuracy",), "simulated")

CODES = {answer: code for code, answer in enumerate(Answer, 1)}

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Policy:
    """``margin`` and ``alpha`` are fractions."""

    name: str
    margin: float
    alpha: float
    answers: frozenset[Answer]


SCREEN = Policy("screen", 0.01, 0.05, ANSWERS)
DEFAULT = Policy("default", 0.005, 0.01, OUTSIDE)


def rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The section's rows; the quick form has fewer repetitions and populations."""
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    populations = POPULATIONS[:2] if quick else POPULATIONS
    yield from full_reruns(populations, DIGITS[1:3] if quick else DIGITS, repetitions)
    yield from sequential_errors(populations, DIGITS, repetitions)
    yield from sequential_costs(populations, repetitions)
    yield from bets(20 if quick else 500)


def full_reruns(populations: Sequence[int], digits: Sequence[int], repetitions: int) -> Iterator[dict[str, Any]]:
    for population in populations:
        for flips in FLIPS:
            for places in digits:
                for inflation in INFLATIONS:
                    name = (
                        f"full rerun of {population}, {flips:g} flips per 1,000, {places} digits, "
                        f"{f'inflated by {inflation:g} points: missed' if inflation else 'honest: contradicted'}"
                    )
                    held, within = rerun(population, flips / 1000, places, inflation / 100, repetitions, seed_of(name))
                    wrong, theirs = (held, within) if inflation else (~held, ~within)
                    yield rate(name, wrong, "two binomial standard errors", theirs)


def rerun(
    population: int, flips: float, digits: int, inflation: float, repetitions: int, random: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each claim holds: by its verdict, and within two binomial standard errors of what was measured."""
    ours = np.round(random.uniform(0.75, 0.94, repetitions) * population).astype(np.int64)
    authors = np.clip(ours + net(random.poisson(flips * population, repetitions), random), 0, population)
    seen = random.poisson(flips * population, repetitions)
    moved = np.abs(net(seen, random))
    held, within = np.zeros(repetitions, np.bool_), np.zeros(repetitions, np.bool_)
    for one in range(repetitions):
        claim = printed(authors[one] / population + inflation, digits)
        value = ours[one] / population
        # the budget of a run that flips in both directions equally, and at least the change that the probe made
        budget = max(budget_of(population, int(seen[one])), moved[one] / population)
        score = Score(value, population, int(ours[one]), budget)
        held[one] = judge(claim, Match(TASK, "test"), measured(score, population)).kind is VerdictKind.REPRODUCED
        within[one] = abs(claim.value - value) <= 2 * math.sqrt(value * (1 - value) / population)
    return held, within


def net(flips: Integers, random: np.random.Generator) -> Integers:
    """By how much so many flips change the number of hits."""
    return 2 * random.binomial(flips, 0.5) - flips


@cache
def budget_of(population: int, flips: int) -> float:
    """The package's budget of an accuracy whose probe shows so many flips, half of which help."""
    run, probe = _run(population)
    flipped = probe.logits.copy()
    rows = np.concatenate([np.flatnonzero(probe.reference == side)[: (flips + side) // 2] for side in (0, 1)])
    flipped[rows] = flipped[rows][:, ::-1]
    again = LabelPredictions(probe.example, flipped, probe.reference, probe.label_of_logit)
    scores, _ = measure(run, only=["accuracy"])
    budgets, seen = flip_budget(run, again, scores)
    if seen != flips:
        raise RuntimeError(f"a probe of {len(probe)} examples cannot show {flips} flips")
    return budgets["accuracy"]


@cache
def _run(population: int) -> tuple[LabelPredictions, LabelPredictions]:
    """A run on two classes with evenly spread margins, and its probe: the tenth with the smallest."""
    margin = np.linspace(0.01, 6.0, population, dtype=np.float32)
    logits = np.stack([margin, np.zeros(population, np.float32)], axis=1)
    reference = np.arange(population) % 2  # every other near tie is right
    run = LabelPredictions(np.arange(population), logits, reference, (0, 1))
    return run, subset(run, np.arange(population) < math.ceil(PROBED * population))


def sequential_errors(populations: Sequence[int], digits: Sequence[int], repetitions: int) -> Iterator[dict[str, Any]]:
    for policy in (SCREEN, DEFAULT):
        for population in populations:
            for places in digits:
                claim = printed(round(0.9103 * population) / population, places)
                low, high = claimed_range(claim, policy)
                honest = [k for k in counts_near(claim, population) if printed(k / population, places) == claim]
                case = f"{policy.name} policy on {population}, claim {claim.literal}"
                name = f"{case}, honest: contradicted"
                random = seed_of(name)
                totals = random.choice(honest, repetitions)
                answers, _ = sampled(population, totals, Interval(low, high), claim.value, policy, random)
                naive = first_examples(population, totals, claim.value, random)
                yield rate(name, np.isin(answers, [CODES[one] for one in OUTSIDE]), "off by a point after 500", naive)
                name = f"{case}, on the edge of the range: contradicted"
                edge = math.ceil(low * population - 1e-6)
                random = seed_of(name)
                answers, _ = sampled(
                    population, np.full(repetitions, edge), Interval(low, high), claim.value, policy, random
                )
                yield rate(name, np.isin(answers, [CODES[one] for one in OUTSIDE]))
                if Answer.INSIDE in policy.answers:
                    name = f"{case}, just outside of the range: held to be inside"
                    random = seed_of(name)
                    answers, _ = sampled(
                        population, np.full(repetitions, edge - 1), Interval(low, high), claim.value, policy, random
                    )
                    yield rate(name, answers == CODES[Answer.INSIDE])


def sequential_costs(populations: Sequence[int], repetitions: int) -> Iterator[dict[str, Any]]:
    claim = printed(0.91, 4)
    for policy in (SCREEN, DEFAULT):
        low, high = claimed_range(claim, policy)
        for population in populations:
            for truth in (0.91, 0.905, 0.89, 0.88, 0.86, 0.8):
                name = f"{policy.name} policy on {population}, claim {claim.literal}, truth {truth:g}: share used"
                random = seed_of(name)
                totals = np.full(repetitions, round(truth * population))
                _, used = sampled(population, totals, Interval(low, high), claim.value, policy, random)
                yield mean(name, 100 * used / population, "% of the split")


def sampled(
    population: int,
    totals: Integers,
    interval: Interval,
    claim: float,
    policy: Policy,
    random: np.random.Generator,
) -> tuple[Integers, Integers]:
    """The code of the answer of a run on each split with so many hits [R], and after how many examples it came."""
    answers = np.zeros(len(totals), np.int64)
    used, hits = np.full(len(totals), population), np.zeros(len(totals), np.int64)
    alive, done = np.arange(len(totals)), 0
    for end in looks(population):
        left = totals[alive] - hits[alive]
        hits[alive] += random.hypergeometric(left, population - done - left, end - done)
        done = end
        for answer, first, last in borders(end, population, interval, claim, policy):
            found = alive[(first <= hits[alive]) & (hits[alive] <= last)]
            answers[found], used[found] = CODES[answer], end
        alive = alive[answers[alive] == 0]
        if not len(alive):
            break
    return answers, used


def looks(population: int) -> Iterator[int]:
    """After how many examples a run that may stop is looked at."""
    return (block.stop for block in blocks(population, small=True))


@cache
def borders(
    n: int, population: int, interval: Interval, claim: float, policy: Policy
) -> tuple[tuple[Answer, int, int], ...]:
    """For each answer the fewest and the most hits among the first ``n`` examples that bring it."""

    @cache
    def at(hits: int) -> Standing:
        return standing(Shares(hits, n, population), interval.low, interval.high, claim)

    enough = 1 / policy.alpha
    below = first(0, n + 1, lambda hits: at(hits).below < enough)
    above = first(0, n + 1, lambda hits: at(hits).above >= enough)
    found = [(Answer.BELOW, 0, below - 1), (Answer.ABOVE, above, n)]
    if Answer.INSIDE in policy.answers:
        near = range(math.floor(interval.low * n), min(math.ceil(interval.high * n), n) + 1)
        if inside := [hits for hits in near if at(hits).inside >= enough]:
            found.append((Answer.INSIDE, inside[0], inside[-1]))
    return tuple(one for one in found if one[0] in policy.answers and one[1] <= one[2])


def first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number from ``low`` on that ``holds``, which once true stays so; ``high`` if none below it does."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def first_examples(population: int, totals: Integers, claim: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Whether the first 500 examples are off by more than a point."""
    n = min(500, population)
    return np.abs(random.hypergeometric(totals, population - totals, n) / n - claim) > 0.01


def bets(repetitions: int) -> Iterator[dict[str, Any]]:
    """Means and ratios that are no shares of hits, on 10,000 examples with a margin of one point."""
    random = np.random.default_rng(0)
    population = 10_000
    exact = random.random(population)
    overlap = np.where(exact < 0.75, 1.0, np.where(exact < 0.83, 0.0, random.beta(4, 2, population)))
    there = random.poisson(1.5, population).astype(np.float64)
    right = random.binomial(there.astype(int), 0.91).astype(np.float64)
    predicted = right + random.poisson(0.09 * there)
    words = np.clip(random.geometric(1 / 18, population), 1, 40).astype(np.float64)
    errors = random.poisson(0.08 * words).astype(np.float64)
    most = float((predicted + there).max())
    makes: dict[str, tuple[Callable[[Integers], Seen], float]] = {
        "mean word F1": (lambda rows: Means(overlap[rows], 0.0, 1.0, population), overlap.mean()),
        "micro F1 of entities": (
            lambda rows: Ratios(2 * right[rows], (predicted + there)[rows], most, True, population),
            2 * right.sum() / (predicted + there).sum(),
        ),
        "WER": (lambda rows: Ratios(errors[rows], words[rows], 40.0, False, population), errors.sum() / words.sum()),
    }
    for metric, (make, truth) in makes.items():
        way = -1 if metric == "WER" else 1
        for inflation in (0.0, 0.03, 0.08) if metric != "WER" else (0.0, 0.02, 0.05):
            claim = truth + way * inflation
            name = f"screen policy on {population}, {metric} {truth:.4f}, claim {claim:.4f}"
            found = [bet(population, make, claim, seed_of(f"{name} {run}")) for run in range(repetitions)]
            outside = np.array([answer in OUTSIDE for answer, _ in found])
            yield rate(f"{name}: contradicted", outside)
            yield mean(f"{name}: share used", np.array([100 * n / population for _, n in found]), "% of the split")


def bet(
    population: int, make: Callable[[Integers], Seen], claim: float, random: np.random.Generator
) -> tuple[Answer | None, int]:
    order = random.permutation(population)
    for n in looks(population):
        found = standing(make(order[:n]), claim - SCREEN.margin, claim + SCREEN.margin, claim)
        if answer := found.answer(SCREEN.alpha, SCREEN.answers):
            return answer, n
    return None, population


@cache
def _claim(literal: str) -> Claim:
    number = read_number(literal)
    evidence = Evidence(Source.MODEL_INDEX, "README.md", 1, 1, literal, literal)
    return Claim("org/model", "accuracy", number.value, number.literal, Unit.FRACTION, number.interval, (evidence,))


def printed(value: float, digits: int) -> Claim:
    """The claim that a card makes when it prints an accuracy with so many digits."""
    return _claim(f"{value:.{digits}f}")


def counts_near(claim: Claim, population: int) -> range:
    """A range of counts that holds all that are printed as the claim is."""
    return range(int(claim.interval.low * population) - 1, math.ceil(claim.interval.high * population) + 2)


def claimed_range(claim: Claim, policy: Policy) -> tuple[float, float]:
    interval = allowed(claim, policy.margin)
    return interval.low, interval.high


def measured(score: Score, population: int) -> Measurement:
    return Measurement("simulated", "test", population, population, {"accuracy": score}, 0, 0, {})


def seed_of(name: str) -> np.random.Generator:
    """Random numbers of their own for each cell, the same in every run of this program."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def rate(
    name: str, events: NDArray[np.bool_], peer: str | None = None, theirs: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """The row of a rate in percent, with Clopper and Pearson's interval (1934)."""
    count, runs = int(events.sum()), len(events)
    low = 100 * float(beta.ppf(0.025, count, runs - count + 1)) if count else 0.0
    high = 100 * float(beta.ppf(0.975, count + 1, runs - count)) if count < runs else 100.0
    return row(name, 100 * count / runs, low, high, "%", runs, peer, None if theirs is None else 100 * theirs.mean())


def mean(name: str, values: NDArray[np.float64], unit: str) -> dict[str, Any]:
    """The row of a mean, with its normal interval."""
    middle, error = float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return row(name, middle, middle - error, middle + error, unit, len(values))


def row(
    name: str,
    ours: float,
    low: float,
    high: float,
    unit: str,
    runs: int,
    peer: str | None = None,
    theirs: float | None = None,
) -> dict[str, Any]:
    ratio = ours / theirs if theirs else None
    return {
        "name": name, "peer": peer, "ours": ours, "theirs": theirs, "ratio": ratio, "unit": unit, "runs": runs,
        "equal": True, "low": low, "high": high,
    }  # fmt: skip
