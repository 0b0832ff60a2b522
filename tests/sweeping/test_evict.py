"""The bound on the disk, on a cache of the Hub's own layout."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from verify.configuration.compose import compose_config
from verify.configuration.values import bytes_of
from verify.errors import UsageError
from verify.sweeping import evict
from verify.sweeping.evict import Evictor

ROOT = Path(__file__).parents[2]
SIZE = 100_000


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, which scan_cache_dir looks at."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def evictor(tmp_path):
    """Makes an Evictor for some models, always for the same results."""
    return lambda budget, *models: Evictor(budget, tmp_path / "results/sweeps", models)


def download(
    cache: Path,
    model: str,
    revision: str = "a",
    kind: str = "models",
    of: str | None = None,
    file: str = "model.safetensors",
) -> Path:
    """A snapshot as huggingface_hub leaves it: a link to a blob. It has the commits of the model ``of`` or its own."""
    commit = hashlib.sha1(f"{of or model}{revision}".encode()).hexdigest()
    home = cache / f"{kind}--{model.replace('/', '--')}"
    blob = home / "blobs" / hashlib.sha256(f"{model}{revision}{file}".encode()).hexdigest()
    for folder in (blob.parent, home / "refs", home / "snapshots" / commit):
        folder.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"0" * SIZE)
    (home / "refs/main").write_text(commit)
    snapshot = home / "snapshots" / commit
    (snapshot / file).symlink_to(blob)
    return snapshot


def test_models_that_are_done_are_deleted_oldest_first_down_to_the_budget(cache, evictor):
    sweep = evictor(2 * SIZE + SIZE // 2, *(f"org/m{i}" for i in range(4)))
    snapshots = [download(cache, f"org/m{i}") for i in range(4)]
    assert sweep.finished("org/m1", []) == ["org/m1"]
    assert sweep.finished("org/m0", []) == ["org/m0"]
    assert sweep.finished("org/m2", []) == [], "there is room now"
    assert [snapshot.exists() for snapshot in snapshots] == [False, False, True, True]


def test_what_was_there_before_or_is_in_use_stays(cache, evictor):
    before = download(cache, "org/old")
    sweep = evictor(0, "org/old", "org/used", "org/data")
    again, used = download(cache, "org/old", "b"), download(cache, "org/used")
    data, other = download(cache, "org/data", kind="datasets"), download(cache, "org/of-somebody-else")
    assert sweep.finished("org/used", ["org/used"]) == []
    assert sweep.finished("org/data", ["org/used"]) == []
    assert sweep.finished("org/old", ["org/used"]) == ["org/old"]
    assert (before.exists(), again.exists(), used.exists(), data.exists()) == (True, False, True, True)
    assert sweep.finished("org/used", []) == ["org/used"], "nobody uses it any more"
    assert other.exists()


def test_a_card_that_was_there_before_its_weights_protects_nothing(cache, evictor):
    card = download(cache, "org/model", file="README.md")
    sweep = evictor(0, "org/model")
    assert download(cache, "org/model") == card
    assert sweep.finished("org/model", []) == ["org/model"]
    assert not card.exists()


def test_weights_that_are_not_loaded_are_somebody_s_all_the_same(cache, evictor):
    before = download(cache, "org/model", file="pytorch_model.bin")
    sweep = evictor(0, "org/model")
    download(cache, "org/model")
    assert sweep.finished("org/model", []) == []
    assert before.exists()


def test_a_sweep_that_goes_on_deletes_what_the_interrupted_one_has_downloaded(cache, evictor):
    old = download(cache, "org/old")
    first = evictor(10 * SIZE, "org/done", "org/begun", "org/old", "org/not-begun")
    done, begun = download(cache, "org/done"), download(cache, "org/begun")
    assert first.finished("org/done", ["org/begun", "org/old", "org/not-begun"]) == []
    second = evictor(0, "org/begun", "org/old", "org/not-begun")
    assert second.finished("org/old", ["org/begun", "org/not-begun"]) == ["org/done"]
    assert second.finished("org/begun", ["org/not-begun"]) == ["org/begun"]
    assert (old.exists(), done.exists(), begun.exists()) == (True, False, False)


def test_what_a_sweep_beside_works_on_stays(cache, evictor):
    first, second = evictor(0, "org/one", "org/both"), evictor(0, "org/two", "org/both")
    snapshots = [download(cache, f"org/{name}") for name in ("one", "two", "both")]
    assert second.finished("org/two", ["org/both"]) == ["org/two"]
    assert first.finished("org/one", ["org/both"]) == ["org/one"]
    assert [snapshot.exists() for snapshot in snapshots] == [False, False, True]


def test_what_is_remembered_of_another_cache_says_nothing_of_this_one(cache, evictor, monkeypatch):
    evictor(0, "org/model")
    before = download(cache, "org/model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "elsewhere")
    assert evictor(0, "org/model").finished("org/model", []) == []
    assert before.exists()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": "verify.downloaded/1", "models": {"org/model": {"before": 3}}}']
)
def test_a_damaged_memory_protects_what_is_there(cache, evictor, tmp_path, content):
    evictor(0, "org/model")
    before = download(cache, "org/model")
    (file,) = (tmp_path / "results/sweeps").iterdir()
    file.write_text(content)
    assert evictor(0, "org/model").finished("org/model", []) == []
    assert before.exists()


def test_a_cache_that_changes_while_it_is_looked_at_is_left_alone_for_now(cache, evictor, monkeypatch):
    sweep = evictor(0, "org/one", "org/two")
    one, two = download(cache, "org/one"), download(cache, "org/two")
    real, gone = evict._cache, FileNotFoundError("another sweep has deleted it")

    def fails():
        raise gone

    monkeypatch.setattr(evict, "_cache", fails)
    assert sweep.finished("org/one", ["org/two"]) == []
    before_is_unknown = evictor(0, "org/two")
    monkeypatch.setattr(evict, "_cache", real)
    assert sweep.finished("org/two", []) == ["org/one", "org/two"]
    assert not one.exists()
    assert not two.exists()
    download(cache, "org/two")
    assert before_is_unknown.finished("org/two", []) == []


def test_there_may_be_no_cache_at_all(cache, evictor):
    assert evictor(0, "org/model").finished("org/model", []) == []


PLANNED = """
import json
from pathlib import Path
from verify.hub import models
from verify.configuration.compose import compose_config
from verify.sweeping.evict import Evictor
from verify.sweeping.plan.planning import make_plan
from verify.tasks.registry import load_registry
config = compose_config(None, ["suite=list", "suite.file=null", "suite.models=[org/one,org/two]", "engine.device=cpu"])
plan = make_plan(config, load_registry(), lambda sentence: None)
planned = [one.model for one in plan.planned]
evictor = Evictor(1000, Path("results/sweeps"), planned)
for model in planned:
    models.fetch_weights(models.resolve(model))
print(json.dumps([planned, evictor.finished("org/one", ["org/two"]), evictor.finished("org/two", [])]))
"""


def test_models_that_were_planned_on_the_hub_are_deleted(loopback_hub, tmp_path):
    for name in ("one", "two"):
        folder = loopback_hub.root / "models/org" / name
        folder.mkdir(parents=True)
        save_file({"layer": np.zeros((100, 100), np.float32)}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"hidden_size": 32}))
        (folder / "README.md").write_text(f"# {name}\n")
    environment = loopback_hub.environment(tmp_path / "home", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", PLANNED], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["org/one", "org/two"], ["org/one"], ["org/two"]]
    assert not list((tmp_path / "home/hub").glob("models--*/snapshots/*/*.safetensors"))


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
