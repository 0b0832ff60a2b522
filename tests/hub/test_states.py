import os

import pytest

from verify.errors import EngineError
from verify.hub.states import require_unchanged, states_of


@pytest.mark.parametrize("change", ["longer", "same length", "replaced with the same time", "gone"])
def test_a_file_that_changed_is_named(tmp_path, change):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    states = states_of(tmp_path, ["model.safetensors", "not there"])
    require_unchanged(states)
    before = file.stat()
    if change == "gone":
        file.unlink()
    elif change == "longer":
        file.write_bytes(b"weights and more")
    elif change == "same length":
        file.write_bytes(b"strange")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        other = tmp_path / "other"
        other.write_bytes(b"strange")
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(file)
    with pytest.raises(EngineError, match=r"model\.safetensors changed while"):
        require_unchanged(states)
