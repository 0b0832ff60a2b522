"""Over the annotated cards beside the repository, where there are any."""

from pathlib import Path

import pytest

from verify.claims.extract import read_claims

CARDS = Path(__file__).resolve().parents[2].parent / "shared" / "cards" / "dev"
README = sorted(CARDS.glob("*/README.md"))

pytestmark = pytest.mark.skipif(not README, reason="the annotated cards are not here")


@pytest.mark.parametrize("path", README, ids=lambda path: path.parent.name)
def test_every_span_contains_its_literal(path):
    text = path.read_bytes().decode(errors="replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    extraction = read_claims({"README.md": text}, path.parent.name)
    for claim in (*extraction.claims, *extraction.candidates):
        for place in claim.evidence:
            assert place.literal
            assert place.literal in "\n".join(lines[place.line - 1 : place.end_line])
            assert place.literal in place.quote
