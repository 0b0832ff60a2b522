"""Claims of which a part of the split was run: when that is enough, and what it shows of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checking.measure import Settled
from verify.checking.scoring import stored_predictions
from verify.configuration.schema import PolicyConfig
from verify.engine.running.plan import example_order
from verify.judging.many import flagged
from verify.judging.sampled import Rule, Sample, Sampled, estimated, is_settled, sampled
from verify.judging.sequential import ANSWERS, OUTSIDE
from verify.metrics.meanings import is_measured_for
from verify.metrics.stored import Memory, remembering
from verify.store.predictions import Predictions
from verify.store.record import Results
from verify.store.runs import RunFolder
from verify.tasks.kinds import settings_of
from verify.tasks.match import Match
from verify.tasks.resolve import Resolved
from verify.types import FOREIGN, Claim, Measurement, TaskSpec, Verdict

Parts = Mapping[str, Sampled]
"""What parts of splits show, by claim id."""


def is_measurable(claim: Claim, task: TaskSpec) -> bool:
    """Whether a run of the task can give what the claim is about, by a metric of this package or a foreign one."""
    return is_measured_for(claim.metric, task.kind) or any(name.startswith(FOREIGN) for name in task.metrics)


def rule_of(policy: PolicyConfig, resolved: Resolved) -> Rule:
    """When a part of a split is enough: to contradict a claim always, to confirm one only where the policy says so."""
    attempted = sum(match.task is not None and is_measurable(claim, match.task) for claim, match in _pairs(resolved))
    answers = ANSWERS if policy.stop == "settled" else OUTSIDE
    return Rule(answers, policy.margin, policy.alpha, max(attempted, 1))


def settled_by(policy: PolicyConfig, resolved: Resolved, cells: Sequence[tuple[str, str]]) -> Settled | None:
    """When to stop measuring the ``cells``, each a task and split: once every claim about it is answered.

    None where the policy never stops.
    """
    if policy.stop == "never":
        return None
    rule = rule_of(policy, resolved)

    def settled(index: int, predictions: Predictions, order: NDArray[np.int64], info: Mapping[str, Any]) -> bool:
        about = [(claim, match.task) for claim, match in _pairs(resolved) if _key(match) == cells[index]]
        claims = [claim for claim, task in about if task is not None and is_measurable(claim, task)]
        task = next((task for _, task in about if task is not None), None)
        return task is not None and is_settled(claims, _sample(predictions, order, info, task), rule)

    return settled


def of_parts(resolved: Resolved, results: Results, policy: PolicyConfig) -> dict[str, Sampled]:
    """What the stored predictions show of every claim of whose split a part was run."""
    rule, samples, found = rule_of(policy, resolved), dict[tuple[str, str], Sample | None](), {}
    for claim, match in _pairs(resolved):
        key = _key(match)
        result = results.get(key) if key else None
        if key is None or match.task is None or not isinstance(result, Measurement) or result.is_full:
            continue
        if key not in samples:
            samples[key] = _stored_sample(result, match.task)
        sample = samples[key]
        shown = (sampled(claim, sample, rule) or estimated(claim, sample)) if sample is not None else None
        if shown is not None:
            found[claim.claim_id] = shown
    return found


def counted(parts: Parts, verdicts: Sequence[Verdict], alpha: float) -> dict[str, Sampled]:
    """The parts, with those claims answered, too, that count as contradicted when all ``verdicts`` are counted.

    A claim that a full rerun contradicts stands whatever the others show, and makes room for one that almost does.
    """
    evidence = {
        verdict.claim.claim_id: parts[verdict.claim.claim_id].evidence
        if verdict.claim.claim_id in parts
        else (math.inf if verdict.kind.holds is False else 0.0)
        for verdict in verdicts
        if verdict.n is not None
    }
    also = flagged(evidence, alpha)
    return {
        claim_id: replace(part, answer=part.leaning) if claim_id in also and part.answer is None else part
        for claim_id, part in parts.items()
    }


def _stored_sample(measurement: Measurement, task: TaskSpec) -> Sample | None:
    folder = RunFolder.behind(measurement)
    if folder is None:
        return None
    info = folder.info()
    order = example_order(measurement.population, int(measurement.provenance["seed"]), measurement.n)
    predictions = stored_predictions(folder, task, order)
    if info is None or predictions is None or len(predictions) < len(order):
        return None
    return _sample(remembering(predictions, Memory(folder)), order, info, task)


def _sample(predictions: Predictions, order: NDArray[np.int64], info: Mapping[str, Any], task: TaskSpec) -> Sample:
    settings = settings_of(task.kind, task.settings)
    return Sample(predictions, order, int(info["population"]), settings, info.get("longest_reference"))


def _pairs(resolved: Resolved) -> list[tuple[Claim, Match]]:
    return list(zip(resolved.claims, resolved.matches, strict=True))


def _key(match: Match) -> tuple[str, str] | None:
    return (match.task.name, match.split) if match.task else None
