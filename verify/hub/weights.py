"""Which files hold the weights of a model, and whether they are what they say: whole, inside, and no code."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from verify.errors import BlockedError, HubError
from verify.hub import adapters
from verify.hub.pickles import tensors_in
from verify.hub.repository import ModelRepository, few, json_object, json_value, matches, not_cached

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
MODULES = "modules.json"

_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.safetensors")
_LFS_POINTER = b"version https://git-lfs"


def weight_files(repository: ModelRepository) -> tuple[str, ...]:
    """Return the names of the weight files that ``from_pretrained`` loads, sorted: one file, or the index's shards.

    They lie in the root, or in the folder that modules.json (sentence-transformers) gives for the transformer. Pickles
    are among them only where the repository allows that and has nothing else.

    Raises:
        BlockedError: there are none, or they are not safetensors files inside the repository.
        HubError: none is known and the Hub could not be reached, or a JSON file is damaged.

    """
    if repository.is_adapter:
        names = (adapters.WEIGHTS, *([adapters.PICKLE] if repository.allows_pickle else []))
        found = next((name for name in names if name in repository.files), None)
        if found is None:
            raise _no_weights(repository, None)
        return (found,)
    if not {WEIGHTS, WEIGHTS_INDEX, "config.json"} & {*repository.files}:
        for folder in module_folders(repository)[:1]:
            return _weight_files(repository, f"{folder}/")
    return _weight_files(repository, "")


def module_folders(repository: ModelRepository) -> tuple[str, ...]:
    """The folders below the root that modules.json names for the parts of an embedder, in order; none without it.

    Raises BlockedError where a path leads out of the repository, HubError where the file is no list of objects.
    """
    if MODULES not in repository.files:
        return ()
    modules = json_value(repository, MODULES)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise HubError(f"{repository}: {MODULES} is not a list of modules. Ask the author to repair the file.")
    folders = []
    for module in modules:
        path = PurePosixPath(str(module.get("path") or ""))
        if path.is_absolute() or ".." in path.parts or "\\" in str(path):
            raise BlockedError(
                f"{repository}: {MODULES} names {str(path)[:80]!r} as the folder of a module. Only folders inside the "
                "repository are read. Ask the author to repair the file."
            )
        if str(path) != ".":
            folders.append(str(path))
    return tuple(dict.fromkeys(folders))


def _weight_files(repository: ModelRepository, place: str) -> tuple[str, ...]:
    """The weight files of one folder of the repository, whose name ends with a slash or is empty."""
    named = json_object(repository, f"{place}config.json").get("transformers_weights")
    single = named if isinstance(named, str) else WEIGHTS if named is None else str(named)
    if named is None and place + WEIGHTS not in repository.files:
        single = WEIGHTS_INDEX
    if named is None and repository.allows_pickle and place + single not in repository.files:
        single = PICKLE if place + PICKLE in repository.files else PICKLE_INDEX
    name = place + single
    if name not in repository.files:
        raise _no_weights(repository, named)
    if not name.endswith(".index.json"):
        return (name if single == PICKLE else _checked_name(repository, name, f"{place}config.json"),)
    shards = json_object(repository, name).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise BlockedError(f"{repository}: {name} holds no weight_map. Save the weights again with save_pretrained.")
    ending = ".bin" if single == PICKLE_INDEX else ".safetensors"
    own = {_checked_name(repository, shard, name, ending) for shard in shards.values()}
    names = tuple(sorted(place + shard for shard in own))
    missing = [shard for shard in names if shard not in repository.files]
    if missing and not repository.listed:
        raise not_cached(repository)
    if missing:
        raise BlockedError(
            f"{repository}: {name} names {len(missing)} of {len(names)} weight files that the repository lacks "
            f"({few(missing)}). The upload or the copy is incomplete: add the missing files."
        )
    return names


def is_pickle(name: str) -> bool:
    return name.endswith(".bin")


def safe_name(name: str) -> str:
    """The name under which `transformers` looks for the safetensors copy of a pickle; any other name stays."""
    folder, slash, file = name.rpartition("/")
    known = {PICKLE: WEIGHTS, PICKLE_INDEX: WEIGHTS_INDEX}
    return folder + slash + known.get(file, file.removesuffix(".bin") + ".safetensors" if is_pickle(file) else file)


def has_only_pickles(repository: ModelRepository) -> bool:
    """Whether the weights are refused for being pickles, which ``allow_pickle=true`` would load."""
    single, index = (adapters.PICKLE,) * 2 if repository.is_adapter else (PICKLE, PICKLE_INDEX)
    held = {name.rpartition("/")[2] for name in repository.files}
    return not repository.allows_pickle and not {WEIGHTS, WEIGHTS_INDEX} & held and bool({single, index} & held)


def check_pickle(repository: ModelRepository, path: Path) -> None:
    """Refuse a pickle that is no flat mapping of names to plain tensors, or whose bytes are not here; runs nothing."""
    try:
        with path.open("rb") as file:
            _refuse_pointer(repository, path, file.read(len(_LFS_POINTER)))
            tensors_in(file, f"{repository}: {path.name}")
    except OSError as error:
        raise HubError(
            f"{repository}: {path.name} cannot be read: {error}. Check the file and its permissions."
        ) from error


def _checked_name(repository: ModelRepository, name: object, source: str, ending: str = ".safetensors") -> str:
    """Accept only the plain relative name of a weight file."""
    if isinstance(name, str) and name.endswith(ending) and "\\" not in name and ":" not in name:
        path = PurePosixPath(name)
        if not path.is_absolute() and ".." not in path.parts and str(path) == name:
            return name
    raise BlockedError(
        f"{repository}: {source} names {str(name)[:80]!r} as a weight file. Only {ending[1:]} files inside the "
        "repository are loaded. Save the weights again with save_pretrained and check that folder."
    )


def check_safetensors(repository: ModelRepository, path: Path) -> None:
    """Check the header: a length within the file and the format's limit (100 MB), JSON, offsets that fit the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            _refuse_pointer(repository, path, file.read(len(_LFS_POINTER)))
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise BlockedError(
            f"{repository}: {path.name} is not a sound safetensors file ({error}). Download or copy it again; if it "
            "stays so, the author has to upload it again."
        ) from error
    except OSError as error:
        raise HubError(
            f"{repository}: {path.name} cannot be read: {error}. Check the file and its permissions."
        ) from error


