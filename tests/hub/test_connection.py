"""What the Hub refuses, and faults of the network, over real HTTP."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from helpers.hub_calls import CARD, WEIGHTS, ask, refusal, write_model
from helpers.loopback_hub import LoopbackHub
from safetensors.numpy import save

# huggingface_hub pauses for a second before it resumes a download, and cannot be told otherwise.
NO_PAUSES = "import time; time.sleep = lambda seconds: None\n"


class TestRefusals:
    """What the Hub refuses, in plain words with a next step."""

    def test_missing_repository(self, environment):
        message = refusal(environment, "models.resolve('Org/Nothing')")
        assert "knows no model Org/Nothing" in message
        assert "spelling" in message

    def test_missing_repository_without_a_token(self, tmp_path):
        (tmp_path / "hub").mkdir()
        with LoopbackHub(tmp_path / "hub", missing_status=401) as loopback:
            message = refusal(loopback.environment(tmp_path / "home"), "models.resolve('Org/Nothing')")
        assert "knows no model Org/Nothing" in message
        assert "HF_TOKEN" in message

    def test_missing_revision(self, environment, tiny_model):
        message = refusal(environment, "models.resolve('Org/Tiny@v9')")
        assert "The model Org/Tiny has no revision 'v9'" in message

    @pytest.mark.parametrize("status", [401, 403])
    def test_gated(self, loopback_hub, environment, tiny_model, status):
        loopback_hub.gate("models/Org/Tiny", status)
        message = refusal({**environment, "HF_TOKEN": "hf_secret"}, "models.resolve('Org/Tiny')")
        assert f"Accept its terms on {loopback_hub.url}/Org/Tiny" in message
        assert "HF_TOKEN" in message
        assert "hf_secret" not in message

    def test_forbidden(self, loopback_hub, environment, tiny_model):
        loopback_hub.fail("models/Org/Tiny", 403)
        assert "refused access" in refusal(environment, "models.resolve('Org/Tiny')")

    def test_something_else_than_a_hub(self, loopback_hub, environment, tiny_model):
        loopback_hub.fail("models/Org/Tiny", 200)
        assert "HF_ENDPOINT" in refusal(environment, "models.resolve('Org/Tiny')")

    @pytest.mark.parametrize("home", ["file/home", "space"])
    def test_the_disk(self, environment, tiny_model, tmp_path, home):
        (tmp_path / "file").write_text("not a folder")
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        message = refusal(
            {**environment, "HF_HOME": str(tmp_path / home)},
            "everything('Org/Tiny')",
            before=limit if home == "space" else "",
        )
        assert "could not be stored" in message
        assert "HF_HOME" in message
        assert not list(tmp_path.glob("space/hub/models--Org--Tiny/snapshots/*/model.safetensors"))


class TestPatience:
    """Faults that pass are waited out; faults that stay end in an error, and never in half a file."""

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_look_up_is_repeated(self, loopback_hub, environment, tiny_model, status):
        loopback_hub.fail("api/models/Org/Tiny", status, times=2, headers={"Retry-After": "0"})
        assert ask(environment, "models.resolve('Org/Tiny').revision") == loopback_hub.commit("models/Org/Tiny")
        assert [request.status for request in loopback_hub.requests[:3]] == [status, status, 200]

    def test_retry_after_is_waited_for(self, loopback_hub, environment, tiny_model):
        loopback_hub.fail("api/models/Org/Tiny", 429, times=1, headers={"Retry-After": "1"})
        start = time.monotonic()
        ask({**environment, "VERIFY_HUB_MAX_WAIT": "60"}, "models.resolve('Org/Tiny').revision")
        assert time.monotonic() - start >= 1

    def test_retry_after_is_capped_for_files_too(self, loopback_hub, environment, tiny_model):
        hour = {"Retry-After": "3600", "ratelimit": '"resolvers";r=0;t=3600'}
        loopback_hub.fail("api/models/Org/Tiny", 429, times=1, headers=hour)
        loopback_hub.fail("models/Org/Tiny/README.md", 429, times=1, headers=hour, methods=("GET",))
        assert ask(environment, "models.texts(models.resolve('Org/Tiny'))") == {"README.md": CARD}

    @pytest.mark.parametrize(("status", "words"), [(429, "limits the rate"), (503, "HTTP 503")])
    def test_patience_ends(self, loopback_hub, environment, tiny_model, status, words):
        loopback_hub.fail("models/Org/Tiny", status)
        message = refusal(environment, "models.resolve('Org/Tiny')")
        assert words in message
        assert "run again" in message.lower()
        assert len(loopback_hub.requests) == 5

    def test_a_file_whose_server_fails_in_between(self, loopback_hub, environment, tiny_model):
        loopback_hub.fail("models/Org/Tiny/model.safetensors", 503, times=2, methods=("GET",))
        answer = ask(environment, "everything('Org/Tiny')")
        assert (Path(answer["folder"]) / "model.safetensors").read_bytes() == WEIGHTS

    def test_a_cut_download_is_resumed(self, loopback_hub, environment, tiny_model):
        weights = save({"weight": np.arange(3_000_000, dtype=np.float32)})
        write_model(tiny_model, **{"model.safetensors": weights})
        loopback_hub.cut("models/Org/Tiny/model.safetensors", after=11_000_000)
        answer = ask(environment, "everything('Org/Tiny')", before=NO_PAUSES)
        assert (Path(answer["folder"]) / "model.safetensors").read_bytes() == weights
        # The client writes, and therefore keeps, whole pieces of 10 MiB.
        assert f"bytes={10 * 2**20}-" in [request.range for request in loopback_hub.requests]

    def test_a_reset_connection_is_repeated(self, loopback_hub, environment, tiny_model):
        loopback_hub.cut("models/Org/Tiny/model.safetensors", after=50_000, reset=True)
        answer = ask(environment, "everything('Org/Tiny')")
        assert (Path(answer["folder"]) / "model.safetensors").read_bytes() == WEIGHTS

    @pytest.mark.parametrize(("after", "ignore_range"), [(50_000, False), (11_000_000, True)])
    def test_a_download_that_never_completes(
        self, loopback_hub, environment, tiny_model, after, ignore_range, tmp_path
    ):
        write_model(tiny_model, **{"model.safetensors": save({"weight": np.zeros(3_000_000, np.float32)})})
        loopback_hub.cut("models/Org/Tiny/model.safetensors", after, times=None, ignore_range=ignore_range)
        message = refusal(environment, "everything('Org/Tiny')", before=NO_PAUSES)
        assert "No partial file was kept" in message
        assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.stat().st_size > 40_000]
