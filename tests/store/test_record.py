"""What a check leaves behind: nothing of a claim may be lost, and nothing unreadable may be believed."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from helpers.claim_making import claim, measurement
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.claims.meaning.group import Finding
from verify.errors import BlockedError, DataError, UsageError, VerifyError
from verify.store.files import DamagedError
from verify.store.record import FILE, Conditions, Failure, failure, recorded, rooted, stored_record, write_record
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.tasks.resolve import Resolved
from verify.types import Claim, DatasetSource, Evidence, Interval, Source, TaskSpec, Unit

SST2 = load_registry()["sst2"]
CONDITIONS = Conditions(limit=None, seed=0, probe_share=0.1, dtype="float32", precision="exact", max_length=None)


def record_of(resolved, results=None, folder=Path("results/org--model"), tasks=None):
    return recorded(
        resolved,
        results or {},
        tasks or {},
        folder,
        model="org/model",
        reference="org/model@abc",
        revision="abc",
        digests={"model.safetensors": "0" * 64},
        retry="verify check org/model",
        policy="default",
        conditions=CONDITIONS,
    )


TEXT = st.text(max_size=12)
MAYBE = st.none() | TEXT
FINITE = st.floats(allow_nan=False, allow_infinity=False)
EVIDENCE = st.builds(Evidence, st.sampled_from(Source), TEXT, st.integers(1), st.integers(1), TEXT, TEXT)
CLAIMS = st.builds(
    Claim,
    model=TEXT,
    metric=TEXT,
    value=FINITE,
    literal=TEXT,
    unit=st.sampled_from(Unit),
    interval=st.builds(Interval, FINITE, FINITE),
    evidence=st.lists(EVIDENCE, min_size=1, max_size=3).map(tuple),
    task=MAYBE,
    dataset=MAYBE,
    dataset_name=MAYBE,
    config=MAYBE,
    split=MAYBE,
    settings=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), FINITE, st.booleans(), st.none()), max_size=3),
    subject=MAYBE,
    revision=MAYBE,
    date=MAYBE,
    verified=st.booleans(),
    verify_token=MAYBE,
    notes=st.lists(TEXT, max_size=2).map(tuple),
)
MATCHES = st.one_of(
    st.builds(Match, st.just(SST2), TEXT, st.booleans(), st.lists(TEXT, max_size=2).map(tuple)),
    st.builds(Match, st.none(), reason=TEXT, next_step=TEXT),
)
FINDINGS = st.builds(
    Finding, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple), st.lists(EVIDENCE, max_size=2).map(tuple)
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(CLAIMS, MATCHES), max_size=4),
    st.lists(CLAIMS, max_size=2),
    st.lists(FINDINGS, min_size=1, max_size=3),
    st.dictionaries(TEXT, st.lists(FINITE, max_size=4).map(tuple), max_size=3),
)
def test_claims_and_all_that_was_read_survive_the_disk(tmp_path_factory, pairs, candidates, findings, epochs):
    folder = tmp_path_factory.mktemp("model")
    claims = tuple(one for one, _ in pairs)
    impossible = {one.claim_id: findings[-1] for one in claims[:1]}
    matches = tuple(match for _, match in pairs)
    before = Resolved(claims, matches, tuple(candidates), tuple(findings), impossible, epochs)
    write_record(folder, record_of(before, folder=folder))
    after = stored_record(folder)[0].resolved()
    assert [one.claim_id for one in after.claims] == [one.claim_id for one in claims]
    assert after == replace(before, matches=tuple(replace(m, task=rooted(SST2)) if m.task else m for m in matches))
    assert {key: type(value) for one in after.claims for key, value in one.settings.items()} == {
        key: type(value) for one in claims for key, value in one.settings.items()
    }


def test_a_text_that_utf8_cannot_hold_survives_too(tmp_path):
    one = claim(dataset="half a pair \ud83d", settings={"share": float("inf")})
    write_record(tmp_path, record_of(Resolved((one,), (Match(None, reason="none"),))))
    (found,) = stored_record(tmp_path)[0].claims
    assert (found, found.claim_id) == (one, one.claim_id)
    (tmp_path / FILE).read_text(encoding="utf-8")


def test_runs_scores_and_failures_are_found_again_wherever_the_folder_lies(tmp_path):
    stored = str(tmp_path / "sst2.validation/0123/measurements/4567.json")
    done = measurement({"accuracy": 0.9}, result=stored, provenance={"dataset_revision": "abc", "dataset_digest": None})
    results = {("sst2", "validation"): done, ("sst2", "test"): DataError("It is gone.")}
    resolved = Resolved((claim(),), (Match(SST2, "validation"),))
    write_record(tmp_path, record_of(resolved, results, tmp_path, {("sst2", "validation"): SST2}))
    good, bad = stored_record(tmp_path)[0].cells
    assert (good.run, good.scores) == ("sst2.validation/0123", "sst2.validation/0123/measurements/4567.json")
    assert (good.dataset_revision, good.dataset_digest, good.failure) == ("abc", None, None)
    assert (bad.run, bad.scores) == (None, None)
    error = failure(bad.failure)
    assert (type(error), str(error), error.exit_code) == (DataError, "It is gone.", 4)


def test_an_error_of_an_unknown_kind_is_an_error_still():
    assert type(failure(Failure("UndefinedScoreError", "no value"))) is VerifyError
    assert type(failure(Failure("annotations", "no value"))) is VerifyError
    assert isinstance(failure(Failure("BlockedError", "pickle")), BlockedError)


def test_a_task_with_paths_of_its_own_means_the_same_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = DatasetSource("csv", data_files={"test": "tasks/../rows.csv"})
    found = rooted(
        TaskSpec("mine", "sequence-classification", source, {"text": "a", "label": "b"}, (), "tasks/mine.yaml")
    )
    assert found.file == str(tmp_path / "tasks/mine.yaml")
    assert found.dataset.data_files == {"test": str(tmp_path / "rows.csv")}
    assert rooted(found) == found


def written(folder):
    resolved = Resolved((claim(),), (Match(SST2, "validation"),), findings=(Finding("granularity", "It cannot be."),))
    done = measurement({"accuracy": 0.9}, result=str(folder / "sst2.validation/0123/measurements/4567.json"))
    write_record(folder, record_of(resolved, {("sst2", "validation"): done}, folder, {("sst2", "validation"): SST2}))
    return json.loads((folder / FILE).read_text())


def changed(found, path, value):
    *parents, last = path
    inner = found
    for name in parents:
        inner = inner[name]
    inner[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["schema"], "verify.record/0", "schema 'verify.record/0'"),
        (["schema"], None, "schema None"),
        (["claims", 0, "value"], "0.91", "the record.claims[0].value must be a number"),
        (["claims", 0, "interval"], None, "the record.claims[0].interval must be a mapping"),
        (["claims", 0, "unit"], "furlong", "must be one of fraction, percent, raw"),
        (["claims"], [], "0 claims and 1 matches"),
        (["matches", 0, "task"], "mnli", "lacks the task mnli"),
        (["tasks"], [], "lacks the task sst2"),
        (["impossible"], {"0123": 1}, "lacks a finding"),
        (["cells", 0, "run"], "../../other", "leads outside"),
        (["cells", 0, "scores"], "/etc/passwd", "leads outside"),
        (["extra"], 1, "unknown key extra"),
    ],
)
def test_a_changed_record_is_refused_in_one_paragraph(tmp_path, path, value, words):
    found = written(tmp_path)
    changed(found, path, value)
    (tmp_path / FILE).write_text(json.dumps(found))
    with pytest.raises(DamagedError) as error:
        stored_record(tmp_path)[0]
    assert words in str(error.value)
    assert "verify check" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"null", b"[" * 100_000])
def test_a_file_that_is_no_record_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DamagedError, match=FILE):
        stored_record(tmp_path)[0]


def test_a_missing_record_says_what_leaves_one(tmp_path):
    with pytest.raises(UsageError, match="in which a check leaves the claims"):
        stored_record(tmp_path)[0]


def test_the_record_is_written_whole(tmp_path):
    written(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    assert asdict(CONDITIONS) == json.loads((tmp_path / FILE).read_text())["conditions"]
