import pytest
from helpers.claim_making import claim, measurement

from verify.types import Interval, Unit, VerdictKind


def test_a_claim_id_follows_the_number_and_its_subject_and_not_the_place():
    one = claim("0.91", dataset="imdb")
    assert one.claim_id == claim("0.91", dataset="imdb", notes=("read",), date="2020").claim_id
    assert len({one.claim_id, claim("0.910", dataset="imdb").claim_id, claim("0.91", dataset="sst2").claim_id}) == 3
    assert len(claim("0.91", dataset="\ud800").claim_id) == 16


def test_scales_and_intervals():
    assert (claim("91", unit=Unit.PERCENT).scale, claim("0.9").scale, claim("2", unit=Unit.RAW).scale) == (100, 1, 1)
    assert Interval(1.0, 2.0).widened(0.5) == Interval(0.5, 2.5)


@pytest.mark.parametrize(
    ("kinds", "holds"),
    [
        (["reproduced", "consistent"], True),
        (["overstated", "understated", "explained", "impossible"], False),
        (["underspecified", "inconclusive", "unverifiable", "blocked", "error"], None),
    ],
)
def test_what_a_verdict_says_about_its_claim(kinds, holds):
    assert [VerdictKind(kind).holds for kind in kinds] == [holds] * len(kinds)


def test_a_measurement_is_full_when_every_example_ran():
    assert measurement({}, n=10).is_full
    assert not measurement({}, n=10, population=11).is_full
