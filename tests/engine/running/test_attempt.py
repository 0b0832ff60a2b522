import gc
import weakref

import pytest

from verify.engine.running.attempt import attempt
from verify.errors import BlockedError, EngineError


class Model:
    pass


def failing(models, error):
    model = Model()
    models.append(weakref.ref(model))
    try:
        int(f"{model} is too large")
    except ValueError as cause:
        raise error from cause


def test_what_succeeds_is_returned():
    assert attempt(lambda: 7) == 7


def test_an_error_of_ours_is_returned_and_does_not_keep_the_model():
    models = []
    found = attempt(lambda: failing(models, BlockedError("the head is missing")))
    assert isinstance(found, BlockedError)
    assert str(found) == "the head is missing"
    assert models[0]() is None


def test_any_other_error_is_named_on_one_line_and_told_whole_in_the_log(capsys):
    models = []
    found = attempt(lambda: failing(models, ValueError("no such\nlayer")))
    assert isinstance(found, EngineError)
    assert str(found) == "ValueError: no such layer"
    assert "Traceback" in capsys.readouterr().err
    gc.collect()  # the error and the frame of the function that it was handed to hold each other
    assert models[0]() is None


@pytest.mark.parametrize("error", [BrokenPipeError, KeyboardInterrupt])
def test_what_must_end_the_process_is_raised(error):
    with pytest.raises(error):
        attempt(lambda: failing([], error))
