"""The Hub that the other tests talk to."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from helpers.hub_calls import CARD


class TestLoopbackHub:
    def test_it_serves_nothing_outside_its_root(self, loopback_hub, tiny_model, tmp_path):
        (tmp_path / "secret").write_text("secret")
        (tiny_model / "link").symlink_to(tmp_path / "secret")
        for path in (
            "Org/Tiny/resolve/main/../../../../secret",
            "Org/Tiny/resolve/main/link",
            "%2e%2e/x/resolve/main/y",
        ):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{loopback_hub.url}/{path}")
            assert caught.value.code == 404

    def test_ranges(self, loopback_hub, tiny_model):
        def get(wanted: str) -> tuple[int, bytes]:
            request = urllib.request.Request(
                f"{loopback_hub.url}/Org/Tiny/resolve/main/README.md", headers={"Range": wanted}
            )
            with urllib.request.urlopen(request) as response:
                return response.status, response.read()

        assert get("bytes=4-6") == (206, CARD[4:7].encode())
        assert get("bytes=-5") == (206, CARD[-5:].encode())
        with pytest.raises(urllib.error.HTTPError, match="416"):
            get("bytes=9999-")

    def test_faults_are_counted(self, loopback_hub, tiny_model):
        loopback_hub.fail("models/Org/Tiny/README.md", 500, times=1)
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(f"{loopback_hub.url}/Org/Tiny/resolve/main/README.md")
        with urllib.request.urlopen(f"{loopback_hub.url}/Org/Tiny/resolve/main/README.md") as response:
            assert response.read().decode() == CARD
        assert [request.status for request in loopback_hub.requests] == [500, 200]
