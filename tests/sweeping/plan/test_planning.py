import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import loopback_hub
from helpers.builders import model_index
from safetensors.numpy import save_file

from verify.configuration.compose import compose_config
from verify.errors import UsageError
from verify.store.files import write_sealed
from verify.sweeping.plan import cards
from verify.sweeping.plan.devices import CPU, GPU, Device, Devices
from verify.sweeping.plan.planning import make_plan
from verify.sweeping.run import write_finished
from verify.sweeping.units import Finished
from verify.sweeping.workers.work import verdicts_file
from verify.tasks.registry import load_registry

ROOT = Path(__file__).parents[3]
REGISTRY = load_registry()
CONFIG = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 100, "dtype": "float32"}


def write_model(folder, width=100, claims=(("sst2", "0.9"),)):
    """A folder with 100 × ``width`` parameters, and a card that claims an accuracy on validation splits."""
    folder.mkdir(parents=True)
    save_file({"layer": np.zeros((100, width), np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    entries = [model_index({"accuracy": value}, dataset=data, split="validation") for data, value in claims]
    results = "".join(card.split("  results:\n")[1].split("---\n")[0] for card in entries)
    (folder / "README.md").write_text(f"---\nmodel-index:\n- name: {folder.name}\n  results:\n{results}---\n")
    return folder


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Three models, the largest first by name."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_model(tmp_path / "models/a-large", width=200_000)
    write_model(tmp_path / "models/b-small", claims=(("sst2", "0.9"), ("rte", "0.7")))
    write_model(tmp_path / "models/c-quick", claims=(("rte", "0.7"),))
    return tmp_path / "models"


@pytest.fixture
def planned(models):
    def plan(*settings, say=lambda sentence: None, registry=REGISTRY):
        words = ["suite=folders", f"suite.folders=[{models}/*]", f"results={models.parent / 'results'}"]
        return make_plan(compose_config(None, [*words, "engine.device=cpu", *settings]), registry, say)

    return plan


def keys(plan):
    return {one.model: one.unit.key for one in plan.planned}


def test_units_come_cheapest_first_with_their_cells(planned):
    plan = planned()
    assert [one.model for one in plan.planned] == ["c-quick", "b-small", "a-large"]
    quick, small, large = plan.planned
    assert [(cell.task, cell.split, cell.rows) for cell in small.cells] == [
        ("sst2", "validation", 872),
        ("rte", "validation", 277),
    ]
    assert large.memory - small.memory == 4 * 100 * (200_000 - 100)
    assert quick.seconds < small.seconds < large.seconds
    assert (plan.models, plan.cells, plan.claims, plan.download) == (3, 4, 4, 0)
    assert plan.device_seconds == pytest.approx(sum(one.seconds for one in plan.planned))
    assert max(large.seconds, plan.device_seconds / plan.workers) == pytest.approx(plan.seconds)
    assert "matrix product" in plan.rate


def test_what_arithmetic_settles_is_not_planned(models, planned):
    write_model(models / "d-odd", claims=(("rte", "0.7019"), ("sst2", "0.9")))
    odd = next(one for one in planned().planned if one.model == "d-odd")
    assert [cell.task for cell in odd.cells] == ["sst2"]
    assert (odd.claims, odd.by_arithmetic) == (2, 1)


def test_a_model_without_claims_or_without_weights_costs_next_to_nothing(models, planned):
    (models / "a-large/README.md").unlink()
    (models / "b-small/model.safetensors").rename(models / "b-small/pytorch_model.bin")
    plan = planned()
    none, blocked = (next(one for one in plan.planned if one.model == name) for name in ("a-large", "b-small"))
    assert (none.cells, none.memory, none.claims) == ((), 0, 0)
    assert [cell.seconds for cell in blocked.cells] == [0.0, 0.0]
    assert not plan.refused


def test_a_limit_and_a_budget_bound_what_is_planned(planned):
    assert {cell.rows for one in planned("limit=50").planned for cell in one.cells} == {50}
    assert {cell.seconds for one in planned("budget=0.001").planned for cell in one.cells} == {0.06}


def test_what_is_settled_is_not_planned_again(models, planned):
    plan = planned()
    results = models.parent / "results"
    for one in plan.planned:
        folder = str(results / one.model)
        done = Finished(one.unit.reference, one.unit.key, one.model, folder, 0, one.model != "b-small", 1.0)
        write_finished(results, done)
        if one.model != "c-quick":
            write_sealed(verdicts_file(results, one.unit.key), {}, depth=3)
    again = planned()
    assert [one.model for one in again.earlier] == ["a-large"]
    assert [one.model for one in again.planned] == ["c-quick", "b-small"]
    assert again.models == 3


def test_keys_change_with_whatever_can_change_an_answer(models, planned):
    before = keys(planned())
    assert keys(planned("sweep.workers=1", "engine.threads=1", "engine.batch_size=3")) == before
    for setting in ("limit=50", "seed=1", "policy=strict", "override.max_length=64", "engine.dtype=bfloat16"):
        assert not set(keys(planned(setting)).values()) & set(before.values()), setting
    assert not set(keys(planned("tasks=[sst2]")).values()) & set(before.values())
    (models / "a-large/config.json").write_text("{}")
    after = keys(planned())
    assert {name for name in before if after[name] != before[name]} == {"a-large"}


def test_keys_change_with_tasks_and_their_data(models, planned):
    tasks = models.parent / "tasks"
    tasks.mkdir()
    (tasks / "rte.csv").write_text("text,label\na,0\n")
    described = (
        "kind: sequence-classification\ndataset: {path: csv, split: validation, data_files: {validation: rte.csv}}"
    )
    (tasks / "rte.yaml").write_text(f"{described}\ncolumns: {{text: text, label: label}}\n")
    before = keys(planned(registry=load_registry([str(tasks)])))
    assert not set(before.values()) & set(keys(planned()).values())
    (tasks / "rte.csv").write_text("text,label\na,0\nb,1\n")
    after = keys(planned(registry=load_registry([str(tasks)])))
    assert {name for name in before if after[name] != before[name]} == {"b-small", "c-quick"}


@pytest.mark.parametrize("named", ["data_files: {validation: rte.csv}", None])
def test_keys_change_with_pictures_and_recordings_but_not_with_results(models, planned, named):
    """They lie beside the table that names them by path, and so may the results."""
    tasks = models.parent / "tasks"
    (tasks / "images").mkdir(parents=True)
    (tasks / "rte.csv").write_text("picture,label\nimages/a.png,0\n")
    picture = tasks / "images/a.png"
    picture.write_bytes(b"one")
    source = f"path: csv, {named}" if named else f"path: {tasks}"
    (tasks / "rte.yaml").write_text(
        f"kind: image-classification\ndataset: {{{source}, split: validation}}\n"
        "columns: {image: picture, label: label}\n"
    )

    def found():
        return keys(planned(f"results={tasks / 'results'}", registry=load_registry([str(tasks)])))

    before = found()
    (tasks / "results/sweeps").mkdir(parents=True)
    (tasks / "results/sweeps/one.json").write_text("{}")
    assert found() == before
    picture.write_bytes(b"another")
    changed = found()
    assert {name for name in before if changed[name] != before[name]} == {"b-small", "c-quick"}
    picture.rename(tasks / "a.png")
    assert not {changed[name] for name in ("b-small", "c-quick")} & set(found().values())


def test_a_split_of_unknown_size_is_said_to_be_assumed(models, planned):
    tasks = models.parent / "tasks"
    tasks.mkdir()
    described = (
        "kind: sequence-classification\ndataset: {path: csv, split: validation, data_files: {validation: a.csv}}"
    )
    (tasks / "mine.yaml").write_text(f"{described}\ncolumns: {{text: text, label: label}}\n")
    plan = planned("tasks=[mine]", registry=load_registry([str(tasks)]))
    assert {cell.rows for one in plan.planned for cell in one.cells} == {None}
    assert plan.notes[0] == "3 cells do not say how many examples there are; 1,000 are assumed of each."


def test_tasks_of_a_model_reach_its_unit_and_its_cells(models):
    entry = f"{{model: {models}/b-small, tasks: [sst2]}}"
    config = compose_config(None, ["suite=sentiment", f"suite.models=[{entry},{models}/c-quick]", "suite.tasks=auto"])
    plan = make_plan(config, REGISTRY, lambda sentence: None)
    found = {one.model: (one.unit.tasks, [cell.task for cell in one.cells]) for one in plan.planned}
    assert found == {"b-small": (("sst2",), ["sst2"]), "c-quick": (None, ["rte"])}


def test_a_model_that_cannot_be_read_keeps_no_other_from_being_planned(models, monkeypatch):
    other = write_model(models.parent / "elsewhere/b-small")
    config = compose_config(
        None, ["suite=sentiment", f"suite.models=[{models}/b-small,./nowhere,{other}]", "suite.tasks=auto"]
    )
    plan = make_plan(config, REGISTRY, lambda sentence: None)
    assert [one.model for one in plan.planned] == ["b-small"]
    missing, twin = plan.refused
    assert (missing.error_kind, "There is no folder ./nowhere" in missing.error) == ("HubError", True)
    assert f"{models}/b-small is called b-small, too" in twin.error
    assert not missing.settled


def test_a_mistake_in_the_configuration_is_raised(models, planned):
    wrong = models.parent / "claims.yaml"
    wrong.write_text("- drop: 7\n")
    with pytest.raises(UsageError, match=r"claims\.yaml"):
        planned(f"claims={wrong}")


def on(monkeypatch, kind, count, memory):
    devices = Devices(kind, (Device("", memory, kind),) * count)
    monkeypatch.setattr("verify.sweeping.plan.planning.devices_for", lambda config: devices)


def test_a_model_too_large_for_one_gpu_is_spread_or_refused(planned, monkeypatch):
    large = planned().planned[-1]
    on(monkeypatch, GPU, 4, 10**9)
    plan = planned()
    assert {one.model: one.unit.devices for one in plan.planned} == {"a-large": 2, "b-small": 1, "c-quick": 1}
    assert keys(plan)["a-large"] == large.unit.key
    assert any("too large for one device" in note for note in plan.notes)
    on(monkeypatch, GPU, 1, 10**9)
    refused = planned().refused
    assert [one.model for one in refused] == ["a-large"]
    assert "a-large needs about 0.9 GB of memory, and there is one GPU with 1.0 GB" in refused[0].error
    assert "engine.dtype=bfloat16" in refused[0].error
    assert "engine.device=cpu" in refused[0].error
    assert [one.model for one in planned("engine.device_map=auto").refused] == []


def test_what_needs_all_workers_of_a_cpu_is_refused_beyond_them(planned, monkeypatch):
    on(monkeypatch, CPU, 2, 6 * 10**8)
    plan = planned()
    assert {one.model: one.unit.devices for one in plan.planned} == {"a-large": 2, "b-small": 2, "c-quick": 2}
    on(monkeypatch, CPU, 2, 4 * 10**8)
    refused = planned().refused
    assert {one.model for one in refused} >= {"a-large"}
    assert "2 × 0.4 GB (CPU)" in refused[0].error
    assert "use a larger machine" in refused[0].error


def test_several_processes_read_the_same_cards(planned, monkeypatch, models):
    alone = planned()
    monkeypatch.setattr(cards, "FEW", 1)
    monkeypatch.setattr(cards, "CHUNK", 1)
    said = []
    together = planned(say=said.append)
    assert keys(together) == keys(alone)
    assert [one.cells[0].task for one in together.planned] == [one.cells[0].task for one in alone.planned]
    assert [one.memory for one in together.planned] == [one.memory for one in alone.planned]
    assert said == ["Reading the cards of 3 models."]


def dry_run(environment, *words):
    done = subprocess.run(
        [sys.executable, "-m", "verify", "sweep", "--dry-run", "--json", *words],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_of_the_hub_states_its_download(loopback_hub, environment, tmp_path):
    folder = write_model(loopback_hub.root / "models/Org/Tiny", width=5000)
    loopback_hub.describe("models/Org/Tiny", downloads=5)
    words = ["suite=hub", "suite.hub.author=Org", f"results={tmp_path / 'results'}", "engine.device=cpu"]
    (planned,) = dry_run(environment, *words)["planned"]
    assert planned["model"] == "Org/Tiny"
    assert planned["download"] == (folder / "model.safetensors").stat().st_size
    assert not [request for request in loopback_hub.requests if "safetensors" in request.path]
    local = dry_run(environment, "suite=folders", f"suite.folders=[{folder}]", "engine.device=cpu")["planned"][0]
    assert local["memory"] == pytest.approx(planned["memory"], abs=2000)
    (folder / "README.md").write_text("no claims any more")
    assert dry_run(environment, *words)["planned"][0]["cells"] == []


@pytest.mark.parametrize("stalls", ["/api/models/Org", "/api/models", "/api/datasets", "/resolve/"])
def test_an_interruption_ends_a_plan_whose_look_ups_stall(monkeypatch, tmp_path, stalls):
    stalled, goes_on = threading.Event(), threading.Event()
    answer = loopback_hub._Handler.do_GET

    def late(handler):
        if stalls in handler.path:
            stalled.set()
            goes_on.wait(60)
        answer(handler)

    monkeypatch.setattr(loopback_hub._Handler, "do_GET", late)
    for name in ("One", "Two"):
        write_model(tmp_path / "hub/models/Org" / name)
    with loopback_hub.LoopbackHub(tmp_path / "hub") as hub:
        suite = "suite.hub.author=Org" if stalls == "/api/models" else "suite.models=[Org/One,Org/Two]"
        words = ["suite=hub", suite] if "hub" in suite else ["suite=list", "suite.file=null", suite]
        process = subprocess.Popen(
            [sys.executable, "-m", "verify", "sweep", "--dry-run", *words, "engine.device=cpu"],
            env={**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert stalled.wait(60)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=5)
        finally:
            process.kill()
            goes_on.set()
    assert process.returncode == 130, said
    assert "verify: interrupted" in said
    assert "Traceback" not in said


def test_planning_loads_no_torch(models, tmp_path):
    code = (
        "import sys\n"
        "from verify.configuration.compose import compose_config\n"
        "from verify.sweeping.plan.planning import make_plan\n"
        "from verify.tasks.registry import load_registry\n"
        f"config = compose_config(None, ['suite=folders', 'suite.folders=[{models}/*]', 'engine.device=cpu'])\n"
        "assert len(make_plan(config, load_registry(), print).planned) == 3\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_runs_that_are_stored_say_how_fast_a_device_is(models, planned):
    file = models.parent / "results/a-large/sst2.validation/key/measurements/one.json"
    made = {"inference_seconds": 300.0, "device": "cpu", "threads": 1, "processes": 1}
    found = {"task": "sst2", "n": 872, "probed": 88, "provenance": made}
    write_sealed(file, found, depth=5)
    planted = json.dumps({**found, "n": 10**400, "provenance": {**made, "inference_seconds": 1e-300}})
    for name, content in (("damaged", "{"), ("planted", planted), ("moved", file.read_text())):
        other = file.parents[1].with_name(name) / "measurements/one.json"
        other.parent.mkdir(parents=True)
        other.write_text(content)
    plan = planned("sweep.workers=1", "engine.threads=1")
    assert plan.rate.startswith("Times follow one run")
    large = next(one for one in plan.planned if one.model == "a-large")
    threads = len(os.sched_getaffinity(0))
    assert large.cells[0].seconds == pytest.approx(300 / threads, rel=0.02)


def test_a_plan_of_many_cards_is_measured(tmp_path):
    done = subprocess.run(
        [sys.executable, "scripts/benchmarks/sweep/planning.py", "--quick", "--json", str(tmp_path / "rows.json")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["unit"] for row in rows} == {"s", "MiB", "µs"}
    assert all(row["equal"] and row["ours"] > 0 for row in rows)
