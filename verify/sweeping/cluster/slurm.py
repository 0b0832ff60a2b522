"""Units as Slurm jobs, by submitit: one job for each unit.

A job that runs out of time or is preempted goes back into the queue and continues where it was: what is stored is not
run again. ``engine.address=local`` runs the same jobs as processes of this machine, without Slurm.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError
from verify.processes.lifeline import end_with_starter, without_input
from verify.store import seals
from verify.store.files import cannot_write
from verify.sweeping.cluster.remote import Loss, RemoteWorkers
from verify.sweeping.cluster.remote_task import RemoteTask, logged, tail
from verify.sweeping.progress_file import PATIENCE
from verify.sweeping.units import Finished
from verify.tasks.registry import Registry

LOCAL = "local"
JOBS = 16
"""How many jobs are queued or running at once, unless ``sweep.workers`` says otherwise."""

BETWEEN_QUESTIONS = 60.0
"""Seconds between two times that Slurm is asked for jobs that ended without an answer."""

LOST = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "RESIZING")
"""States of a job whose machine was taken away or lost."""

SEVERAL = re.compile(r"(slurm_)?(nodes|n?tasks_per_node)")
"""Settings that would have several processes work on one model."""


class SlurmTask(RemoteTask):
    """A unit as a job that may be continued by another one; a process of this machine ends with the sweep."""

    def __call__(self) -> Finished:
        if os.environ.get("SUBMITIT_EXECUTOR") == LOCAL:
            end_with_starter(0)
            without_input()
        return super().__call__()

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue when the time is over or another job goes first."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmJobs(RemoteWorkers[Any]):
    """The jobs of a Slurm cluster.

    Raises UsageError if submitit is not installed, if there is no Slurm on this machine, or if ``engine.slurm`` holds
    something that submitit does not know.
    """

    def __init__(self, config: VerifyConfig, registry: Registry) -> None:
        super().__init__(config, registry, "slurm")
        if config.engine.address not in (None, LOCAL):
            raise UsageError(
                f"engine.address={config.engine.address}: with engine.cluster=slurm there is only {LOCAL}, which runs "
                "jobs as processes of this machine; leave it out for Slurm."
            )
        if find_spec("submitit") is None:
            raise UsageError(
                "engine.cluster=slurm needs submitit, which is not installed here. Run "
                "`pip install 'verify-claims[slurm]'`, and the same command again."
            )
        self._asked = time.monotonic()
        self._silent: dict[str, float] = {}  # since when a job is known to have ended without an answer
        self._is_local = config.engine.address == LOCAL
        self._lifeline: tuple[int, ...] = os.pipe() if self._is_local else ()
        seals.share(seals.establish())  # jobs inherit the environment of whoever submits them
        # submitit exchanges pickles, which are code: nobody can have laid one into a folder whose name nobody knows
        self._files = self.folder / f"slurm-{secrets.token_hex(16)}"
        self._executor = self._new_executor()

    def _new_executor(self) -> Any:
        import submitit

        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it writes to standard output, where our tables go
        try:
            self._files.mkdir(parents=True, mode=0o700)
            kind, python = LOCAL if self._is_local else "slurm", f"{shlex.quote(sys.executable)} -P"
            executor = submitit.AutoExecutor(self._files, cluster=kind, **{f"{kind}_python": python})
            executor.update_parameters(**self._parameters(devices=1))
        except RuntimeError as error:
            raise UsageError(
                "engine.cluster=slurm: this machine has no Slurm (`srun` is not found). Start the sweep on a login "
                f"node of the cluster, or try it out here with engine.address={LOCAL}."
            ) from error
        except (NameError, AssertionError, TypeError, ValueError) as error:
            problem = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UsageError(
                f"engine.slurm: {problem}. It takes what submitit does: timeout_min, mem_gb, cpus_per_task, "
                "gpus_per_node, and options of Slurm itself with slurm_ before their names, such as slurm_partition."
            ) from error
        except OSError as error:
            raise cannot_write(self._files, error) from error
        return executor

    def _parameters(self, devices: int) -> dict[str, Any]:
        asked = {"name": "verify", "cpus_per_task": self._threads()}
        if self._config.engine.device != "cpu" and not self._is_local:
            asked["gpus_per_node"] = devices
        given = dict(self._config.engine.slurm or {})
        for name, value in given.items():
            if SEVERAL.fullmatch(name) and value != 1:
                raise UsageError(f"engine.slurm: {name}={value}: every model is one process on one node; leave it out.")
        if any("gres" in name or "gpu" in name for name in given):
            asked.pop("gpus_per_node", None)
        return {**asked, **given}

    def _capacity(self) -> int:
        return JOBS

    def _submit(self, task: RemoteTask, name: str) -> Any:
        from submitit.core.utils import FailedSubmissionError, UncompletedJobError

        self._executor.update_parameters(**self._parameters(task.unit.devices))
        parts = {part.name: getattr(task, part.name) for part in fields(task)}
        here = _for_jobs_here(self._lifeline[0]) if self._is_local else contextlib.nullcontext()
        try:
            with here:
                return self._executor.submit(SlurmTask(**parts))
        except OSError as error:
            raise cannot_write(self._files, error) from error
        except (FailedSubmissionError, UncompletedJobError) as error:
            raise UsageError(
                f"Slurm refused a job: {' '.join(str(error).split())[-600:]}. Change engine.slurm, or say "
                "engine.device=cpu where there are no GPUs, and run the same command again."
            ) from error

    def _outcome(self, handle: Any) -> Finished | Loss | None:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        if not handle.done(force_check=self._is_time_to_ask()):
            return None
        if not handle.paths.result_pickle.exists():
            return self._without_answer(handle)
        try:
            finished: Finished = handle.result()
        except FailedJobError as error:
            return Loss(f"Its job {handle.job_id} failed with {_cause(error)}.")
        except (UncompletedJobError, OSError, EOFError):
            return Loss(f"The answer of its job {handle.job_id} cannot be read.")
        return finished

    def _without_answer(self, handle: Any) -> Loss | None:
        """What to make of a job that has ended without an answer; None while storage may still come to show one."""
        if self._is_local:
            return Loss(f"Its process, of job {handle.job_id}, was killed or crashed (often: out of memory).")
        since = self._silent.setdefault(handle.job_id, time.monotonic())
        if time.monotonic() - since < PATIENCE:
            return None
        state = str(handle.state)
        return Loss(f"Its job {handle.job_id} ended in the state {state}.", blameless=state.startswith(LOST))

    def _is_time_to_ask(self) -> bool:
        """Slurm itself is asked at most once a minute; submitit alone would wait for ten."""
        now = time.monotonic()
        if now - self._asked < BETWEEN_QUESTIONS:
            return False
        self._asked = now
        return True

    def _cancel(self, handle: Any) -> None:
        handle.cancel(check=False)

    def _leave(self) -> None:
        for end in self._lifeline:
            os.close(end)
        self._lifeline = ()
        with contextlib.suppress(OSError):  # a job that was left to itself may still write there
            self._files.rmdir()

    def _remove_files(self, handle: Any) -> None:
        paths = handle.paths
        for file in (paths.submitted_pickle, paths.result_pickle, paths.stdout, paths.stderr, paths.submission_file):
            with contextlib.suppress(OSError):
                Path(file).unlink(missing_ok=True)

    def _last_words(self, handle: Any) -> str:
        return tail(handle.paths.stdout, handle.paths.stderr)


@contextlib.contextmanager
def _for_jobs_here(lifeline: int) -> Iterator[None]:
    """Start processes whose controller is quiet when it is interrupted, and can be; ``lifeline`` is what they read.

    submitit ends them with SIGINT, which whatever a script has started in the background ignores, as its children do.
    """
    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if is_ignored:
        signal.signal(signal.SIGINT, lambda number, frame: None)  # to exec, a handler is as good as the default
    kept = os.dup(0)
    os.dup2(lifeline, 0)
    try:
        with logged(Path(os.devnull)):
            yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        if is_ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cause(error: BaseException) -> str:
    """The last line of the traceback that submitit quotes between two rules of dashes."""
    parts = re.split(r"^-{10,}$", str(error), flags=re.MULTILINE)
    lines = (parts[1] if len(parts) > 1 else parts[0]).strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else type(error).__name__
