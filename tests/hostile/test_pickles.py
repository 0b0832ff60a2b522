"""Models whose weights are pickles: refused, or loaded where the user allows it, and never run."""

from __future__ import annotations

import contextlib
import json

import pytest
import torch
from helpers import pickle_making
from helpers.hub_calls import run
from helpers.pickle_making import FIRING, REFUSED, saved

from hostile.harness import variants
from hostile.whole_models import logits, make_place, scores
from verify.hub.conversion import BOT, TITLE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("pickles"))


@variants(pickle_making.among_tensors, *(one for one in FIRING if one is not pickle_making.among_tensors))
def test_a_payload_does_not_run_with_the_switch_and_is_refused(place, tmp_path, monkeypatch, variant):
    model = place.pickled(f"firing-{variant.__name__}", variant(place.model().state_dict()))
    payload = tmp_path / "fired"
    monkeypatch.setenv("VERIFY_PAYLOAD", str(payload))
    if variant is not pickle_making.first_of_several_pickles:  # torch reads on after what it expects, and no further
        with contextlib.suppress(Exception):
            torch.load(model / "pytorch_model.bin", weights_only=False)
        assert payload.exists()
        payload.unlink()

    found = place.check(f"./{model.name}", "allow_pickle=true", payload=payload)

    ((kind, reason),) = found.verdicts
    assert (found.code, kind) == (3, "blocked")
    assert "is a pickle that is not loaded" in reason
    assert not payload.exists()


@variants(*(build for build, _ in REFUSED))
def test_what_is_no_mapping_of_tensors_is_refused_with_the_switch(place, variant):
    model = place.pickled(f"refused-{variant.__name__}", variant(place.model().state_dict()))

    found = place.check(f"./{model.name}", "allow_pickle=true")

    ((kind, reason),) = found.verdicts
    assert (found.code, kind) == (3, "blocked")
    assert dict(REFUSED)[variant] in reason


def one_archive(place, model):
    (model / "pytorch_model.bin").write_bytes(saved(place.model().state_dict()))


def older_format(place, model):
    (model / "pytorch_model.bin").write_bytes(saved(place.model().state_dict(), legacy=True))


def several_files(place, model):
    (model / "pytorch_model.bin").unlink()
    state, index = place.model().state_dict(), {}
    for number, names in enumerate((list(state)[::2], list(state)[1::2]), start=1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        (model / file).write_bytes(saved({name: state[name] for name in names}))
        index |= dict.fromkeys(names, file)
    (model / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


@variants(one_archive, older_format, several_files)
def test_a_pickled_model_equals_its_safetensors_twin_to_the_bit(place, variant):
    model = place.pickled(f"honest-{variant.__name__}", b"")
    variant(place, model)

    twin, found = place.check("./base"), place.check(f"./{model.name}", "allow_pickle=true")

    assert [kind for kind, _ in found.verdicts] == [kind for kind, _ in twin.verdicts]
    assert scores(found) == scores(twin)
    assert (logits(place, found) == logits(place, twin)).all()
    assert not list(model.glob("*.safetensors"))


def test_without_the_switch_the_refusal_names_it_and_the_hubs_conversion(place, loopback_hub, environment):
    data = saved(place.model().state_dict())
    (loopback_hub.root / "models/Org").mkdir(parents=True)
    place.pickled("refused-on-the-hub", data).rename(loopback_hub.root / "models/Org/Old")
    converted = place.pickled("conversion", data)
    (converted / "model.safetensors").write_bytes((place.base / "model.safetensors").read_bytes())
    number = loopback_hub.discuss("models/Org/Old", TITLE, BOT, "open", converted)
    asked = (
        "from verify.checking.subject import gated; from verify.hub import models\n"
        "from verify.configuration.schema import VerifyConfig\n"
        "try: gated(models.resolve('Org/Old'), VerifyConfig())\nexcept Exception as error: print(error)"
    )

    message = run(environment, asked)

    assert "allow_pickle=true" in message
    assert f"Org/Old@refs/pr/{number}" in message
