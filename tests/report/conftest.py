import pytest

from verify.report import progress, sweep


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The time that the views of runs and sweeps see, which only a test moves on."""
    made = Clock()
    for module in (progress, sweep):
        monkeypatch.setattr(module, "time", made)
    return made
