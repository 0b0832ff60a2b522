"""Claims and measurements for tests, built as a card's reader and a run would build them."""

from verify.claims.form.values import read_number
from verify.types import Claim, Evidence, Measurement, Score, Source, Unit


def claim(literal="0.91", metric="accuracy", unit=Unit.FRACTION, **fields):
    """A claim that prints ``literal``, from line 7 of a card."""
    number = read_number(literal)
    evidence = Evidence(Source.MODEL_INDEX, "README.md", 7, 7, f"value: {literal}", literal)
    return Claim("org/model", metric, number.value, number.literal, unit, number.interval, (evidence,), **fields)


def measurement(scores, *, n=1000, population=None, **fields):
    """A full run of the validation split of sst2, with ``scores`` as values or as Score objects."""
    made = {name: score if isinstance(score, Score) else Score(score, n) for name, score in scores.items()}
    known = {"task": "sst2", "split": "validation", "probed": n // 10, "flips": 0, "provenance": {}}
    return Measurement(n=n, population=population or n, scores=made, **{**known, **fields})
