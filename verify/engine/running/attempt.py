"""Doing a part of a job so that its failure is a result, whatever it is."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from typing import TypeVar

from verify.engine.inputs.bounded_tokenizer import is_panic
from verify.errors import EngineError, VerifyError

T = TypeVar("T")


def attempt(part: Callable[[], T]) -> T | VerifyError:
    """What ``part`` returns, else what failed. Only what must end the process is raised.

    The error does not keep the frames that it came from, for they hold the model and its memory.
    """
    try:
        return part()
    except VerifyError as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    except BrokenPipeError:
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        with contextlib.suppress(OSError):  # the log may lie on a full disk
            traceback.print_exc()
        return EngineError(f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
