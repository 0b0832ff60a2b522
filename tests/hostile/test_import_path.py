"""Python modules beside a stranger's model, where Python looks for modules first: none of them is ever run."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
from helpers.builders import DEMO
from metrics.evaluate_modules.test_bridge import forget_loaded_modules
from sweeping.cluster.ray_cluster import Cluster

from hostile.harness import FIRES, Outcome, run, variants, verify
from verify.errors import VerifyError
from verify.metrics.evaluate_modules.bridge import foreign
from verify.store.predictions import LabelPredictions

ROOT = DEMO.parents[1]
SCRIPTS = sysconfig.get_path("scripts")
LIBRARIES = ("numpy", "torch", "datasets", "transformers", "accelerate", "evaluate", "json", "huggingface_hub", "yaml")
"""What our own code and the libraries import once they run."""
EARLY = ("sitecustomize", "usercustomize", "runpy", "argparse", "contextlib", "verify")
"""What Python or this package imports before any line of ours could help, if the folder is on the path from outside."""
WORDS = ("check", ".", f"task_path=[{DEMO / 'tasks'}]", "engine.device=cpu", "limit=40", "policy.stop=never")
LAUNCH = ("--multi_gpu", "--num_processes", "2", "--mixed_precision", "no", "--no_python")


@dataclass(frozen=True)
class Place:
    """A model whose folder holds modules, and a file that any of them creates when it is run."""

    model: Path
    payload: Path
    environment: dict[str, str] = field(default_factory=dict)

    def shadow(self, *names: str) -> None:
        for name in names:
            package = self.model / name if name == "verify" else self.model
            package.mkdir(exist_ok=True)
            (package / ("__init__.py" if name == "verify" else f"{name}.py")).write_text(FIRES)

    def fires(self, *command: str, **environment: str) -> bool:
        """Whether a command that is not protected runs a module; the file is removed again."""
        self.payload.unlink(missing_ok=True)
        own = {**os.environ, "VERIFY_PAYLOAD": str(self.payload), **environment}
        own.pop("PYTHONSAFEPATH", None)
        subprocess.run([sys.executable, *command], cwd=self.model, env=own, capture_output=True, check=False)
        fired = self.payload.exists()
        self.payload.unlink(missing_ok=True)
        return fired

    def check(self, *more: str, cwd: Path | None = None, words: tuple[str, ...] = WORDS, **changes: str) -> Outcome:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **self.environment, **changes}
        results = f"results={self.payload.parent / 'results'}"
        return verify(*words, results, *more, cwd=cwd or self.model, environment=environment, payload=self.payload)

    def assert_nothing_ran(self, outcome: Outcome) -> None:
        assert not self.payload.exists()
        assert outcome.code in (0, 1, 3), outcome.err
        assert list((self.payload.parent / "results").glob("*/*/*/predictions/*.parquet")), "a worker was at work"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    shutil.copytree(DEMO / "digits-vit", tmp_path / "model")
    (tmp_path / "home").mkdir()
    return Place(tmp_path / "model", tmp_path / "home" / "ran")


def test_no_module_beside_a_model_is_run(place):
    for name in (*LIBRARIES, *EARLY):
        place.shadow(name)
        if name not in ("runpy", "sitecustomize", "usercustomize", "argparse", "contextlib"):
            assert place.fires("-c", f"import {name}"), name
    for name in ("sitecustomize", "usercustomize", "runpy"):
        assert place.fires("-m", "this", PYTHONPATH="."), name
    place.assert_nothing_ran(place.check().require_bounds())


def test_no_module_beside_a_model_is_run_by_the_functions(place):
    """The program is one of the user's, so what it imports itself is looked for where Python always looks."""
    names = (*LIBRARIES, "pandas", "hydra", "omegaconf", "scipy", "pyarrow", "rich")
    place.shadow(*names)
    assert all(place.fires("-c", f"import {name}") for name in names)
    results = str(place.payload.parent / "results")
    program = (
        "import sys, verify\n"
        f"report = verify.check('.', task_path=[{str(DEMO / 'tasks')!r}], results={results!r}, limit=40,\n"
        "    policy={'stop': 'never'})\n"
        "report.to_frame(), report._repr_html_(), verify.read_claims('.').to_frame()\n"
        f"verify.load_results({results!r}), verify.judge({results!r} + '/' + sys.argv[1])\n"
        "sys.exit(report.exit_code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program, place.model.name]
    place.assert_nothing_ran(run(command, cwd=place.model, environment=environment, payload=place.payload))


def test_the_worker_started_as_before_would_run_them(place):
    place.shadow("numpy")
    assert place.fires("-m", "verify.engine.running.worker", "jobs.json", PYTHONPATH=str(ROOT))
    assert not place.fires(
        "-P", "-m", "verify.processes.lifeline", "0", "verify.engine.running.worker", "jobs.json", PYTHONPATH=f"{ROOT}:"
    )


def as_a_module(place: Place) -> Outcome:
    words = [*WORDS, f"results={place.payload.parent / 'results'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return run(
        [sys.executable, "-m", "verify", *words], cwd=place.model, environment=environment, payload=place.payload
    )


def by_a_launcher(place: Place) -> Outcome:
    """As the README has it: ``accelerate launch … --no_python verify check …``."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": "true",
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
    }
    words = [*LAUNCH, "verify", *WORDS, f"results={place.payload.parent / 'results'}"]
    return run(
        [f"{SCRIPTS}/accelerate", "launch", *words], cwd=place.model, environment=environment, payload=place.payload
    )


def with_two_processes(place: Place) -> Outcome:
    return place.check("engine.processes=2")


def swept(*more: str) -> Callable[[Place], Outcome]:
    def start(place: Place) -> Outcome:
        words = ("sweep", "suite=folders", "suite.folders=[.]", *WORDS[2:])
        return place.check("--fail-on", "error", *more, words=words)

    start.__name__ = "swept-" + ("-".join(more) or "here")
    return start


@pytest.mark.stress
@pytest.mark.parametrize(
    "start",
    [
        with_two_processes,
        by_a_launcher,
        swept(),
        swept("engine.processes=2"),
        swept("engine=slurm", "engine.address=local"),
    ],
    ids=lambda start: start.__name__,
)
def test_no_module_is_run_however_a_run_is_started(place, start):
    place.shadow(*LIBRARIES, *EARLY)
    place.assert_nothing_ran(start(place))


@pytest.mark.stress
def test_no_library_beside_a_model_is_run_by_python_m_verify(place):
    place.shadow(*LIBRARIES, "argparse", "sysconfig", "sitecustomize")
    place.assert_nothing_ran(as_a_module(place))


@pytest.mark.stress
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes of a node in /proc")
def test_no_module_is_run_by_the_processes_of_a_ray_cluster(place, tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("r"))
    place.shadow(*LIBRARIES, *EARLY)
    try:
        cluster.add()
        words = ("sweep", "suite=folders", "suite.folders=[.]", *WORDS[2:], "engine=ray")
        outcome = place.check(
            "--fail-on", "error", f"engine.address={cluster.address}", words=words, **cluster.environment()
        )
    finally:
        cluster.stop()
    place.assert_nothing_ran(outcome)


def path_of(*entries: str) -> str:
    return os.pathsep.join(entries)


@pytest.mark.stress
@pytest.mark.parametrize("entries", ["", ".", "..", "./model", "{model}", "{model}/../model", "{link}"])
@pytest.mark.parametrize("first", [True, False])
def test_a_path_of_modules_that_leads_to_the_model_is_not_followed(place, entries, first, tmp_path):
    place.shadow(*LIBRARIES)
    (tmp_path / "link").symlink_to(place.model)
    cwd = tmp_path if entries in ("..", "./model") else place.model
    entry = entries.format(model=place.model, link=tmp_path / "link") if entries != ".." else "model"
    path = path_of(entry, str(ROOT)) if first else path_of(str(ROOT), entry)
    own = {**os.environ, "PYTHONPATH": path, "VERIFY_PAYLOAD": str(place.payload)}
    subprocess.run([sys.executable, "-P", "-c", "import numpy"], cwd=cwd, env=own, check=False, capture_output=True)
    assert place.payload.exists(), "it fires where nothing protects from it"
    place.payload.unlink()
    words = (WORDS[0], str(place.model), *WORDS[2:])
    place.assert_nothing_ran(place.check(words=words, cwd=cwd, PYTHONPATH=path))


METRIC = f"""{FIRES}
import datasets
import evaluate


class Errors(evaluate.Metric):
    def _info(self):
        number = datasets.Value("int64")
        features = datasets.Features({{"predictions": number, "references": number}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {{"error_rate": 0.5}}
"""


def folder_of_a_metric(place: Place) -> str:
    (place.model / "errors").mkdir()
    (place.model / "errors" / "errors.py").write_text(METRIC)
    return "errors"


def script_of_a_metric(place: Place) -> str:
    (place.model / "errors.py").write_text(METRIC)
    return "errors.py"


def folder_below_another(place: Place) -> str:
    (place.model / "org" / "errors").mkdir(parents=True)
    (place.model / "org" / "errors" / "errors.py").write_text(METRIC)
    return "org/errors"


@variants(folder_of_a_metric, script_of_a_metric, folder_below_another)
def test_a_metric_of_the_hub_is_not_looked_up_in_the_working_folder(place, variant, tmp_path, monkeypatch):
    name = variant(place)
    for cache in (evaluate.config, datasets.config):
        monkeypatch.setattr(cache, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setenv("VERIFY_PAYLOAD", str(place.payload))
    monkeypatch.chdir(place.model)
    forget_loaded_modules()
    evaluate.load(name)
    assert place.payload.exists(), "it fires where nothing protects from it"
    place.payload.unlink()
    forget_loaded_modules()
    labels = LabelPredictions(np.arange(2), np.eye(2, dtype=np.float32), np.arange(2), (0, 1))
    with pytest.raises(VerifyError, match=rf"evaluate:\./{name}"):
        foreign(f"evaluate:{name}", labels)
    assert not place.payload.exists()


@pytest.mark.stress
def test_a_run_whose_metric_is_also_a_folder_here_says_so(place, tmp_path):
    name, tasks = folder_of_a_metric(place), tmp_path / "tasks"
    shutil.copytree(DEMO / "tasks", tasks)
    text = (tasks / "digits.yaml").read_text()
    (tasks / "digits.yaml").write_text(text.replace("[accuracy]", f"[accuracy, 'evaluate:{name}']"))
    found = place.check(words=("check", ".", f"task_path=[{tasks}]", "--json", *WORDS[3:]))
    assert not place.payload.exists()
    assert {kind for kind, reason in found.verdicts if f"evaluate module {name}" in reason} == {"error"}
