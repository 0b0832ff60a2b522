"""The folder that a model is loaded from: links to the files that its key covers, and nothing else.

`transformers` opens whatever it finds in a folder, and follows paths that configurations hold. In a view neither finds
more than what was hashed: files outside the list are absent, and a configuration that names a file elsewhere (older
versions of transformers wrote absolute paths into honest ones) stands there as a copy without that entry.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from verify.errors import EngineError

linked: set[str] = set()
"""The files, with links followed, that views have led to: those that a load may open."""


class _Views(threading.local):
    """The views that a thread has made, by what they show: none takes away what another one loads from."""

    def __init__(self) -> None:
        self.made: dict[tuple[Any, ...], Path] = {}


_views = _Views()


def view_of(folder: str, files: Sequence[str]) -> str:
    """A folder, named as ``folder``, that holds just ``files`` of it; the same one again while they do not change.

    Without ``files``, which only what this program wrote itself may lack, it is the folder as it is. Raises
    EngineError if a file is gone.
    """
    if not files:
        return folder
    root = Path(folder)
    try:
        key = (folder, tuple((name, (stat := (root / name).stat()).st_size, stat.st_mtime_ns) for name in files))
        if key not in _views.made:
            _views.made[key] = _made(root, files)
    except OSError as error:
        raise EngineError(
            f"The file {error.filename} of the model cannot be read any more: {error.strerror}. Leave the model's "
            "files alone while a command runs, and run it again."
        ) from error
    return str(_views.made[key])


def close_views() -> None:
    """Remove all views of this thread; no model may be loaded from them any more."""
    for view in _views.made.values():
        shutil.rmtree(view.parent, ignore_errors=True)
    _views.made.clear()


def _made(root: Path, files: Sequence[str]) -> Path:
    view = Path(tempfile.mkdtemp(prefix="verify-model-")) / root.name
    for name in files:
        source, target = (root / name).resolve(strict=True), view / name
        target.parent.mkdir(parents=True, exist_ok=True)
        linked.add(str(source))
        text = _cleaned(source) if _holds_paths(name) else None
        if text is None:
            target.symlink_to(source)
        else:
            target.write_text(text, encoding="utf-8")
    return view


def _holds_paths(name: str) -> bool:
    """Whether a JSON file may name other files; a vocabulary may not, whatever its words are."""
    file = PurePosixPath(name).name
    return file.endswith("config.json") or file == "special_tokens_map.json"


def _cleaned(file: Path) -> str | None:
    """The JSON of a configuration without what leads out of the repository; None where there is nothing to drop."""
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return None  # whoever reads it says so
    cleaned = _inside(content)
    return json.dumps(cleaned, ensure_ascii=False) if cleaned != content else None


_PATHS = ("_file", "_path", "_name_or_path", "_dir", "_folder", "spm", "filename")
_OF_OTHERS = (
    "_name_or_path",
    "name_or_path",
    "base_model_name_or_path",
    "gguf_file",
    "init_inputs",
    "use_kernels",
    "kernel_config",
)
"""Entries that name another repository, a file, or code of one; a load needs none of them."""

_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
"""Entries that name a way of computing: one of transformers' own, or as ORG/NAME code on the Hub."""


def _inside(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _inside(item, str(key)) for key, item in value.items() if not _leads_out(str(key), item)}
    if isinstance(value, list):
        return [_inside(item, name) for item in value if not _leads_out(name, item)]
    return value


def _leads_out(key: str, value: Any) -> bool:
    if key == "auto_map" and not value:
        return True  # nothing is named, which transformers stumbles over
    if key in _OF_OTHERS or (key.endswith(_IMPLEMENTATIONS) and "/" in json.dumps(value)):
        return True
    if not isinstance(value, str) or not (key.endswith(_PATHS) or key.endswith("_files")):
        return False
    return value.startswith(("/", "~", "\\")) or "://" in value or ".." in PurePosixPath(value).parts
