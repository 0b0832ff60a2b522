"""Replies of a hostile Hub: names that lead outside the cache, and bodies other than announced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.hub_calls import run

COMMIT, CARD = "a" * 40, b"# Tiny\n"
BARE = "from huggingface_hub import hf_hub_download; hf_hub_download('Org/Tiny', 'README.md')"
OURS = """
from verify.hub import models
from verify.errors import HubError
try:
    models.resolve('Org/Tiny')
except HubError as error:
    print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """One model with a card, listed as ``name``, whose body may be endless, a byte every ``seconds``."""

    protocol_version = "HTTP/1.1"
    headers_of_file: dict[str, str] = {}  # noqa: RUF012
    name, endless, seconds = "README.md", False, 0.0

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.path.startswith("/api"):
            entry = {"size": len(CARD), "oid": "b" * 40, "blobId": "b" * 40, "type": "file"}
            entry |= {"path": self.name, "rfilename": self.name}
            found = [entry] if "/tree/" in self.path else {"id": "Org/Tiny", "sha": COMMIT, "siblings": [entry]}
            self.answer(json.dumps(found).encode(), {"Content-Type": "application/json"})
        elif self.command == "GET" and (self.endless or self.seconds):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    part = b"x" * (1 if self.seconds else 1 << 16)
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    time.sleep(self.seconds)
            except OSError:
                self.close_connection = True
        else:
            self.answer(CARD, {"ETag": '"' + "b" * 40 + '"', "X-Repo-Commit": COMMIT, **self.headers_of_file})

    def answer(self, body, headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def serve(tmp_path):
    """Serve a hostile Hub, and return the environment of a client that knows only it."""
    servers = []

    def begun(**fields):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hostile", (Hub,), fields))
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
            "HF_HOME": str(tmp_path / "home/cache"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }

    yield begun
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize("header", ["ETag", pytest.param("X-Linked-Etag", marks=pytest.mark.stress)])
def test_a_content_is_never_a_path(serve, tmp_path, header):
    environment = serve(headers_of_file={header: '"../../../../fired"'})
    fired = tmp_path / "home/fired"
    subprocess.run([sys.executable, "-c", BARE], env=environment, check=False, capture_output=True, timeout=60)
    assert fired.read_bytes() == CARD
    fired.unlink()
    assert "names the content" in run({**environment, "HF_HOME": str(tmp_path / "home/cache2")}, OURS)
    assert not fired.exists()


@pytest.mark.parametrize(
    "name", ["../x", *(pytest.param(name, marks=pytest.mark.stress) for name in ("/x", "a/../../x", "a\0b", "a//b"))]
)
def test_a_listed_name_never_leads_outside(serve, name):
    assert "lists a file" in run(serve(name=name), OURS)


def test_a_file_ends_where_it_was_announced_to_end(serve, tmp_path):
    began = time.monotonic()
    assert f"after the {len(CARD)} bytes that were announced" in run(serve(endless=True), OURS)
    assert time.monotonic() - began < 30
    assert not list((tmp_path / "home").rglob("*.incomplete"))


def test_a_file_that_drips_is_given_up(serve):
    began = time.monotonic()
    environment = {**serve(seconds=0.5), "VERIFY_HUB_PATIENCE": "1"}
    assert "too slow to be a network" in run(environment, OURS)
    assert time.monotonic() - began < 30
