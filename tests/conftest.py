from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_calls import write_model
from loopback_hub import LoopbackHub


@pytest.fixture
def loopback_hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A running Hub on 127.0.0.1 with an empty folder tree, ``loopback_hub.root``, to put repositories into."""
    root = tmp_path / "hub"
    root.mkdir()
    with LoopbackHub(root) as hub:
        yield hub


@pytest.fixture
def environment(loopback_hub: LoopbackHub, tmp_path: Path) -> dict[str, str]:
    """The environment of a subprocess that knows only the loopback Hub, with an empty cache."""
    return loopback_hub.environment(tmp_path / "home")


@pytest.fixture
def tiny_model(loopback_hub: LoopbackHub) -> Path:
    """The folder that the loopback Hub serves as the model Org/Tiny."""
    return write_model(loopback_hub.root / "models/Org/Tiny")
