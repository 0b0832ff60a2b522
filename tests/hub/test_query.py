"""The list of models, asked of a Hub on loopback HTTP by the real client."""

import json

import pytest
from helpers.hub_calls import run

CODE = """
import json
import time
from verify.configuration.schema import HubQuery
from verify.errors import VerifyError
from verify.hub.query import listed

pause = time.sleep
time.sleep = lambda seconds: pause(seconds / 100)
try:
    answer = listed(HubQuery(**{fields!r}))
except VerifyError as error:
    answer = [type(error).__name__, str(error)]
print(json.dumps(answer))
"""


@pytest.fixture
def many(loopback_hub):
    """A Hub with models of two organisations; more downloads come with higher numbers."""
    for number in range(7):
        for owner in ("Org", "Other"):
            repository = f"models/{owner}/model-{number}"
            (loopback_hub.root / repository).mkdir(parents=True)
            task = "text-classification" if number % 2 else "translation"
            tags = ("de", "license:mit") if number > 3 else ("license:mit",)
            loopback_hub.describe(repository, downloads=10 * number + (owner == "Org"), task=task, tags=tags)
    return loopback_hub


def ask(environment, **fields):
    return json.loads(run(environment, CODE.format(fields=fields)))


def test_the_most_downloaded_models_come_first_over_all_pages(many, environment):
    found = ask(environment, top=5)
    assert found == ["Org/model-6", "Other/model-6", "Org/model-5", "Other/model-5", "Org/model-4"]


def test_every_part_of_a_query_narrows_it(many, environment):
    assert ask(environment, author="Org", task="text-classification") == ["Org/model-5", "Org/model-3", "Org/model-1"]
    assert ask(environment, author="Other", tags=["de", "license:mit"], top=2) == ["Other/model-6", "Other/model-5"]
    assert ask(environment, search="MODEL-3") == ["Org/model-3", "Other/model-3"]
    assert ask(environment, author="Nobody") == []


def test_a_hub_that_is_overloaded_for_a_while_is_asked_again(many, environment):
    many.fail("api/models", 503, times=2)
    assert ask(environment, author="Org", top=1) == ["Org/model-6"]


def test_a_hub_that_does_not_answer_is_named(many, environment):
    many.fail("api/models", 503)
    kind, message = ask(environment)
    assert (kind, many.url in message) == ("HubError", True)
    assert "the list of models (HTTP 503), also when asked again" in message
    many.stop()
    kind, message = ask(environment)
    assert kind == "HubError"
    assert "could not be reached" in message
