"""What a pickled PyTorch checkpoint holds, read without running any of it.

A pickle is a program for a small machine that can call any function. Checkpoints need little of it: a mapping, names,
and a few functions that lay tensors over storages. The machine here knows no more than that, and instead of calling
anything it notes what would be made, so that a checkpoint is known, and refused in words, before PyTorch sees it.

There are two layouts: since PyTorch 1.6 an archive (zip, nothing in it compressed) with ``data.pkl`` and one record for
each storage; before that, five pickles and then the storages, each after its number of elements.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from verify.errors import BlockedError

PICKLE_LIMIT = 4 * 2**20  # bytes; a tensor takes about 150
COPIES = 4  # how many times the file's bytes all tensors together may hold: T5 names its embeddings four times
SLACK = 2**20  # bytes
MOST_DIMENSIONS = 16

ITEM_BYTES: Mapping[str, int] = {
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""The storages whose elements a safetensors file can hold, with the bytes of one."""

_ZIP = b"PK\x03\x04"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.serialization, before PyTorch 1.6
_TAR_MAGIC = (257, b"ustar")
_MAPPING, _V1 = "collections OrderedDict", "torch._utils _rebuild_tensor"
_V2, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_CALLS = frozenset({_MAPPING, _V1, _V2, _PARAMETER})
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    [
        "BININT",
        "BININT1",
        "BININT2",
        "INT",
        "LONG",
        "LONG1",
        "LONG4",
        "BINFLOAT",
        "FLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "UNICODE",
        "BINSTRING",
        "SHORT_BINSTRING",
        "STRING",
    ]
)
_TUPLES: Mapping[str, int] = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint: the storage class of its elements, its shape, and its size in bytes."""

    storage: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.storage]


def tensors_in(file: IO[bytes], name: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name. ``file`` is open at any place, ``name`` is for messages.

    Raises:
        BlockedError: the file is anything but a flat mapping of names to plain tensors whose bytes it holds.

    """
    try:
        return _read(file)
    except _RefusedError as error:
        raise BlockedError(
            f"{name} is a pickle that is not loaded: {error}. Only a flat mapping of names to plain tensors is, as "
            "torch.save(model.state_dict(), …) writes it. Convert a copy that you trust with save_pretrained, which "
            "writes safetensors, and check that folder."
        ) from error


def _read(file: IO[bytes]) -> dict[str, Tensor]:
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(512)
    tensors = _flat(*(_archive(file, size) if start.startswith(_ZIP) else _sequence(file, size, start)))
    held = sum(tensor.size for tensor in tensors.values())
    if held > COPIES * size + SLACK:
        raise _RefusedError(f"its tensors would take {held} bytes, and the file has {size}")
    return tensors


class _RefusedError(Exception):
    """Why a file is refused, to be read after a colon."""


