"""The bound on the disk, on a cache of the Hub's own layout."""

import hashlib
from pathlib import Path

import pytest

from verify.compose import compose_config
from verify.config_values import bytes_of
from verify.errors import UsageError
from verify.sweep.evict import Evictor

SIZE = 100_000


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, which scan_cache_dir looks at."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(folder))
    return folder


def download(cache: Path, model: str, revision: str = "a", kind: str = "models", of: str | None = None) -> Path:
    """A snapshot as huggingface_hub leaves it: a link to a blob. It has the commits of the model ``of`` or its own."""
    commit = hashlib.sha1(f"{of or model}{revision}".encode()).hexdigest()
    home = cache / f"{kind}--{model.replace('/', '--')}"
    blob = home / "blobs" / hashlib.sha256(f"{model}{revision}".encode()).hexdigest()
    for folder in (blob.parent, home / "refs", home / "snapshots" / commit):
        folder.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"0" * SIZE)
    (home / "refs/main").write_text(commit)
    snapshot = home / "snapshots" / commit
    (snapshot / "model.safetensors").symlink_to(blob)
    return snapshot


def test_models_that_are_done_are_deleted_oldest_first_down_to_the_budget(cache):
    evictor = Evictor(2 * SIZE + SIZE // 2)
    snapshots = [download(cache, f"org/m{i}") for i in range(4)]
    assert evictor.finished("org/m1", []) == ["org/m1"]
    assert evictor.finished("org/m0", []) == ["org/m0"]
    assert evictor.finished("org/m2", []) == [], "there is room now"
    assert [snapshot.exists() for snapshot in snapshots] == [False, False, True, True]


def test_what_was_there_before_or_is_in_use_stays(cache):
    before = download(cache, "org/old")
    evictor = Evictor(0)
    again, used = download(cache, "org/old", "b"), download(cache, "org/used")
    data = download(cache, "org/data", kind="datasets")
    assert evictor.finished("org/used", ["org/used"]) == []
    assert evictor.finished("org/data", ["org/used"]) == []
    assert evictor.finished("org/old", ["org/used"]) == ["org/old"]
    assert (before.exists(), again.exists(), used.exists(), data.exists()) == (True, False, True, True)
    assert evictor.finished("a-folder", []) == ["org/used"], "nobody uses it any more"


@pytest.mark.parametrize("round_", range(8))
def test_a_copy_of_a_repository_with_the_same_commits_stays(cache, round_):
    evictor = Evictor(0)
    copy, own = download(cache, f"org/copy{round_}", of="org/mine"), download(cache, "org/mine")
    assert evictor.finished("org/mine", [f"org/copy{round_}"]) == ["org/mine"]
    assert (copy.exists(), own.exists()) == (True, False)


def test_there_may_be_no_cache_at_all(cache):
    assert Evictor(0).finished("a-folder", []) == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [("200GB", 200 * 10**9), ("1.5 TB", 15 * 10**11), ("500GiB", 500 * 2**30), ("5MB", 5_000_000), ("1KiB", 1024)],
)
def test_sizes(size, expected):
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["200", "-5GB", "GB", "5 XB", "much"])
def test_what_is_no_size(size):
    assert bytes_of(size) is None


@pytest.mark.parametrize(
    "setting",
    ["sweep.disk=much", "sweep.deadline=0", "sweep.deadline=-1", "sweep.workers=0", "sweep.retries=-1"],
)
def test_a_wrong_setting_is_named_before_anything_runs(setting):
    with pytest.raises(UsageError, match=setting.replace(".", r"\.")):
        compose_config(None, [setting])
