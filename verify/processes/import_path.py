"""Where Python may look for modules: never in the working folder, nor in a folder of a model, of data or of results.

Python searches the folder that it is started in, by default and for every empty or relative entry of ``PYTHONPATH``. A
``numpy.py`` beside a stranger's weights would then be run in place of NumPy. So the working folder is taken off the
path of this process and of whatever it starts, unless it is the folder that this package itself comes from.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cache
from pathlib import Path

SAFE = "PYTHONSAFEPATH"
"""Has Python 3.11 and later leave the working folder, and that of a script, out of the path."""
MORE = "PYTHONPATH"

ROOT = Path(__file__).resolve().parents[2]
"""The folder that this package was imported from."""


_lock = threading.Lock()
_inside = 0
_before: tuple[list[str], dict[str, str | None]] = ([], {})
"""How many are protected now, and the path and the environment before the first of them was."""


@contextlib.contextmanager
def protected(words: Iterable[str] = ()) -> Iterator[None]:
    """Keep the working folder out of the path of this process, and of those that it starts meanwhile.

    So are the folders that the ``words`` of a command line name: ``FOLDER`` or ``key=FOLDER``. Several threads may be
    protected at once; with the last of them all is as before, and what was added to the path meanwhile stays.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = list(sys.path), {name: os.environ.get(name) for name in (SAFE, MORE)}
        _inside += 1
        protect()
        exclude(*(word.partition("=")[2] or word for word in words))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _restore(*_before)


def _restore(path: Sequence[str], environment: Mapping[str, str | None]) -> None:
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def protect() -> None:
    """Keep the working folder out of the path of this process from now on, and of those that it starts."""
    os.environ[SAFE] = "1"
    entries = os.environ.get(MORE, "").split(os.pathsep)
    exclude(".", *(entry for entry in entries if not Path(entry).is_absolute()))  # Python has made them absolute


def exclude(*folders: str | Path) -> None:
    """Take folders of others, and every relative entry, off the path of this process and of those that it starts."""
    sys.path[:] = _kept(sys.path, folders)
    restrict(os.environ, *folders)


def restrict(environment: MutableMapping[str, str], *folders: str | Path) -> None:
    """Take folders of others, and every relative entry, out of ``PYTHONPATH``.

    Where this package is no installed one, the folder that it comes from becomes an entry: it may have been found in
    the working folder, which no longer is one.
    """
    entries = _kept(environment.get(MORE, "").split(os.pathsep), folders)
    if not is_installed() and ROOT not in map(_real, entries):
        entries.append(str(ROOT))
    if entries:
        environment[MORE] = os.pathsep.join(entries)
    else:
        environment.pop(MORE, None)


def is_installed() -> bool:
    """Whether this package lies where Python finds it for itself; else it is a checkout, or installed as one."""
    return ROOT in _installed()


def _kept(entries: Iterable[str], folders: Iterable[str | Path]) -> list[str]:
    unwanted = {_real(folder) for folder in folders} - {ROOT, *_installed()}
    return [
        entry for entry in entries if _is_hook(entry) or (Path(entry).is_absolute() and _real(entry) not in unwanted)
    ]


def _is_hook(entry: str) -> bool:
    """Whether an entry is no folder but a name that setuptools gives to a package installed from its source."""
    return entry.startswith("__editable__.") and entry.endswith("__path_hook__")


@cache
def _installed() -> frozenset[Path]:
    """The folders of Python itself and of what is installed with it, in which a user may also work."""
    paths = sysconfig.get_paths()
    own = [*site.getsitepackages(), site.getusersitepackages(), *(paths[name] for name in ("stdlib", "platstdlib"))]
    return frozenset(map(_real, own))


def _real(path: str | Path) -> Path:
    """A path without links, as far as it exists."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError):
        return Path(path)
