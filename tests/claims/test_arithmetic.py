import random
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from verify.claims.form.values import read_number
from verify.claims.meaning.arithmetic import examine, matrix, possible_counts, printed
from verify.types import Claim, Unit


def claim(literal, metric="accuracy", unit=Unit.FRACTION, **fields):
    number = read_number(literal)
    return Claim("m", metric, number.value, literal, unit, number.interval, (), **fields)


def flagged(literal, n):
    return [finding.kind for finding in examine([claim(literal, split="test")], {"test": n})] == ["granularity"]


@pytest.mark.parametrize(("n", "least"), [(100, 0.98), (277, 0.95), (400, 0.94), (408, 0.938), (872, 0.85)])
def test_random_accuracies_are_flagged(n, least):
    # 1.5 prints in 10,000 fit each of the n + 1 counts, once truncation is allowed: that bounds what can be flagged.
    every = [f"0.{digits:04d}" for digits in range(10_000)]
    assert sum(flagged(literal, n) for literal in every) / len(every) >= least


@pytest.mark.parametrize("rounding", [ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN])
def test_no_true_count_is_flagged(rounding):
    draw = random.Random(0)
    for _ in range(10_000):
        n = draw.randint(1, 20_000)
        k = draw.randint(0, n)
        digits = draw.randint(1, 17)
        unit = draw.choice([Unit.FRACTION, Unit.PERCENT])
        exact = Decimal(k) / Decimal(n) * (100 if unit is Unit.PERCENT else 1)
        literal = str(exact.quantize(Decimal(1).scaleb(-digits), rounding=rounding))
        if "E" in literal:
            literal = f"{Decimal(literal):f}"
        assert k in possible_counts(claim(literal, unit=unit), n), (k, n, literal)


def test_doubles_say_their_count_and_their_split():
    findings = examine(
        [claim("0.8774509803921569", task="text-classification")], {"train": 3668, "validation": 408, "test": 1725}
    )
    (finding,) = findings
    assert finding.kind == "reconstruction"
    assert "358 of 408 (validation)" in finding.sentence
    assert "train" not in finding.sentence


def test_an_impossible_number_names_the_reasons_and_the_split_that_would_fit():
    (finding,) = examine([claim("0.8775", split="test")], {"validation": 408, "test": 15})
    assert finding.kind == "granularity"
    for words in ("cannot be one run on this split", "seeds", "batches", "358 of 408 on validation"):
        assert words in finding.sentence


def test_scores_that_are_no_share_of_examples_are_left_alone():
    sizes = {"test": 7}
    assert examine([claim("0.93", task="token-classification")], sizes) == []
    assert examine([claim("0.93", metric="f1")], sizes) == []
    assert examine([claim("2.93", metric="loss", unit=Unit.RAW)], sizes) == []
    assert examine([claim("0.93", notes=("printed with a spread of ± 0.01",))], sizes) == []


def run(accuracy, precision, recall, f1):
    return [
        claim(literal, metric=metric, split="test")
        for metric, literal in zip(
            ("accuracy", "precision", "recall", "f1"), (accuracy, precision, recall, f1), strict=True
        )
    ]


def test_f1_is_the_harmonic_mean_of_one_run():
    kinds = [finding.kind for finding in examine(run("0.9", "0.90", "0.80", "0.95"), {})]
    assert kinds == ["f1-mismatch"]
    assert examine(run("0.9", "0.90", "0.80", "0.85"), {}) == []


def test_one_confusion_matrix_must_give_all_four():
    tp, fp, fn, tn = 40, 7, 13, 40
    n = tp + fp + fn + tn
    shown = [f"{value:.4f}" for value in ((tp + tn) / n, tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn))]
    assert examine(run(*shown), {"test": n}) == []
    allowed = [printed(literal, Unit.FRACTION) for literal in shown]
    assert matrix(n, *allowed) is not None
    assert matrix(n + 1, *allowed) is None
    kinds = {finding.kind for finding in examine(run("0.8100", *shown[1:]), {"test": n})}
    assert "joint" in kinds


@pytest.mark.parametrize("rounding", [ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN])
def test_no_true_matrix_is_flagged(rounding):
    draw = random.Random(1)
    for _ in range(300):
        tp, fp, fn, tn = (draw.randint(1, 200) for _ in range(4))
        n = tp + fp + fn + tn
        digits = draw.randint(2, 6)
        exact = [(tp + tn, n), (tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn)]
        unit = Decimal(1).scaleb(-digits)
        shown = [str((Decimal(a) / Decimal(b)).quantize(unit, rounding=rounding)) for a, b in exact]
        assert [f for f in examine(run(*shown), {"test": n}) if f.kind != "reconstruction"] == []


@pytest.mark.parametrize("n", [7, 277, 408, 872, 899, 1500, 9815, 25000])
def test_no_ratio_that_a_program_printed_in_full_is_flagged(n):
    """As a double or in single precision, as a fraction or multiplied by a hundred."""
    for right in {*range(0, n, max(n // 400, 1)), n - 1, n}:
        double, single = right / n, np.float32(right) / np.float32(n)
        for value, unit in (
            (double, Unit.FRACTION),
            (float(single), Unit.FRACTION),
            (100 * double, Unit.PERCENT),
            (float(np.float32(100) * single), Unit.PERCENT),
        ):
            flagged = examine([claim(repr(value), unit=unit, split="test")], {"test": n})
            assert "granularity" not in {found.kind for found in flagged}, (right, repr(value))
