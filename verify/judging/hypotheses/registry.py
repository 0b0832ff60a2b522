"""All hypotheses, in the order in which they are tried and believed: the heaviest first."""

from __future__ import annotations

from collections.abc import Iterable

from verify.foundation.content import content_key
from verify.judging.hypotheses import (
    answers,
    card,
    labels,
    likelihood,
    multi_label,
    readings,
    rows,
    similarity,
    speech,
    tags,
    texts,
)
from verify.judging.hypotheses.hypothesis import Hypothesis

_MODULES = (labels, readings, card, multi_label, similarity, likelihood, answers, tags, texts, speech, rows)


def version_of(hypotheses: Iterable[Hypothesis]) -> str:
    """Sixteen hex digits that change with the settings tried and with their order of belief, and not with the words."""
    return content_key([[one.name, one.version, one.weight] for one in hypotheses])


HYPOTHESES: tuple[Hypothesis, ...] = tuple(
    sorted((one for module in _MODULES for one in module.HYPOTHESES), key=lambda one: -one.weight)
)
"""What is tried when a claim and its rerun disagree. Frozen before a card is looked at."""

REGISTRY_VERSION = version_of(HYPOTHESES)
"""Stored beside every search, so that it can be told what was tried."""
