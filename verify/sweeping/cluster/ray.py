"""Units as tasks of a Ray cluster that runs already: it is never started here, and never stopped.

Ray places the tasks: one that needs GPUs gets its own, any other gets cores. Its processes are used again, so that
imports stay warm, but for those with a GPU, which a process cannot exchange for another one later.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from verify.configuration.schema import VerifyConfig
from verify.errors import EngineError, UsageError
from verify.store import seals
from verify.sweeping import progress_file
from verify.sweeping.cluster.ray_connection import answers, connect, said
from verify.sweeping.cluster.remote import Loss, RemoteWorkers
from verify.sweeping.cluster.remote_task import Place, RemoteTask, problem_here, tail
from verify.sweeping.units import Finished, Unit
from verify.tasks.registry import Registry

PATIENCE = 120.0
"""Seconds that a node has to say whether it can take part: its first process may have to be started."""
PATIENCE_HEAD = 30.0
"""Seconds in which a head that was lost may come back."""


@dataclass(frozen=True)
class RayTask:
    """A task that was submitted, and the log that it writes into the results folder."""

    reference: Any
    log: Path


def perform(task: RemoteTask, secret: str) -> Finished:
    """What a process of Ray does with a unit; ``secret`` is that of the user who sweeps (:mod:`verify.store.seals`)."""
    seals.share(secret)
    return task()


def too_small(nodes: Sequence[Mapping[str, Any]], needed: Mapping[str, int]) -> str | None:
    """What no node has enough of, of the resources that one model needs on one node; None if some node has them all."""
    which = "the largest node of the Ray cluster"
    for resource, count in needed.items():
        most = max((int(node["Resources"].get(resource, 0)) for node in nodes), default=0)
        if count > most:
            return f"{count} {resource}{'s' if count > 1 else ''} on one node, and {which} has {most}"
        nodes = [node for node in nodes if node["Resources"].get(resource, 0) >= count]
        which = f"the largest one that has the {resource}s"
    return None


class RayWorkers(RemoteWorkers[RayTask]):
    """The nodes of a Ray cluster.

    Raises UsageError if Ray is not installed, if the cluster cannot be reached or wants another token, if one of its
    nodes cannot take part, or if none is large enough for any model.
    """

    # Ray ends this process, too, if a task is cancelled while it begins or ends; the rows of a shard are lost instead
    ENDS_BY_LEAVING = True

    def __init__(self, config: VerifyConfig, registry: Registry) -> None:
        super().__init__(config, registry, "ray")
        device = config.engine.device
        if ":" in device:
            raise UsageError(
                f"engine.device={device}: Ray gives every model a GPU of its own; say engine.device=cuda instead."
            )
        connect(config.engine.address, config.engine.threads or 1)
        import ray

        self._ray = ray
        self._head = str(ray.get_runtime_context().gcs_address)
        self._heard, self._known = time.monotonic(), list[dict[str, Any]]()
        try:
            self._on_gpus = self._has_gpus(device)
            self._check_size()
            self._check_nodes()
        except BaseException:
            ray.shutdown()
            raise
        # a process keeps the GPU that it began with, whatever Ray gives to its next task
        self._task = ray.remote(max_retries=0, max_calls=1 if self._on_gpus else 0)(perform)

    def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive; those that were while the head does not answer, which Ray itself would wait for.

        Raises EngineError once the head is lost: Ray would end this process after a minute.
        """
        now = time.monotonic()
        if answers(self._head):
            self._heard = now
            self._known = [node for node in self._ray.nodes() if node["Alive"]]
        elif now - self._heard > PATIENCE_HEAD:
            raise EngineError(
                f"The head of the Ray cluster, {self._head}, is lost. What was done is kept: start the cluster again, "
                "and the same command goes on from there."
            )
        return self._known

    def _has_gpus(self, device: str) -> bool:
        """Whether units get GPUs. Raises UsageError if GPUs are asked for and the cluster has none."""
        has_any = self._total("GPU") >= 1
        if device == "cuda" and not has_any:
            raise UsageError(
                "engine.device=cuda: the Ray cluster has no GPU. Use engine.device=cpu, or add a node that has one."
            )
        return has_any and device in ("auto", "cuda")

    def _total(self, resource: str) -> float:
        return sum(float(node["Resources"].get(resource, 0)) for node in self._nodes())

    def _capacity(self) -> int:
        if self._on_gpus:
            return int(self._total("GPU"))
        return sum(int(node["Resources"].get("CPU", 0)) // self._threads() for node in self._nodes())

    def _threads(self) -> int:
        if self._config.engine.threads or not self._on_gpus:
            return super()._threads()
        shares = [
            int(node["Resources"].get("CPU", 1) // node["Resources"]["GPU"])
            for node in self._nodes()
            if node["Resources"].get("GPU", 0) >= 1
        ]
        return max(min(shares, default=1), 1)

    def _needed(self, devices: int) -> dict[str, int]:
        """What a model needs on one node, by Ray's names."""
        if self._on_gpus:
            return {"GPU": devices, "CPU": self._config.engine.threads or 0}
        return {"CPU": self._threads()}

    def _refusal(self, unit: Unit) -> str | None:
        if self._config.sweep.workers:  # larger nodes may be yet to come
            return None
        problem = too_small(self._nodes(), self._needed(unit.devices))
        if problem is None:
            return None
        remedy = "lower engine.threads" if " CPU" in problem else "set engine.dtype=bfloat16"
        return f"It needs {problem}. Add a larger node, or {remedy}."

    def _check_size(self) -> None:
        """Raise UsageError if no node has room for any model, for which the sweep would wait in silence."""
        nodes = self._nodes()
        if self._config.sweep.workers or not nodes:
            return
        if problem := too_small(nodes, self._needed(devices=1)):
            raise UsageError(
                f"engine.cluster=ray: every model needs {problem}. Start a node that has more (ray start "
                "--num-cpus=NUMBER), or lower engine.threads; or set sweep.workers if larger nodes are yet to come."
            )

    def _submit(self, task: RemoteTask, name: str) -> RayTask:
        log = self.folder / "ray" / f"{name}.log"
        needed = self._needed(task.unit.devices)
        options = self._task.options(num_gpus=needed.get("GPU", 0), num_cpus=needed["CPU"])
        return RayTask(options.remote(replace(task, log=str(log)), seals.establish()), log)

    def _outcome(self, handle: RayTask) -> Finished | Loss | None:
        from ray import exceptions

        done, _ = self._ray.wait([handle.reference], timeout=0)
        if not done:
            return None
        lost = (
            exceptions.NodeDiedError,
            exceptions.LocalRayletDiedError,
            exceptions.ObjectLostError,
            exceptions.TaskUnschedulableError,
            exceptions.RuntimeEnvSetupError,
        )
        try:
            finished: Finished = self._ray.get(handle.reference)
        except lost as error:
            return Loss(f"Its Ray node was lost ({type(error).__name__}).", blameless=True)
        except exceptions.OutOfMemoryError:
            return Loss("Ray ended its process because the node ran short of memory.")
        except exceptions.WorkerCrashedError:
            return Loss("Its process was killed or crashed (often: out of memory).")
        except exceptions.RayTaskError as error:
            return Loss(f"Its process failed with {said(error.cause)}.")
        except exceptions.RayError as error:
            return Loss(f"Ray gave it up: {said(error)}.")
        return finished

    def _wait(self, handles: Sequence[RayTask], seconds: float) -> None:
        if handles:
            self._ray.wait([handle.reference for handle in handles], num_returns=1, timeout=seconds)
        else:
            super()._wait(handles, seconds)

    def _cancel(self, handle: RayTask) -> None:
        self._ray.cancel(handle.reference, force=True)

    def _remove_files(self, handle: RayTask) -> None:
        with contextlib.suppress(OSError):
            handle.log.unlink(missing_ok=True)

    def _leave(self) -> None:
        self._ray.shutdown()

    def _last_words(self, handle: RayTask) -> str:
        return tail(handle.log)

    def _check_nodes(self) -> None:
        """Raise UsageError if a node does not see the results folder, or has another version of verify."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        file = self.folder / "progress" / f"seen-{secrets.token_hex(4)}"
        progress_file.create(file)
        place = Place(str(Path.cwd()), str(file))
        check = self._ray.remote(max_retries=0, num_cpus=0)(problem_here)
        asked = {}
        for node in self._nodes():
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[check.options(scheduling_strategy=strategy).remote(place)] = node["NodeManagerHostname"]
        try:
            answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE)
            for answer in answered:
                if problem := _answer(answer, asked[answer]):
                    raise UsageError(f"engine.cluster=ray: {problem}")
        finally:
            file.unlink(missing_ok=True)


def _answer(reference: Any, host: str) -> str | None:
    """What a node says against taking part; a node that dies meanwhile says nothing."""
    import ray
    from ray import exceptions

    try:
        problem: str | None = ray.get(reference)
    except exceptions.RayTaskError as error:
        return (
            f"The node {host} cannot run verify ({said(error.cause)}). Install the same version of it on every node, "
            "and run the same command again."
        )
    except exceptions.RayError:
        return None
    return problem
