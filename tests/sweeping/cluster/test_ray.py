"""Sweeps on a real Ray cluster of two nodes, one of which may be lost."""

import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from sweeping.cluster.ray_cluster import Cluster, title
from sweeping.sweeping import CALM, Suite, assert_whole, held, is_running, predictions, wait_until
from verify.sweeping.cluster.ray import too_small

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


def at_work(*nodes) -> list[int]:
    """The processes of nodes that work on units."""
    return [pid for node in nodes for pid in node.working()]


@contextmanager
def held_with_a_unit(sweep, *nodes):
    """Hold what works on units on these nodes, as soon as something does: the sweep cannot end meanwhile."""
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline, "no unit came"
        wait_until(lambda: at_work(*nodes) or sweep.is_over, 120)
        with held(at_work(*nodes)) as processes:
            assert not sweep.is_over, f"the sweep was over before it could be disturbed: {sweep.process.communicate()}"
            if processes and set(processes) <= set(at_work(*nodes)):  # one held idle would keep the next unit waiting
                yield
                return


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
    with held_with_a_unit(sweep, *cluster.nodes):
        wait_until(lambda: all(map(is_busy, cluster.nodes)), 60)  # both nodes take part
    assert_whole(sweep.ended(), undisturbed, tmp_path)
    assert all(is_running(node.process.pid) for node in cluster.nodes)
    assert_nothing_is_left(tmp_path)
    again = suite.sweep("known", tmp_path, *ON_RAY, at(cluster))
    assert again.table == undisturbed.table


def test_the_loss_of_a_node_loses_nothing(suite, cluster, undisturbed, tmp_path):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    lost = cluster.nodes[1]
    with held_with_a_unit(sweep, lost):
        lost.kill()
    try:
        found = sweep.ended()
        assert "is begun again. Its Ray node was lost" in found.err
        assert_whole(found, undisturbed, tmp_path)
    finally:
        cluster.nodes.remove(lost)
        cluster.add()


def test_an_interruption_and_killed_processes_lose_nothing(suite, cluster, undisturbed, tmp_path):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    with sweep.held_at_work(workers=lambda: at_work(*cluster.nodes)):
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
    with again.held_at_work(done, lambda: at_work(*cluster.nodes)) as victims:
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
    assert_whole(again.ended(), undisturbed, tmp_path)
    assert done.items() <= predictions(tmp_path).items(), "what was done is part of the result"
    assert_nothing_is_left(tmp_path)


def test_an_interruption_while_units_are_on_their_way(suite, cluster, tmp_path):
    sweep = suite.begin("known", tmp_path, *ON_RAY, at(cluster))
    with held_with_a_unit(sweep, *cluster.nodes):
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


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("engine.device=cuda", "has no GPU"),
        ("engine.device=cuda:1", "a GPU of its own"),
        ("engine.threads=4", "every model needs 4 CPUs on one node, and the largest node of the Ray cluster has 1."),
    ],
    ids=["a GPU", "one of several GPUs", "cores"],
)
def test_what_no_node_of_the_cluster_has_is_refused(suite, cluster, tmp_path, setting, words):
    assert words in one_paragraph(suite.sweep("known", tmp_path, *ON_RAY, at(cluster), setting))


@pytest.mark.parametrize(
    ("needed", "problem"),
    [
        ({"CPU": 8}, None),
        ({"CPU": 9}, "9 CPUs on one node, and the largest node of the Ray cluster has 8"),
        ({"GPU": 2, "CPU": 0}, None),
        ({"GPU": 3, "CPU": 0}, "3 GPUs on one node, and the largest node of the Ray cluster has 2"),
        ({"GPU": 1, "CPU": 4}, None),
        ({"GPU": 1, "CPU": 5}, "5 CPUs on one node, and the largest one that has the GPUs has 4"),
    ],
)
def test_a_model_fits_where_one_node_has_all_of_what_it_needs(needed, problem):
    nodes = [{"Resources": {"CPU": 8.0}}, {"Resources": {"CPU": 4.0, "GPU": 2.0}}, {"Resources": {"memory": 1.0}}]
    assert too_small(nodes, needed) == problem
    assert too_small([], {"CPU": 1}) == "1 CPU on one node, and the largest node of the Ray cluster has 0"
