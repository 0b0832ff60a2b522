"""What the tests of the hypotheses ask: which cause is found for numbers that a known cause made."""

from helpers.case_making import case, printed

from verify.judging.explain import CERTAIN, search
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.metrics.stored import Memory, remembering
from verify.store.runs import RunFolder


def sought(predictions, numbers, digits=4, budgets=None, settings=None, unit=None, **fields):
    """The search for a card that prints ``numbers`` (metric → fraction) about a run."""
    more = {} if unit is None else {"unit": unit}
    claims = [printed(value, digits, metric, **more) for metric, value in numbers.items()]
    about = case(predictions, claims, budgets=budgets, settings=settings, **fields)
    assert about.differing, "the numbers are those of the rerun"
    return search(about, HYPOTHESES)


def trials(search):
    """Every trial with its numbers, to the last bit, and what was found."""
    numbers = [(one.trial, one.fits, one.steps, one.distance) for one in search.tried]
    return numbers, search.best and search.best.trial, search.chance


def searched_with_memory(predictions, folder, numbers, **options):
    """The same search with statistics that are kept: one that keeps them, and a later one that finds them all."""
    first = sought(remembering(predictions, Memory(RunFolder(folder))), numbers, **options)
    kept = sorted(folder.rglob("*.parquet"))
    later = sought(remembering(predictions, Memory(RunFolder(folder))), numbers, **options)
    assert kept, "statistics are kept"
    assert sorted(folder.rglob("*.parquet")) == kept, "nothing was computed again"
    return first, later


def found(search):
    """Hypothesis and setting of what was found, and whether it is certain."""
    assert search.best is not None, [(one.trial.hypothesis, one.trial.setting) for one in search.tried]
    return search.best.hypothesis.name, search.best.trial.setting, search.chance <= CERTAIN


def settings_tried(search, hypothesis):
    return [one.trial.setting for one in search.tried if one.hypothesis.name == hypothesis]
