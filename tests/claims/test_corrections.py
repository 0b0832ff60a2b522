import pytest

from verify.claims.corrections import apply_corrections, load_corrections
from verify.claims.extract import read_claims
from verify.errors import UsageError
from verify.types import Unit

CLAIMS = read_claims(
    {"README.md": "It achieves the following results on the evaluation set:\n- Loss: 0.3\n- Accuracy: 0.929\n"}, "m"
).claims


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def corrected(path):
    return apply_corrections(CLAIMS, load_corrections(path), "m", path)


def test_a_claim_is_corrected_dropped_and_added(file):
    loss, accuracy = CLAIMS
    path = file(
        f"- claim: {accuracy.claim_id}\n  dataset: glue\n  config: sst2\n  split: validation\n"
        f"- drop: {loss.claim_id}\n"
        '- metric: acc\n  value: "91.3"\n  dataset: imdb\n  split: test\n'
    )
    changed, added = corrected(path)
    assert (changed.literal, changed.dataset, changed.config, changed.split) == ("0.929", "glue", "sst2", "validation")
    assert any("mine.yaml, line 1" in note for note in changed.notes)
    assert (added.metric, added.literal, added.unit, added.dataset) == ("accuracy", "91.3", Unit.PERCENT, "imdb")
    assert (added.evidence[0].file, added.evidence[0].line) == ("mine.yaml", 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- claim: 0000\n  splt: test\n", "line 2.*splt.*split"),
        ("- metric: accuracy\n", "line 1.*metric and value"),
        ('- metric: accuracy\n  value: "many"\n', "line 2.*many"),
        ("- claim: 00\n  unit: percents\n", "line 2.*percents.*percent"),
        ("- 3\n", "line 1.*mapping"),
        ("claim: 1\n", "list"),
        ("- claim: 0123456789abcdef\n  split: test\n", "line 1.*0123456789abcdef"),
        ("- drop: 00\n  split: test\n", "line 1.*drop"),
    ],
)
def test_a_wrong_entry_is_named_by_file_line_and_key(file, text, message):
    with pytest.raises(UsageError, match=f"(?s)mine.yaml.*{message}"):
        corrected(file(text))


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="absent"):
        load_corrections(tmp_path / "absent.yaml")
