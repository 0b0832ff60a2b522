"""Pickled checkpoints, honest and otherwise, for the tests of what may be loaded from one.

Each hostile one is a function of a sound mapping of names to tensors, and returns the bytes of a file.
"""

from __future__ import annotations

import builtins
import collections
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from hostile.harness import FIRES

State = Mapping[str, torch.Tensor]


def saved(content: Any, *, legacy: bool = False, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return file.getvalue()


class Call:
    """Pickled, it is a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


class Stateful:
    """Pickled, it calls a function when its state is set."""

    def __reduce__(self) -> Any:
        return collections.OrderedDict, (), {"_metadata": Call(builtins.exec, FIRES)}


def whole_file(state: State) -> bytes:
    return saved(Call(builtins.exec, FIRES))


def among_tensors(state: State) -> bytes:
    return saved({**state, "extra": Call(builtins.exec, FIRES)})


def as_a_name(state: State) -> bytes:
    return saved({**state, Call(builtins.exec, FIRES): torch.zeros(1)})


def older_format(state: State) -> bytes:
    return saved({**state, "extra": Call(builtins.exec, FIRES)}, legacy=True)


def newer_protocol(state: State) -> bytes:
    return saved({**state, "extra": Call(builtins.exec, FIRES)}, protocol=4)


def first_of_several_pickles(state: State) -> bytes:
    return pickle.dumps(Call(builtins.exec, FIRES), protocol=2) + saved(dict(state), legacy=True)


def no_checkpoint(state: State) -> bytes:
    return pickle.dumps({"weight": Call(builtins.exec, FIRES)})


def hidden_attribute(state: State) -> bytes:
    return saved({**state, "extra": Call(builtins.eval, f"exec({FIRES!r})")})


def through_the_state(state: State) -> bytes:
    return saved({**state, "extra": Stateful()})


def nested_load(state: State) -> bytes:
    """Through a function of torch itself that loads bytes without protection."""
    return saved({**state, "extra": Call(torch.storage._load_from_bytes, saved(Call(builtins.exec, FIRES)))})


def array_of_objects(state: State) -> bytes:
    array = np.empty(1, dtype=object)
    array[0] = Call(builtins.exec, FIRES)
    return saved({**state, "extra": array})


def rebuilt_with_hooks(state: State) -> bytes:
    """Through the last argument of a function that every checkpoint calls."""
    storage = torch.zeros(4).storage()
    hooks = collections.OrderedDict({0: Call(builtins.exec, FIRES)})
    return saved({**state, "extra": Call(torch._utils._rebuild_tensor_v2, storage, 0, (4,), (1,), False, hooks)})


FIRING = (
    whole_file,
    among_tensors,
    as_a_name,
    older_format,
    newer_protocol,
    first_of_several_pickles,
    no_checkpoint,
    hidden_attribute,
    through_the_state,
    nested_load,
    array_of_objects,
    rebuilt_with_hooks,
)
"""Those that run code in a loader without protection."""


def rewritten(
    state: State,
    change: Callable[[str, bytes], tuple[str, bytes]] = lambda name, data: (name, data),
    method: int = zipfile.ZIP_STORED,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """A sound archive, written again with some of its records changed, compressed or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(dict(state)))) as before, zipfile.ZipFile(file, "w", method) as after:
        for entry in before.infolist():
            name, data = change(entry.filename, before.read(entry))
            after.writestr(name, data)
        for name, data in (more or {}).items():
            after.writestr(name, data)
    return file.getvalue()


def compressed_bomb(state: State) -> bytes:
    """40 kB that become 40 MB, as a record of that many zeros."""
    return rewritten({**state, "zeros": torch.zeros(10_000_000)}, method=zipfile.ZIP_DEFLATED)


def announced_elements(state: State) -> bytes:
    """A storage said to have 10¹¹ bytes, of which the archive holds 40."""

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data.replace(b"K\x0bt", b"\x8a\x05" + struct.pack("<q", 25_000_000_000)[:5] + b"t")

    return rewritten({**state, "large": torch.zeros(11)}, change)


def announced_elements_in_the_older_format(state: State) -> bytes:
    file = saved({**state, "large": torch.zeros(11)}, legacy=True)
    return file.replace(b"K\x0bNt", b"\x8a\x05" + struct.pack("<q", 25_000_000_000)[:5] + b"Nt")


def expanded_tensor(state: State) -> bytes:
    return saved({**state, "large": torch.zeros(1).expand(300_000, 300_000)})


def beyond_its_storage(state: State) -> bytes:
    return saved(
        {**state, "large": Call(torch._utils._rebuild_tensor_v2, torch.zeros(4).storage(), 0, (9,), (1,), False, {})}
    )


def leading_outside(state: State) -> bytes:
    return rewritten(state, more={"archive/../../outside": b"x"})


def named_twice(state: State) -> bytes:
    with_code = zipfile.ZipFile(io.BytesIO(whole_file(state))).read("archive/data.pkl")
    return rewritten(state, more={"archive/DATA.PKL": with_code})


def overlapping(state: State) -> bytes:
    """Two entries of the archive's list that point at the same bytes."""
    data = bytearray(saved(dict(state)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first, second = [one for one in archive.infolist() if "/data/" in one.filename][:2]
    old, new = (struct.pack("<I", one.header_offset) for one in (second, first))
    place = data.rindex(old + second.filename.encode())
    data[place : place + 4] = new
    return bytes(data)


def script(state: State) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def tar(state: State) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def nested_mapping(state: State) -> bytes:
    return saved({"state_dict": dict(state), "epoch": 3})


def sparse(state: State) -> bytes:
    return saved({**state, "extra": torch.eye(3).to_sparse()})


def quantised(state: State) -> bytes:
    return saved({**state, "extra": torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)})


def without_memory(state: State) -> bytes:
    return saved({**state, "extra": torch.zeros(2, device="meta")})


def whole_module(state: State) -> bytes:
    return saved(torch.nn.Linear(2, 2))


def copied_mappings(state: State) -> bytes:
    """A list that thousands of calls would turn into a mapping each."""
    pairs = b"".join(b"]q\x02(K\x00K\x01e" for _ in range(1000))
    program = b"\x80\x02(]q\x01(" + pairs + b"e" + b"ccollections\nOrderedDict\nh\x01\x85R" * 50_000 + b"t."
    return rewritten(state, lambda name, data: (name, program if name.endswith("data.pkl") else data))


def cut_off(state: State) -> bytes:
    return saved(dict(state))[:-2000]


def cut_off_in_the_older_format(state: State) -> bytes:
    return saved(dict(state), legacy=True)[:-2000]


REFUSED: tuple[tuple[Callable[[State], bytes], str], ...] = (
    (compressed_bomb, "compressed"),
    (announced_elements, "does not hold"),
    (announced_elements_in_the_older_format, "does not hold"),
    (expanded_tensor, "would take"),
    (beyond_its_storage, "beyond its storage"),
    (leading_outside, "leads outside"),
    (named_twice, "name twice"),
    (overlapping, "overlap"),
    (script, "TorchScript"),
    (tar, "tar archive"),
    (nested_mapping, "a mapping under state_dict"),
    (sparse, "_rebuild_sparse_tensor"),
    (quantised, "_rebuild_qtensor"),
    (without_memory, "_rebuild_meta_tensor"),
    (whole_module, "Linear"),
    (copied_mappings, "a tuple where"),
    (cut_off, "damaged archive"),
    (cut_off_in_the_older_format, "cut off"),
)
"""Those that run no code, and the reason why each is refused."""
