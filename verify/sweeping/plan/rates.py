"""How fast a device is, from what is stored of earlier runs where there is anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from verify.configuration.schema import VerifyConfig
from verify.store.files import read_sealed
from verify.store.runs import slug
from verify.sweeping.plan.cards import Card
from verify.sweeping.plan.cost import ROW_SECONDS, Rate, calibrated, cpu_rate, gpu_rate, operations
from verify.sweeping.plan.devices import CPU, Devices
from verify.tasks.registry import Registry

RUNS_LOOKED_AT = 200
"""Stored measurements that the estimates of time are taken from, at most."""


def rate_for(cards: Sequence[Card], config: VerifyConfig, registry: Registry, devices: Devices) -> Rate:
    """How fast one device is: as stored runs of these models show, else by a short trial (CPU) or assumed (GPU)."""
    if devices.kind == CPU and devices.is_known:
        rate = cpu_rate(devices.threads)
    elif devices.kind == CPU:
        rate = cpu_rate(config.engine.threads or 1)
    else:
        rate = gpu_rate(devices.each[0].model, config.engine.dtype)
    seen: list[tuple[float, float]] = []
    for card in cards:
        folder = Path(config.results) / slug(card.model)
        if card.size is None or not folder.is_dir():
            continue
        for file in folder.glob("*/*/measurements/*.json"):
            if (run := _run(file, card, registry, devices)) is not None:
                seen.append(run)
        if len(seen) >= RUNS_LOOKED_AT:
            break
    return calibrated(rate, seen)


def _run(file: Path, card: Card, registry: Registry, devices: Devices) -> tuple[float, float] | None:
    """The operations of a stored run, and the seconds that they would take with a worker's threads; None if unknown."""
    try:
        found = read_sealed(file, depth=5)
        if found is None:
            return None
        made, kind = found["provenance"], registry[found["task"]].kind
        rows, seconds = int(found["n"]) + int(found["probed"]), float(made["inference_seconds"])
        on_cpu, threads = made["device"] == "cpu", int(made["threads"]) * int(made["processes"])
    except (ValueError, KeyError, TypeError):
        return None
    if card.size is None or on_cpu != (devices.kind == CPU) or seconds <= 0:
        return None
    beyond = seconds - ROW_SECONDS * rows
    return operations(card.size, kind) * rows, beyond * threads / devices.threads if on_cpu else beyond
