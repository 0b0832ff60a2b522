from verify.claims.extract import read_claims

CARD = """\
---
model-index:
- results:
  - dataset: {{type: imdb, name: imdb}}
    metrics:
    - {{type: accuracy, value: {metadata}}}
---
This model is a fine-tuned version of [b](c) on the imdb dataset.
It achieves the following results on the evaluation set:
- Accuracy: {listed}
"""


def read(metadata, listed):
    return read_claims({"README.md": CARD.format(metadata=metadata, listed=listed)}, "m")


def test_a_rounded_print_is_the_same_claim():
    (claim,) = read("0.8504901", "0.8505").claims
    assert claim.literal == "0.8504901"
    assert len(claim.evidence) == 2
    assert read("0.8504901", "85.05").claims[0].evidence[1].literal == "85.05"


def test_places_that_disagree_are_two_claims_and_a_finding():
    extraction = read("0.8967", "0.9067")
    assert [claim.literal for claim in extraction.claims] == ["0.8967", "0.9067"]
    (finding,) = extraction.findings
    assert finding.kind == "disagreement"
    assert "0.8967" in finding.sentence
    assert "0.9067" in finding.sentence
    assert set(finding.claim_ids) == {claim.claim_id for claim in extraction.claims}
