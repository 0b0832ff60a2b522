"""The start of every process of ours: ``python -P -m verify.processes.lifeline PIPE MODULE …`` runs a module.

The process ends with the one that has started it, whatever ends that one: the starter alone holds the writing end of
``PIPE``, a file descriptor, which the system closes when the starter ends, even by SIGKILL. And Python finds no module
for it in the working folder.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import stat
import sys

from verify.processes.import_path import protect

BETWEEN_LOOKS = 5.0  # seconds


def main() -> None:
    """Run the module that the command line names, until it ends or nobody is left who wants it."""
    protect()
    end_with_starter(int(sys.argv[1]))
    module = sys.argv[2]
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def end_with_starter(pipe: int) -> None:
    """Have this process, and the group that it leads, killed as soon as nobody holds the other end of ``pipe``.

    A process of its own waits for that, so that it also happens to one that is stopped, or that computes without ever
    giving way to a thread. To be called before there are threads. What is no pipe is left alone.
    """
    watched = os.getpid()
    if not stat.S_ISFIFO(os.fstat(pipe).st_mode) or os.fork() != 0:
        return
    try:
        _set_apart(pipe)
        is_leader = os.getpgrp() == watched
        while (is_leader or os.getppid() == watched) and _is_held(pipe):
            pass
        if is_leader:
            os.killpg(watched, signal.SIGKILL)
        elif os.getppid() == watched:
            os.kill(watched, signal.SIGKILL)
    finally:
        os._exit(0)


def without_input() -> None:
    """Have whatever reads standard input find its end; to be called where no process is to be started that waits on it.

    A library that asks a question would else wait for an answer for ever.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _set_apart(pipe: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they ask what is watched to end in good order, which takes a while
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in {0, 1, 2} - {pipe}:  # whoever reads them waits until nobody is left who could write
        os.dup2(nothing, descriptor)


def _is_held(pipe: int) -> bool:
    """Wait a moment for the end of a pipe, and say whether it has not come."""
    readable, _, _ = select.select([pipe], [], [], BETWEEN_LOOKS)
    return not readable or bool(os.read(pipe, 4096))


if __name__ == "__main__":
    main()
