"""The Hub's own conversion of a pickle-only model, asked of a Hub on loopback HTTP by the real client."""

from __future__ import annotations

import json

import pytest
from helpers.hub_calls import WEIGHTS, run, write_model

from verify.hub.conversion import BOT, TITLE

CODE = "import json, verify.hub.conversion as conversion; print(json.dumps(conversion.converted_revision('Org/Old')))"
PICKLE = b"\x80\x04the weights"


@pytest.fixture
def old(loopback_hub):
    """The folder that the Hub serves as Org/Old, whose weights are a pickle alone."""
    folder = write_model(loopback_hub.root / "models/Org/Old", **{"pytorch_model.bin": PICKLE})
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def convert(loopback_hub, tmp_path):
    """Open a pull request with the conversion of ``pickle``, and return its reference."""

    def opened(name, pickle=PICKLE, converted="model.safetensors", title=TITLE, author=BOT, status="open"):
        folder = write_model(tmp_path / name, **{"pytorch_model.bin": pickle, converted: WEIGHTS})
        if converted != "model.safetensors":
            (folder / "model.safetensors").unlink()
        return f"refs/pr/{loopback_hub.discuss('models/Org/Old', title, author, status, folder)}"

    return opened


def ask(environment):
    return json.loads(run(environment, CODE))


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_the_newest_conversion_of_the_same_pickle_is_found_in_four_requests(
    loopback_hub, environment, old, convert, name
):
    loopback_hub.discuss("models/Org/Old", "Which licence?", "someone")
    convert("before", pickle=b"\x80\x04earlier weights")
    same = convert("same", converted=name)
    convert("after", pickle=b"\x80\x04other weights")
    assert ask(environment) == same
    assert len(loopback_hub.requests) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"author": "someone"},
        {"title": "Better weights"},
        {"status": "closed"},
        {"converted": "notes.txt"},
        {"pickle": b"\x80\x04other weights"},
    ],
)
def test_nothing_else_counts_as_one(environment, old, convert, other):
    convert("other", **other)
    assert ask(environment) is None


def test_a_hub_that_fails_or_is_out_of_reach_gives_none(loopback_hub, environment, old, convert):
    convert("same")
    loopback_hub.fail("api/models/Org/Old", 503, times=1)
    assert ask(environment) is None
    loopback_hub.fail("api/models/Org/Old", 200, times=1)
    assert ask(environment) is None
    assert ask({**environment, "HF_HUB_OFFLINE": "1"}) is None
    loopback_hub.stop()
    assert ask(environment) is None