@dataclass(frozen=True)
class _Name:
    """A function or class that a pickle names; it is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """Elements that a pickle refers to: the ``key`` of where they are kept, and the part of them that is meant."""

    key: str
    kind: str
    numel: int
    first: int
    count: int


@dataclass(frozen=True)
class _Laid:
    """A tensor over a storage."""

    storage: _Storage
    tensor: Tensor


class _Mark:
    """The bottom of what an opcode takes from the stack."""


def _archive(file: IO[bytes], size: int) -> tuple[Any, Mapping[str, int]]:
    """What ``data.pkl`` of an archive makes, and the bytes of each storage by key."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1 or pickles[0].filename.count("/") != 1:
                raise _RefusedError("it is an archive without one data.pkl, so no checkpoint")
            home = pickles[0].filename.removesuffix("data.pkl")
            names = {entry.filename for entry in entries}
            if home + "constants.pkl" in names or any(one.startswith(home + "code/") for one in names):
                raise _RefusedError("it is a TorchScript archive, which holds code")
            _check_entries(entries, size)
            if pickles[0].file_size > PICKLE_LIMIT:
                raise _RefusedError(f"its list of tensors takes more than {PICKLE_LIMIT >> 20} MiB")
            program = archive.read(pickles[0])
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:  # what zipfile makes of bad archives
        raise _RefusedError(f"it is a damaged archive ({error})") from error
    data = home + "data/"
    stored = {one.filename.removeprefix(data): one.file_size for one in entries if one.filename.startswith(data)}
    return _made(BytesIO(program)), stored


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Nothing is compressed, encrypted, named twice or outside, and no two entries share bytes."""
    end = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        parts = entry.filename.split("/")
        if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename or ":" in entry.filename:
            raise _RefusedError("its archive holds a path that leads outside")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise _RefusedError("its archive holds compressed data, which PyTorch never writes")
        if entry.header_offset < end:
            raise _RefusedError("parts of its archive overlap")
        end = entry.header_offset + 30 + len(entry.orig_filename.encode()) + entry.file_size
    if end > size:
        raise _RefusedError("its archive announces more bytes than the file has")
    if len({entry.filename.casefold() for entry in entries}) != len(entries):
        raise _RefusedError("its archive holds a name twice")


def _sequence(file: IO[bytes], size: int, start: bytes) -> tuple[Any, Mapping[str, int]]:
    """What the fourth pickle of an older file makes, and the bytes of each storage by key."""
    place, magic = _TAR_MAGIC
    if start[place:].startswith(magic):
        raise _RefusedError("it is a tar archive, a format that PyTorch gave up in 2017")
    if not start.startswith(b"\x80"):
        raise _RefusedError("it is no PyTorch checkpoint")
    file.seek(0)
    pickles = BytesIO(file.read(PICKLE_LIMIT))
    if _made(pickles) != _MAGIC or _made(pickles) != _PROTOCOL:
        raise _RefusedError("it is a pickle, and no PyTorch checkpoint")
    _made(pickles)  # the byte order and the sizes of numbers of the machine that wrote it
    made = _made(pickles)
    keys = _made(pickles)
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise _RefusedError("its list of storages is damaged")
    kinds = {laid.storage.key: laid.storage.kind for laid in _laid(made)}
    stored, offset = dict[str, int](), pickles.tell()
    for key in keys:
        file.seek(offset)
        numel = int.from_bytes(file.read(8), "little", signed=True)
        stored[key] = numel * ITEM_BYTES.get(kinds.get(key, ""), 0)
        offset += 8 + stored[key]
        if numel < 0 or key not in kinds or offset > size:
            raise _RefusedError("its storages are not those that its tensors need, or the file is cut off")
    return made, stored


def _laid(made: Any) -> Iterator[_Laid]:
    if isinstance(made, dict):
        yield from (one for one in made.values() if isinstance(one, _Laid))


def _flat(made: Any, stored: Mapping[str, int]) -> dict[str, Tensor]:
    """The tensors of a flat mapping, each storage of which has the bytes that it announces."""
    if not isinstance(made, dict) or not made:
        raise _RefusedError(f"it holds {_described(made)} where a mapping of names to tensors should be")
    for name, one in made.items():
        if not isinstance(name, str):
            raise _RefusedError(f"it names a tensor by {_described(name)} instead of a text")
        if not isinstance(one, _Laid):
            raise _RefusedError(f"beside or instead of tensors it holds {_described(one)} under {_short(name)}")
        announced = one.storage.numel * ITEM_BYTES[one.storage.kind]
        if stored.get(one.storage.key) != announced:
            raise _RefusedError(f"{_short(name)} lies in {announced} bytes, which the file does not hold")
    return {name: one.tensor for name, one in made.items()}


def _made(file: IO[bytes]) -> Any:
    """What the pickle at the file's place makes; the file is left behind it."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _RefusedError("its pickle is damaged or cut off") from error
    raise _RefusedError("its pickle is cut off")


