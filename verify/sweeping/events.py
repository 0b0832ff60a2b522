"""What happens in a sweep as plain mappings, for programs that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.sweeping.units import Died, Ended, Report


def plain_report(report: Report) -> Mapping[str, Any]:
    """The report of a worker: the ``event`` of the engine, or ``ended`` or ``died``, with the ``model`` it is about."""
    about = {"model": report.unit.reference, "worker": report.worker}
    if isinstance(report, Ended):
        return {"event": "ended", **about, "exit_code": report.finished.exit_code, "error": report.finished.error}
    if isinstance(report, Died):
        return {"event": "died", **about, "cell": report.cell, "message": report.message}
    return {**report.event, **about}
