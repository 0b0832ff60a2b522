"""The folder that a job's model is loaded from, in one piece.

It is the view of the repository's files; where these hold pickles, their safetensors copies stand in their place, and
where the repository is an adapter, its files lie in a sub-folder of its base's, so that the base is what a load finds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from verify.engine.job import Job
from verify.engine.loading.load import ADAPTER
from verify.engine.loading.safe_copy import safe_copy
from verify.engine.loading.view import view_of
from verify.hub.loaded import is_processor
from verify.hub.weights import PICKLE_INDEX, is_pickle, safe_name

_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")
_VOCABULARY_ENDINGS = (".model", ".spm", ".tiktoken")


def assembled(job: Job) -> str:
    """The folder to load from; the same one again while nothing in it changes.

    The tokeniser of an adapter is its own where it has one, else its base's. Raises EngineError if a file is gone, and
    whatever :func:`verify.engine.loading.safe_copy.safe_copy` raises.
    """
    own = view_of(job.model_folder, job.files)
    if job.base_folder is not None:
        base = view_of(job.base_folder, job.base_files)
        return _linked(own, base, _laid_over(own, job.files, base, job.base_files))
    if any(map(_is_pickled, job.files)):
        return _linked(own, own, {name: Path(own) / name for name in job.files})
    return own


def _laid_over(own: str, files: Sequence[str], base: str, base_files: Sequence[str]) -> dict[str, Path]:
    """Where each file of an adapter on its base comes from."""
    from_own = [name for name in files if is_processor(name)] if any(map(_is_vocabulary, files)) else []
    from_base = [name for name in base_files if not (from_own and is_processor(name))]
    found = {name: Path(base) / name for name in from_base} | {name: Path(own) / name for name in from_own}
    return found | {f"{ADAPTER}/{name}": Path(own) / name for name in files if name not in from_own}


def _is_pickled(name: str) -> bool:
    return is_pickle(name) and not is_processor(name)


def _is_vocabulary(name: str) -> bool:
    return "/" not in name and (name in _VOCABULARIES or name.endswith(_VOCABULARY_ENDINGS))


def _linked(own: str, base: str, sources: Mapping[str, Path]) -> str:
    """A folder beside the view ``own``, and gone with it, of links to ``sources``, safetensors alone among weights."""
    whole = Path(own).parent / Path(base).parent.name / Path(own).name
    if whole.is_dir():
        return str(whole)
    part = whole.with_name("part")
    for name, source in sources.items():
        target = part / (name if is_processor(name) else safe_name(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.name != Path(name).name and name.endswith(PICKLE_INDEX):
            target.write_text(_renamed(source), encoding="utf-8")
        else:
            target.symlink_to(safe_copy(source) if _is_pickled(name) else source)
    part.replace(whole)
    return str(whole)


def _renamed(index: Path) -> str:
    """An index of pickles as one of their copies. The gate has read it before, so it is what it should be."""
    content = json.loads(index.read_bytes())
    return json.dumps({**content, "weight_map": {key: safe_name(name) for key, name in content["weight_map"].items()}})
