"""Runs with realistic predictions, claims about them, and cases to explain, for tests."""

import numpy as np
from benchmarks.judge.kinds import KINDS_OF

from helpers.claim_making import claim, measurement
from verify.judging.cases import Case
from verify.judging.compare import judge
from verify.judging.explain import explained, search
from verify.metrics.registry import measure
from verify.store.predictions import LabelPredictions, LabelSetPredictions
from verify.tasks.kinds import settings_of
from verify.tasks.match import Match
from verify.types import DatasetSource, TaskSpec, Unit, VerdictKind

DIFFERS = (VerdictKind.OVERSTATED, VerdictKind.UNDERSTATED)


def classified(n=2000, shares=(0.55, 0.45), skill=2.0, seed=0, mapping=None, extra=0):
    """A classifier's run over classes of unequal size, with confusions of unequal frequency.

    ``mapping`` is the data's label of each output; ``extra`` adds outputs for classes that the data lack.
    """
    chance = np.random.default_rng(seed)
    classes = len(shares)
    reference = chance.choice(classes, size=n, p=np.array(shares) / sum(shares))
    near = chance.normal(0, 0.7, (classes, classes + extra))
    logits = chance.normal(0, 1, (n, classes + extra)) + near[reference]
    logits[np.arange(n), reference] += skill
    mapping = tuple(range(classes)) if mapping is None else mapping
    columns = [mapping.index(label) for label in range(classes)]
    columns += [column for column, label in enumerate(mapping) if label < 0]
    placed = np.empty_like(logits)
    placed[:, columns] = logits
    return LabelPredictions(np.arange(n), placed.astype(np.float32), reference, mapping)


def label_sets(n=1500, labels=8, seed=0):
    """A run of a classifier that gives any number of labels: few are there, and scores are rather too low."""
    chance = np.random.default_rng(seed)
    reference = chance.random((n, labels)) < chance.uniform(0.05, 0.35, labels)
    logits = chance.normal(-2.2, 1.2, (n, labels)) + 3.2 * reference
    return LabelSetPredictions(np.arange(n), logits.astype(np.float32), reference, tuple(range(labels)))


def scores_of(predictions, settings=None):
    """Every score of a run, by name."""
    kind_settings = settings_of(KINDS_OF[predictions.family], settings or {})
    return {name: score.value for name, score in measure(predictions, kind_settings)[0].items()}


def printed(value, digits=4, metric="accuracy", unit=Unit.FRACTION, **fields):
    """A claim that prints a score (a fraction, or raw) to so many digits after the point."""
    return claim(f"{value * (100 if unit is Unit.PERCENT else 1):.{digits}f}", metric, unit, **fields)


def case(predictions, claims, labels=None, budgets=None, settings=None, **fields):
    """The case of a full run and claims about it: those differ that the judge says differ."""
    kind = KINDS_OF[predictions.family]
    task = TaskSpec("task", kind, DatasetSource("data", split="validation"), {}, (), "task.yaml", labels=labels)
    settings = settings_of(kind, settings or {})
    scores = measure(predictions, settings)[0]
    if budgets is not None:
        scores = {name: type(score)(score.value, score.n, score.count, budgets) for name, score in scores.items()}
    run = measurement(scores, n=len(predictions))
    verdicts = [judge(one, Match(task, "validation"), run) for one in claims]
    differing = frozenset(verdict.claim.claim_id for verdict in verdicts if verdict.kind in DIFFERS)
    return Case(task, predictions, settings, run, tuple(claims), differing, **fields)


def verdicts(about, hypotheses):
    """What becomes of the claims of a case, in their order, when ``hypotheses`` are tried."""
    found = search(about, hypotheses)
    match = Match(about.task, "validation")
    return [explained(judge(one, match, about.measurement), found) for one in about.claims]
