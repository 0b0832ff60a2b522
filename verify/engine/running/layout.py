"""Being started by a launcher: ``accelerate launch --no_python verify check …`` or torchrun, with several processes.

The launcher's processes all run the whole command. The first one does the work and starts as many workers of its own,
the others have nothing to do: so nothing is run twice, and the workers are followed and started again as always.
"""

from __future__ import annotations

from collections.abc import Mapping

from verify.errors import UsageError

OUTER = frozenset(
    {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT"}
)
OUTER_PREFIXES = ("TORCHELASTIC_", "ACCELERATE_", "FSDP_", "PMI_", "OMPI_COMM_", "MV2_COMM_")
"""What a launcher tells its processes, and our workers must not inherit …"""

INHERITED = "ACCELERATE_USE_CPU"
"""… but for the one thing that says where to run."""


def launched(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """The rank of this process and the number of processes, or None if no launcher started several.

    Raises UsageError if they are spread over several machines.
    """
    try:
        rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local = int(environment.get("LOCAL_WORLD_SIZE", world))
    except (KeyError, ValueError):
        return None
    if world != local:
        raise UsageError(
            f"A launcher started {world} processes on several machines ({local} here), and one run uses one machine. "
            "Start the command once on each machine, with other tasks or models and a results folder that they share."
        )
    return (rank, world) if world > 1 else None


def alone(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a launcher has set."""
    return {
        name: value
        for name, value in environment.items()
        if name == INHERITED or not (name in OUTER or name.startswith(OUTER_PREFIXES))
    }
