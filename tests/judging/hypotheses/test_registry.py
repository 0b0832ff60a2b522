import importlib
import pkgutil
from dataclasses import replace

from verify.judging import hypotheses
from verify.judging.hypotheses.registry import HYPOTHESES, REGISTRY_VERSION, version_of


def test_every_hypothesis_of_the_package_is_registered_once():
    found = []
    for module in pkgutil.iter_modules(hypotheses.__path__):
        if module.name != "registry":
            found += getattr(importlib.import_module(f"{hypotheses.__name__}.{module.name}"), "HYPOTHESES", ())
    assert sorted(one.name for one in HYPOTHESES) == sorted({one.name for one in found})
    assert len(HYPOTHESES) == len(found)


def test_heavier_causes_come_first():
    weights = [one.weight for one in HYPOTHESES]
    assert weights == sorted(weights, reverse=True)


def test_every_cause_reads_as_a_clause_with_its_setting():
    for one in HYPOTHESES:
        words = one.cause.format(setting="X")
        assert "X" in words
        assert "{" not in words
        assert not words.endswith(".")


def test_the_version_changes_with_what_is_tried_and_with_nothing_else():
    assert version_of(HYPOTHESES) == REGISTRY_VERSION
    raised = (replace(HYPOTHESES[0], version=HYPOTHESES[0].version + 1), *HYPOTHESES[1:])
    heavier = (replace(HYPOTHESES[0], weight=HYPOTHESES[0].weight + 1), *HYPOTHESES[1:])
    reworded = (replace(HYPOTHESES[0], cause="another word ({setting})"), *HYPOTHESES[1:])
    assert version_of(raised) != REGISTRY_VERSION
    assert version_of(heavier) != REGISTRY_VERSION
    assert version_of(HYPOTHESES[1:]) != REGISTRY_VERSION
    assert version_of(reworded) == REGISTRY_VERSION
