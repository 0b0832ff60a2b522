"""What tests train or make at length: once for all tests, all workers and all runs, in ``.cache/tests``.

A folder there bears the name of the function that fills it and a digest of all that decides its content: the source of
the function's module and of the builders that such modules use, the arguments, and the versions of the libraries. So
nothing has to be cleared when any of that changes; ``make clean`` clears all.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".cache" / "tests"
BUILDERS = (ROOT / "tests" / "helpers" / "builders.py", *sorted((ROOT / "scripts" / "benchmarks").rglob("*.py")))
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn")


def shared(build: Callable[..., object], *arguments: Any) -> Path:
    """The folder that ``build(folder, *arguments)`` has filled, now or in an earlier run; to be read only.

    ``build`` is a function of a module, writes nothing outside the folder and no path of it into a file; ``arguments``
    are values of JSON. One worker builds while the others wait.
    """
    digest = hashlib.sha256(_setting())
    digest.update(Path(inspect.getfile(build)).read_bytes())
    digest.update(json.dumps([build.__module__, build.__qualname__, arguments]).encode())
    folder = BUILT / f"{build.__name__.strip('_')}-{digest.hexdigest()[:16]}"
    BUILT.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=BUILT))
            try:
                build(beside, *arguments)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    os.utime(folder)
    return folder


def copied(folder: Path, build: Callable[..., object], *arguments: Any) -> Path:
    """``folder``, filled with a copy of :func:`shared`, to be changed at will."""
    shutil.copytree(shared(build, *arguments), folder, dirs_exist_ok=True)
    folder.chmod(0o755)
    return folder


@cache
def _setting() -> bytes:
    digest = hashlib.sha256(repr([platform.python_version(), *map(version, LIBRARIES)]).encode())
    for file in BUILDERS:
        digest.update(file.read_bytes())
    return digest.digest()
