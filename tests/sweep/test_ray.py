"""Sweeps on a real Ray cluster of two nodes, one of which may be lost."""

import os
import signal
import threading
import time
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from sweep.ray_cluster import Cluster, title
from sweep.sweeping import CALM, Suite, assert_whole, is_at_work, is_running, predictions, wait_until

pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes of a node in /proc"),
]

MODELS = ["honest-two-tasks-1", "inflated-2-points-1", "no-card-1"]
ON_RAY = ("policy.stop=never", "engine=ray", "engine.device=cpu")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("r"))
    try:
        made.add()
        made.add()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Suite:
    return Suite.with_a_long_task(tmp_path_factory.mktemp("ray"), MODELS)


@pytest.fixture(scope="module")
def suite(here, cluster) -> Suite:
    """The same suite, for a process that may use the cluster."""
    return replace(here, environment=cluster.environment())


@pytest.fixture(scope="module")
def undisturbed(here, tmp_path_factory):
    """What workers of this machine find."""
    return here.sweep("known", tmp_path_factory.mktemp("undisturbed"), *CALM)


@pytest.fixture(scope="module")
def with_a_wrong_token(here, cluster, tmp_path_factory):
    """A sweep that Ray refuses after twenty seconds, in which the others go on."""
    suite = replace(here, environment=cluster.environment(RAY_AUTH_TOKEN="0" * 64))
    return suite.begin("known", tmp_path_factory.mktemp("refused"), *ON_RAY, at(cluster))


def at(cluster) -> str:
    return f"engine.address={cluster.address}"


def is_busy(node) -> bool:
    return bool(node.working())


def one_paragraph(found) -> str:
    assert found.code == 2, found.err
    lines = [line for line in found.err.splitlines() if line.strip()]
    assert len(lines) == 1, found.err
    return lines[0]


def test_a_machine_without_a_cluster_says_how_to_start_one(here, tmp_path):
    if any("raylet" in title(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")):
        pytest.skip("a Ray cluster runs on this machine")
    alone = replace(here, environment={"RAY_TMPDIR": str(tmp_path), "RAY_AUTH_TOKEN": "0" * 64})
    assert "ray start --head" in one_paragraph(alone.sweep("known", tmp_path / "results", *ON_RAY))


def test_a_cluster_finds_what_the_workers_of_one_machine_find_and_is_left_running(
    suite, cluster, undisturbed, with_a_wrong_token, tmp_path
):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    seen = set()
    while not sweep.is_over:
        seen |= {place for place, node in enumerate(cluster.nodes) if is_busy(node)}
        time.sleep(0.02)
    assert_whole(sweep.ended(), undisturbed, tmp_path)
    assert seen == {0, 1}, "both nodes take part"
    assert all(is_running(node.process.pid) for node in cluster.nodes)
    assert_nothing_is_left(tmp_path)
    again = suite.sweep("known", tmp_path, *ON_RAY, at(cluster))
    assert again.table == undisturbed.table


def test_the_loss_of_a_node_loses_nothing(suite, cluster, undisturbed, tmp_path):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    lost = cluster.nodes[1]
    wait_until(lambda: is_busy(lost) or sweep.is_over, 120)
    assert not sweep.is_over
    lost.kill()
    try:
        assert_whole(sweep.ended(), undisturbed, tmp_path)
    finally:
        cluster.nodes.remove(lost)
        cluster.add()


def test_an_interruption_and_killed_processes_lose_nothing(suite, cluster, undisturbed, tmp_path):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    wait_until(lambda: is_at_work(tmp_path) or sweep.is_over, 120)
    done = predictions(tmp_path)
    begun = time.monotonic()
    sweep.process.send_signal(signal.SIGINT)
    found = sweep.ended()
    assert time.monotonic() - begun < 10
    assert found.code == 130
    assert all(is_running(node.process.pid) for node in cluster.nodes)
    wait_until(lambda: not any(map(is_busy, cluster.nodes)), 20)
    assert_nothing_is_left(tmp_path)

    done |= predictions(tmp_path)
    again = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    wait_until(lambda: predictions(tmp_path) != done or again.is_over, 120)
    victims = [pid for node in cluster.nodes for pid in node.working()]
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert_whole(again.ended(), undisturbed, tmp_path)
    assert done.items() <= predictions(tmp_path).items(), "what was done is part of the result"
    assert_nothing_is_left(tmp_path)


def test_an_interruption_while_units_are_on_their_way(suite, cluster, tmp_path):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    wait_until(lambda: any(map(is_busy, cluster.nodes)) or sweep.is_over, 120)
    sweep.process.send_signal(signal.SIGINT)
    found = sweep.ended()
    assert found.code == 130, found.err
    wait_until(lambda: not any(map(is_busy, cluster.nodes)), 20)
    assert_nothing_is_left(tmp_path)


def assert_nothing_is_left(results: Path) -> None:
    assert not [file for name in ("progress", "ray") for file in (results / "sweeps" / name).glob("*")]


def test_a_cluster_that_wants_a_token_says_how_to_give_it(here, cluster, with_a_wrong_token, tmp_path):
    given = {**cluster.environment(), "HOME": str(tmp_path), "RAY_AUTH_TOKEN": ""}
    found = replace(here, environment=given).sweep("known", tmp_path / "results", *ON_RAY, at(cluster))
    assert "Set RAY_AUTH_TOKEN" in one_paragraph(found)
    assert "refused the token" in one_paragraph(with_a_wrong_token.ended())


@pytest.mark.parametrize(
    ("address", "words"),
    [("nowhere", "must be HOST:PORT"), ("127.0.0.1:1", "nothing answers there"), ("127.0.0.1:99999", "HOST:PORT")],
)
def test_an_address_of_no_cluster_is_refused(here, tmp_path, address, words):
    said = one_paragraph(here.sweep("known", tmp_path, *ON_RAY, f"engine.address={address}"))
    assert words in said


def test_a_server_that_is_not_ray_is_refused_at_once(here, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"engine.address=127.0.0.1:{server.server_port}"
        said = one_paragraph(here.sweep("known", tmp_path, *ON_RAY, address))
    finally:
        server.shutdown()
        server.server_close()
    assert "what answers there is not a Ray cluster" in said


def test_a_gpu_that_the_cluster_does_not_have_is_refused(suite, cluster, tmp_path):
    for device, words in (("cuda", "has no GPU"), ("cuda:1", "a GPU of its own")):
        found = suite.sweep("known", tmp_path, *ON_RAY, at(cluster), f"engine.device={device}")
        assert words in one_paragraph(found)
