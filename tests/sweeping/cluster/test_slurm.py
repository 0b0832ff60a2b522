"""Jobs by submitit: as processes of this machine, and what is said where there is no Slurm or it refuses."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sweeping.placing import LONG_COUNT, Place, ended, timeless
from sweeping.sweeping import (
    Suite,
    assert_rows_stand_once,
    children_of,
    comparable,
    held,
    is_running,
    shards,
    wait_until,
)
from verify.errors import StoreError, UsageError
from verify.sweeping.cluster import remote
from verify.sweeping.cluster.slurm import SlurmJobs
from verify.sweeping.run import InterruptedSweepError, sweep
from verify.sweeping.units import Died, Happened
from verify.sweeping.workers.local import LocalWorkers
from verify.tasks.registry import load_registry

pytest.importorskip("submitit")

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the jobs in /proc")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("place")).build()
    place.card(place.copy("one"), "short")
    place.card("large", "long")
    return place


@pytest.fixture(scope="module")
def undisturbed(place):
    """What workers of this machine make of both models."""
    config = place.config("near", "sweep.workers=1")
    return {
        one.model: one for one in sweep([place.unit("one"), place.unit("large")], LocalWorkers(config), config, print)
    }


def local(place, results, *settings):
    return place.config(results, "engine=slurm", "engine.address=local", "engine.device=cpu", *settings)


def jobs(config) -> SlurmJobs:
    return SlurmJobs(config, load_registry(config.task_path))


class Watch:
    """Takes reports in, and does one thing after the other to the processes of a unit once they have computed rows.

    A process is held meanwhile, so that it cannot end of its own accord.
    """

    def __init__(self, *acts):
        self.reports, self._acts, self._done_to = [], list(acts), set()

    @property
    def left(self):
        """What was to be done, and was not: the unit was finished first."""
        return [act.__name__ for act in self._acts]

    def __call__(self, report):
        self.reports.append(report)
        is_computing = isinstance(report, Happened) and report.event["event"] == "rows" and report.event["done"] > 0
        if is_computing and self._acts and report.worker not in self._done_to:
            self._done_to.add(report.worker)
            process = int(report.worker.partition(":")[2])
            with held([process]) as there:
                if there:
                    self._acts.pop(0)(process)

    @property
    def workers(self):
        return {one.worker for one in self.reports if isinstance(one, Happened)}


def preempt(process):
    os.kill(process, signal.SIGUSR2)  # what Slurm sends before it takes the node away or the time is over


def kill(process):
    os.kill(process, signal.SIGKILL)


def swept(place, models, config, watch):
    return sweep([place.unit(model) for model in models], jobs(config), config, watch)


def assert_same(found, expected) -> None:
    """All is as in the undisturbed sweep but for the results folder."""
    assert timeless(replace(found, folder=None)) == timeless(replace(expected, folder=None))
    assert verdicts(found) == verdicts(expected)


def verdicts(finished):
    folder = Path(finished.folder)
    text = (folder / "verdicts.json").read_text().replace(str(folder.parent), "RESULTS")
    return comparable(json.loads(text)["verdicts"])


def assert_nothing_is_left(config) -> None:
    folder = Path(config.results) / "sweeps"
    assert not [*(folder / "progress").iterdir(), *folder.glob("slurm-*")]


@pytest.mark.slow
def test_jobs_find_what_the_workers_of_this_machine_find(place, undisturbed):
    config, watch = local(place, "jobs"), Watch()
    before = children_of(os.getpid())
    found = swept(place, ["one", "gone"], config, watch)
    one, gone = sorted(found, key=lambda one: one.folder is None)
    assert_same(one, undisturbed["one"])
    assert gone.error_kind == "HubError"
    assert len(ended(watch.reports)) == 2
    assert len(watch.workers) == 1
    assert_nothing_is_left(config)
    wait_until(lambda: not [pid for pid in children_of(os.getpid()) if is_running(pid) and pid not in before], 10)


@pytest.mark.slow
def test_jobs_that_are_interrupted_preempted_and_killed_lose_nothing(place, undisturbed, capfd, monkeypatch):
    monkeypatch.setattr(remote, "BETWEEN_LOOKS", 0.02)  # each is disturbed at its first rows, and leaves some to others
    config, interrupted = local(place, "disturbed"), []

    def interrupt(process):
        interrupted.append((time.monotonic(), process))
        raise KeyboardInterrupt

    with pytest.raises(InterruptedSweepError):
        swept(place, ["large"], config, Watch(interrupt))
    ((moment, process),) = interrupted
    assert time.monotonic() - moment < 10
    wait_until(lambda: not is_running(process), 10)
    assert "Traceback" not in "".join(capfd.readouterr())
    assert_nothing_is_left(config)

    watch = Watch(preempt, kill)
    (found,) = swept(place, ["large"], config, watch)
    assert not watch.left, "the unit was finished before it could be disturbed: give the task more rows"
    (death,) = [one for one in watch.reports if isinstance(one, Died)]
    assert death.cell == "long/validation"
    assert "was killed or crashed" in death.message
    assert [one.unit.attempt for one in ended(watch.reports)] == [1], "to be preempted is no fault of the model"
    assert len(watch.workers) == 3
    assert_same(found, undisturbed["large"])
    assert_rows_stand_once(place.folder / "disturbed", "long", LONG_COUNT)
    assert_nothing_is_left(config)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{slurm_nonsense: 1}", "Unknown argument 'nonsense' for executor 'slurm'"),
        ("{nonsense: 1}", "need to be prefixed"),
        ("{timeout_min: soon}", "timeout_min"),
        ("{nodes: 2}", "every model is one process on one node"),
        ("{slurm_ntasks_per_node: 4}", "every model is one process on one node"),
    ],
)
def test_settings_that_slurm_does_not_know_are_refused(place, given, words):
    with pytest.raises(UsageError) as raised:
        jobs(local(place, "refused", f"engine.slurm={given}"))
    said = str(raised.value)
    assert said.startswith("engine.slurm: ")
    assert words in said
    assert "\n" not in said
    assert len(said) < 1200


def test_an_address_is_only_for_trying_out(place):
    with pytest.raises(UsageError, match=r"engine\.address=10\.0\.0\.1:22.*there is only local"):
        jobs(place.config("address", "engine=slurm", "engine.address='10.0.0.1:22'"))


def test_results_that_cannot_be_written(place):
    (place.folder / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        jobs(local(place, "file"))


def programs(folder: Path, **scripts: str) -> str:
    """A PATH on which these programs come first."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_machine_without_slurm_is_told_so(place, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"this machine has no Slurm.*engine\.address=local"):
        jobs(place.config("no-slurm", "engine=slurm"))


def test_what_slurm_says_against_a_job_is_passed_on(place, tmp_path, monkeypatch):
    refusal = "echo 'sbatch: error: invalid partition specified: attic' >&2; exit 1"
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", srun="exit 1", sbatch=refusal, scancel="", sacct=""))
    config = place.config("attic", "engine=slurm", "engine.slurm={slurm_partition: attic}")
    with pytest.raises(UsageError, match=r"Slurm refused a job: .*invalid partition specified: attic.*engine\.slurm"):
        swept(place, ["one"], config, Watch())


@pytest.mark.stress
def test_jobs_of_this_machine_end_with_a_sweep_that_was_killed(tmp_path):
    suite = Suite.with_a_long_task(tmp_path / "suite", ["no-card-1"])
    begun = suite.begin("known", tmp_path / "results", "policy.stop=never", "engine=slurm", "engine.address=local")
    wait_until(lambda: shards(begun.results) or begun.is_over, 120)
    jobs = [one.pid for one in psutil.Process(begun.process.pid).children(recursive=True)]
    assert len(jobs) >= 2, "a controller and what it runs"
    begun.kill()
    wait_until(lambda: not any(map(is_running, jobs)), 15)