def _refuse_pointer(repository: ModelRepository, path: Path, start: bytes) -> None:
    if start == _LFS_POINTER:
        raise BlockedError(
            f"{repository}: {path.name} is a Git LFS pointer, not the weights. Run 'git lfs pull' in the folder."
        )


def _no_weights(repository: ModelRepository, named: object) -> BlockedError | HubError:
    if not repository.listed:
        return not_cached(repository)
    if named is not None:
        return BlockedError(
            f"{repository}: config.json names {str(named)[:80]!r} as its weights (transformers_weights), and the "
            "repository has no such file. Correct config.json or add the file."
        )
    others = [name for name in repository.files if matches(name, _OTHER_WEIGHTS) and not name.startswith("training_")]
    if not others:
        return BlockedError(
            f"{repository} holds no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}. There is nothing to rerun; check "
            "the model id, or ask the author to upload the weights."
        )
    if all(name.endswith(".safetensors") for name in others):
        return BlockedError(
            f"{repository} holds safetensors files ({few(others)}), but neither {WEIGHTS} nor {WEIGHTS_INDEX}, the "
            "names that transformers loads. Save the weights again with save_pretrained and check that folder."
        )
    if has_only_pickles(repository):
        return BlockedError(
            f"{repository} holds its weights only as pickles ({few(others)}), which can run any code when "
            "opened. allow_pickle=true loads them, by weights_only and once they are known to hold only tensors. "
            "Or convert them to safetensors: save_pretrained of a copy that you trust, and check that folder."
        )
    return BlockedError(
        f"{repository} holds its weights only in formats that are refused ({few(others)}). Ask the author to convert "
        "them to safetensors, or convert a copy that you trust with save_pretrained and check that folder."
    )
