"""Check what a model card claims: read the claims, rerun the evaluation, judge each claim.

    >>> import verify
    >>> report = verify.check("org/model", limit=200)  # doctest: +SKIP

Start reading with :mod:`verify.types`; the command line is :mod:`verify.cli`, these functions :mod:`verify.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.api.functions import check, explain, judge, load_results, read_claims, sweep
    from verify.api.reports import ClaimsReport, Report, SweepReport

__version__ = "0.1.0"

__all__ = [
    "ClaimsReport",
    "Report",
    "SweepReport",
    "__version__",
    "check",
    "explain",
    "judge",
    "load_results",
    "read_claims",
    "sweep",
]

if not TYPE_CHECKING:  # a checker of types that saw this would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Import a function or a report when it is asked for, so that ``import verify`` costs nothing (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from verify.processes.import_path import protected

        with protected():  # what a module of the working folder could stand in for, until then
            from verify.api import functions, reports

        return getattr(reports if name.endswith("Report") else functions, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