class _Machine:
    """As much of the pickle machine as checkpoints need."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        found = self._stack.pop()
        if found is _Mark:
            raise ValueError
        return found

    def step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode in ("PROTO", "FRAME"):
            return
        if opcode in _LITERALS:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[int(argument)] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[int(argument)])
        elif opcode == "MARK":
            stack.append(_Mark)
        elif opcode in _TUPLES:
            count = _TUPLES[opcode]
            stack[len(stack) - count :] = [tuple(self._last(count))]
        elif opcode == "TUPLE":
            stack.append(tuple(self._marked()))
        elif opcode == "EMPTY_LIST":
            stack.append([])
        elif opcode in ("APPEND", "APPENDS"):
            items = [self.pop()] if opcode == "APPEND" else self._marked()
            self._top(list).extend(items)
        elif opcode == "EMPTY_DICT":
            stack.append({})
        elif opcode in ("SETITEM", "SETITEMS"):
            items = [self.pop(), self.pop()][::-1] if opcode == "SETITEM" else self._marked()
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif opcode == "GLOBAL":
            stack.append(_named(str(argument)))
        elif opcode == "STACK_GLOBAL":
            name, module = self.pop(), self.pop()
            stack.append(_named(f"{module} {name}"))
        elif opcode == "BINPERSID":
            stack.append(_storage(self.pop()))
        elif opcode == "REDUCE":
            arguments, function = self.pop(), self.pop()
            stack.append(_called(function, arguments))
        elif opcode == "BUILD":
            if not isinstance(self.pop(), dict) or not isinstance(stack[-1], dict):  # versions of modules
                raise _RefusedError("it sets the state of an object")
        else:
            raise _RefusedError(f"its pickle does what no checkpoint needs ({opcode})")

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError
        return self._stack[len(self._stack) - count :]

    def _marked(self) -> list[Any]:
        """Everything above the last mark, taken from the stack with it."""
        taken = []
        while (one := self._stack.pop()) is not _Mark:
            taken.append(one)
        return taken[::-1]

    def _top(self, kind: type[Any]) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise _RefusedError("it changes an object that is neither a list nor a mapping")
        return self._stack[-1]


def _named(name: str) -> _Name:
    module, _, attribute = name.partition(" ")
    if name in _CALLS or (module == "torch" and attribute in ITEM_BYTES):
        return _Name(name)
    if module == "torch" and attribute.endswith("Storage"):
        raise _RefusedError(f"it holds tensors of a kind that safetensors cannot ({_short(attribute)})")
    raise _RefusedError(f"it asks for {_short(f'{module}.{attribute}')}, which is code")


def _storage(identity: Any) -> _Storage:
    """What a persistent identity refers to: ("storage", class, key, device, elements), and a view in older files."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise _RefusedError("it refers to something that is no storage")
    _, kind, key, _, numel, *views = identity
    view = views[0] if views else None
    if not isinstance(kind, _Name) or kind in map(_Name, _CALLS) or not isinstance(key, str) or not _is_count(numel):
        raise _RefusedError("it refers to a storage in words that are not understood")
    if view is None:
        return _Storage(key, kind.name.split()[1], numel, 0, numel)
    if not (isinstance(view, tuple) and len(view) == 3 and all(map(_is_count, view[1:])) and sum(view[1:]) <= numel):
        raise _RefusedError("it refers to a part of a storage that does not exist")
    return _Storage(key, kind.name.split()[1], numel, view[1], view[2])


def _called(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise _RefusedError("it calls something that is no function")
    if function.name == _MAPPING and arguments in ((), ([],)):
        return {}
    if function.name == _MAPPING and len(arguments) == 1 and isinstance(arguments[0], list):
        pairs = list(arguments[0])
        arguments[0].clear()  # so that no list is gone through twice
        return dict(pairs)
    if function.name == _PARAMETER and arguments and isinstance(arguments[0], _Laid):
        return arguments[0]
    if function.name in (_V1, _V2):
        return _rebuilt(*arguments[:4], *arguments[5:])
    raise _RefusedError(f"it calls {_short(function.name.replace(' ', '.'))} on something that is no tensor")


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> _Laid:
    """A tensor over a storage; ``more`` are hooks and metadata, which must be empty."""
    if not isinstance(storage, _Storage) or any(more):
        raise _RefusedError("it holds a tensor with hooks or metadata, or without a storage")
    if (
        len(shape) != len(strides)
        or len(shape) > MOST_DIMENSIONS
        or not all(map(_is_count, (offset, *shape, *strides)))
    ):
        raise _RefusedError("it holds a tensor whose shape makes no sense")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.count:
        raise _RefusedError("it holds a tensor that reaches beyond its storage")
    return _Laid(storage, Tensor(storage.kind, tuple(shape)))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _described(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", tuple: "a tuple", str: "a text", _Name: "a function"}
    kinds |= {_Laid: "a tensor", _Storage: "a storage", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def _short(text: str) -> str:
    return text if len(text) <= 80 and text.isprintable() else f"{text.encode('unicode_escape').decode()[:80]}…"
