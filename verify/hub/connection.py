"""The connection to the Hub: bounded retries around ``huggingface_hub``, and its failures in plain words.

``huggingface_hub`` itself repeats file requests (408, 429 and 5xx on HEAD, 408 and 429 on GET, five times) and resumes
cut downloads. It does not repeat repository look-ups, nor a file whose GET meets a 5xx or a reset connection; it waits
as long as a Retry-After header asks, look-ups have no time-out, and where a server ignores Range, a cut download starts
over without end. This module fills those gaps; :mod:`verify.hub.client` bounds the replies themselves.

The environment variable ``VERIFY_HUB_MAX_WAIT`` (seconds, 120 by default) bounds every wait before a retry.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from verify.errors import HubError, VerifyError
from verify.hub.replies import is_own

if TYPE_CHECKING:
    import httpx2

    from verify.hub.client import Ledger

RETRIES = 4
TIMEOUT = 20.0  # seconds of silence
SERVER_ERRORS = frozenset({500, 502, 503, 504})
TRANSIENT = SERVER_ERRORS | {408, 429}

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def patiently(call: Callable[[], _T], statuses: frozenset[int]) -> _T:
    """Run ``call``, and again, at most ``RETRIES`` times, after a broken connection or one of the HTTP ``statuses``.

    Waits 1, 2, 4 … seconds or what the server's Retry-After asks, but never longer than ``VERIFY_HUB_MAX_WAIT``. The
    last failure is raised as it is. A server that stays silent is asked no longer than for ``VERIFY_HUB_PATIENCE``.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    from verify.hub.client import patience

    silent = 0.0
    for attempt in range(RETRIES + 1):
        bound_session()
        wait: float | None = None
        try:
            return call()
        except HfHubHTTPError as error:
            if error.response.status_code not in statuses or attempt == RETRIES:
                raise
            cause: Exception = error
            wait = _retry_after(error.response.headers)
        except httpx2.TransportError as error:
            # No connection at all mostly means no network: the local cache should answer without delay.
            if isinstance(error, httpx2.ConnectError | httpx2.ProxyError) or attempt == RETRIES:
                raise
            silent += TIMEOUT if isinstance(error, httpx2.TimeoutException) else 0.0
            if silent >= patience():
                raise
            cause = error
        wait = min(2.0**attempt if wait is None else wait, _max_wait())
        _log.warning("%s; trying again in %.0f s", str(cause).partition("\n")[0], wait)
        time.sleep(wait)
    raise AssertionError("unreachable")


def is_unreachable(error: Exception) -> bool:
    """Say whether the Hub did not answer, or only with overload or a fault of its own: the local cache may stand in."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRANSIENT
    return isinstance(error, httpx2.TransportError | OfflineModeIsEnabled)


@contextmanager
def explained(what: str, revision: str | None) -> Iterator[None]:
    """Turn whatever the Hub's client raises into a HubError; ``what`` reads like "the model ORG/NAME"."""
    try:
        yield
    except VerifyError:
        raise
    except Exception as error:
        raise HubError(_explanation(error, what, revision)) from error


