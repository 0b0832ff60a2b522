import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import logging as absl_logging
from helpers import forks
from helpers.durations import (  # noqa: F401
    pytest_collection_modifyitems,
    pytest_runtest_logreport,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
from helpers.hub_calls import write_model
from helpers.loopback_hub import LoopbackHub
from hypothesis import HealthCheck, settings

# rouge-score imports absl, whose log handler keeps the standard error that it finds, here one that pytest captures, and
# closes it when Hydra sets logging up; it leaves the real one alone.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

# before any test module is imported, and for every process that a test starts: never the secret of whoever tests
os.environ["VERIFY_SECRET"] = secrets.token_hex(32)

forks.install()
# what a script has started in the background ignores Ctrl-C, and so would all that tests start
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine is no failure: what is fast enough is for the benchmarks to say
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


REALLY_STARTED = ("hostile", "processes")
"""Rooms whose tests are about the start of a process, too: no fork stands for it there (helpers/forks.py)."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    room = item.path.relative_to(Path(__file__).parent).parts[0]
    with forks.for_real(room in REALLY_STARTED or item.get_closest_marker("real_start") is not None):
        return (yield)


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """What a process of a cluster does to its own import path for good is undone after a test that plays one."""
    path, names = list(sys.path), ("PYTHONSAFEPATH", "PYTHONPATH")
    before = {name: os.environ[name] for name in names if name in os.environ}
    yield
    sys.path[:] = path
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(before)


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
