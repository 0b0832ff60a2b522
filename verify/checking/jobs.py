"""From a cell that must be run to the job that a worker process gets."""

from __future__ import annotations

from verify.checking.scoring import Pending, Subject
from verify.configuration.schema import VerifyConfig
from verify.configuration.values import bytes_of
from verify.engine.job import Job


def job_of(subject: Subject, one: Pending, config: VerifyConfig, may_stop: bool) -> Job:
    """The job of a cell; with ``may_stop`` it ends early where somebody asks for it."""
    from verify.engine.running.launch import default_threads

    engine = config.engine
    cores_each = default_threads(engine.processes)
    return Job(
        model_folder=str(subject.folder),
        files=subject.files,
        base_folder=str(subject.base.folder) if subject.base else None,
        base_files=subject.base.files if subject.base else (),
        states=subject.states,
        task=one.cell.task,
        split=one.cell.split,
        dataset_revision=one.cell.revision,
        run_folder=str(one.folder.path),
        dtype=engine.dtype,
        precision=engine.precision,
        max_length=config.override.max_length,
        limit=config.limit,
        budget=config.budget * 60 if config.budget is not None else None,
        seed=config.seed,
        probe_share=config.policy.probe_share,
        batch_size=engine.batch_size,
        token_budget=engine.token_budget,
        token_share=engine.token_share,
        device=engine.device,
        device_map=engine.device_map,
        max_memory={str(device): str(size) for device, size in (engine.max_memory or {}).items()} or None,
        memory=bytes_of(engine.memory) if engine.memory is not None else None,
        processes=engine.processes,
        threads=min(engine.threads or cores_each, cores_each),
        may_stop=may_stop,
    )