def _explanation(error: BaseException, what: str, revision: str | None) -> str:
    import httpx2
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    kind, _, name = what.rpartition(" ")
    page = f"{ENDPOINT}/{'datasets/' if kind.endswith('set') else ''}{name}"
    start = what[0].upper() + what[1:]
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _explanation(error.__cause__, what, revision)
    if isinstance(error, errors.GatedRepoError):
        return (
            f"Access to {what} is gated. Accept its terms on {page}, set HF_TOKEN to "
            "an access token of the account that did so, and run again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{start} has no revision {revision!r}. Its branches and commits are listed on {page}."
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) == 401:
        return (
            f"{ENDPOINT} knows no {what.removeprefix('the ')}, or keeps it private. Check the spelling; if it is "
            "private, set HF_TOKEN to a token that may read it; if HF_TOKEN is set, check that it is still valid."
        )
    status = _status(error)
    if status == 403:
        return f"{ENDPOINT} refused access to {what} (403). Set HF_TOKEN to a token that may read it and run again."
    if status == 429:
        return (
            f"{ENDPOINT} limits the rate of requests and still refused {what} after {RETRIES} retries (429). Wait some "
            "minutes and run again; a token in HF_TOKEN raises the limit."
        )
    if status is not None:
        return f"{ENDPOINT} failed to serve {what} (HTTP {status}), also when asked again. Run again later."
    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return (
            f"{start}{f' at revision {revision}' if revision else ''} is not whole in the local cache "
            f"({HF_HUB_CACHE}), and HF_HUB_OFFLINE forbids a download. Unset it and run again with a network."
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ProxyError | httpx2.UnsupportedProtocol):
        return (
            f"{ENDPOINT} could not be reached ({error}), and {what} is not whole in the local cache. Check "
            "the network, the proxy and HF_ENDPOINT, then run again."
        )
    if isinstance(error, httpx2.TransportError):
        return (
            f"The connection to {ENDPOINT} broke while {what} was read ({error}), also when tried again. No partial "
            "file was kept. Check the network and run again."
        )
    if isinstance(error, OSError) and error.errno is not None:
        advice = (
            "Free some space, or set HF_HOME to a folder on a larger disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "Make it writable, or set HF_HOME to a folder that is"
        )
        return f"{start} could not be stored in {HF_HUB_CACHE}: {error.strerror}. {advice}, and run again."
    return (
        f"{ENDPOINT} did not answer for {what} as the Hub does ({type(error).__name__}: {str(error)[:200]}). Check "
        "HF_ENDPOINT and the proxy, then run again."
    )


def _status(error: BaseException) -> int | None:
    from huggingface_hub.errors import HfHubHTTPError

    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _max_wait() -> float:
    try:
        return max(0.0, float(os.environ.get("VERIFY_HUB_MAX_WAIT", "120")))
    except ValueError as error:
        raise HubError("The environment variable VERIFY_HUB_MAX_WAIT must be a number of seconds.") from error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read the wait in seconds that a server asks for, from Retry-After or the Hub's ``ratelimit`` header."""
    asked = headers.get("Retry-After", "").strip()
    if not asked.isdecimal():
        reset = re.search(r"\br=0\s*;\s*t=(\d+)", headers.get("ratelimit", ""))
        asked = reset[1] if reset else ""
    return float(asked) if asked else None


def bound_session() -> Ledger:
    """Bound what the client of huggingface_hub may do from now on, and begin to count for one question.

    Call it once in a process that loads data, too: `datasets` asks by the same client. Silence is bounded, waits before
    retries, and all that :mod:`verify.hub.client` bounds. A mirror's files do not come through ``hf_xet``, whose
    downloads nothing here can bound.
    """
    from huggingface_hub import constants, get_session, set_client_factory

    from verify.hub.client import BoundedClient, Ledger

    session = get_session()
    if not isinstance(session, BoundedClient):
        ledger, before = Ledger(), session.event_hooks["request"]
        hooks = {"request": [*before, _bound_silence], "response": [_bound_wait]}
        set_client_factory(lambda: BoundedClient(ledger, event_hooks=hooks, follow_redirects=True, timeout=TIMEOUT))
        if not is_own(constants.ENDPOINT):
            constants.HF_HUB_DISABLE_XET = True
        session = get_session()
        assert isinstance(session, BoundedClient)
    session.ledger.begin()
    return session.ledger


def _bound_silence(request: httpx2.Request) -> None:
    from verify.hub.client import patience

    timeout = request.extensions.get("timeout") or {}
    parts = ("connect", "read", "write", "pool")
    request.extensions["timeout"] = {part: min(timeout.get(part) or TIMEOUT, patience()) for part in parts}


def _bound_wait(response: httpx2.Response) -> None:
    asked = _retry_after(response.headers)
    if asked is not None:
        response.headers.pop("ratelimit", None)
        response.headers["Retry-After"] = str(int(min(asked, _max_wait())))
