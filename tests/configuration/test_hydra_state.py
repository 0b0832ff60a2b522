"""What Hydra knows of the calling program is as before, whatever was composed meanwhile."""

import threading

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from verify.configuration.compose import compose_config
from verify.errors import UsageError, VerifyError


@pytest.fixture
def store():
    """The store of schemas, in which the calling program has some that are named as ours are."""
    found = ConfigStore.instance()
    found.store(name="schema", node={"mine": 7})
    found.store(group="policy", name="schema", node={"mine": 8})
    yield found
    del found.repo["schema.yaml"], found.repo["policy"]


def test_schemas_of_the_same_name_stay(store):
    assert compose_config("m", ["policy=strict"]).policy.probe_share == 1.0
    with pytest.raises(UsageError):
        compose_config("m", ["policy.tolerance=x"])
    assert store.load("schema.yaml").node.mine == 7
    assert store.load("policy/schema.yaml").node.mine == 8


def test_a_composition_that_is_open_goes_on(tmp_path):
    (tmp_path / "own.yaml").write_text("width: 3\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        compose_config("m", [])
        with pytest.raises(UsageError):
            compose_config("m", ["limit=x"])
        assert compose("own").width == 3
    assert not GlobalHydra.instance().is_initialized()


def test_threads_compose_at_once():
    found: list[int | VerifyError | None] = [None] * 8

    def composed(number: int) -> None:
        try:
            found[number] = compose_config("m", [f"limit={number + 1}"]).limit
        except VerifyError as error:
            found[number] = error

    threads = [threading.Thread(target=composed, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == list(range(1, 9))
