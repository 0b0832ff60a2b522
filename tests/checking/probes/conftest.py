from collections.abc import Iterator
from pathlib import Path

import pytest

from checking.probes.reruns import Engine, Place


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Runs every job of a module in this process."""
    engine = Engine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("verify.engine.running.launch.run_jobs", engine)
        yield engine


@pytest.fixture
def place(tmp_path: Path, engine: Engine) -> Place:
    return Place(tmp_path)
