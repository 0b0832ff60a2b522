from helpers.claim_making import claim

from verify.claims.extract import Extraction
from verify.tasks.registry import load_registry
from verify.tasks.resolve import resolve_claims, split_sizes
from verify.types import Unit

TASKS = load_registry()


def resolved(*claims, **options):
    return resolve_claims(Extraction(claims, (), ()), TASKS, **options)


def test_every_claim_has_its_match_in_order():
    found = resolved(claim("0.91", dataset="imdb"), claim("0.5", dataset="nowhere"), claim("0.91", dataset="sst2"))
    assert [match.task.name if match.task else None for match in found.matches] == ["imdb", None, "sst2"]


def test_a_number_between_two_counts_of_the_split_is_impossible():
    one = claim("0.9103", dataset="sst2", split="validation")
    found = resolved(one, claim("0.9106", dataset="sst2", split="validation"))
    assert set(found.impossible) == {one.claim_id}
    assert "872 examples (validation)" in found.impossible[one.claim_id].sentence


def test_split_aliases_have_sizes_too():
    one = claim("0.84505", dataset="mnli", split="matched")
    found = resolved(one)
    assert split_sizes(found.matches[0])["matched"] == 9815
    assert set(found.impossible) == {one.claim_id}


def test_nothing_is_impossible_where_the_size_is_unknown_or_another_split_is_asked_for():
    assert not resolved(claim("0.91031", dataset="nowhere")).impossible
    assert not resolved(claim("0.9103", dataset="sst2", split="validation"), split="test").impossible


def test_a_percentage_is_examined_like_a_fraction():
    one = claim("91.03", dataset="sst2", split="validation", unit=Unit.PERCENT)
    assert set(resolved(one).impossible) == {one.claim_id}
