"""The client of ``huggingface_hub`` with bounds on every reply: its names, its bytes, and the time that it takes.

The client's own time-outs bound the silence between two bytes only, and nothing bounds a reply's size. Here a thread of
its own reads each reply, so that one that drips, in its headers, in a chunk's length or in its body, is given up after
a time that depends on what came: ``VERIFY_HUB_PATIENCE`` seconds (40 by default) of waiting in all, and one more for
every 4 KiB. A file may have the size that the list of its repository, or the reply to HEAD, announced for it.

Bytes that ``hf_xet`` downloads do not come through here. See :mod:`verify.hub.replies` for the names.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import queue
import socket
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2

from verify.errors import HubError
from verify.hub.replies import is_on_hub, require_headers, require_listing

RATE = 4096
"""Bytes a second that a reply must bring in the mean: eight downloads at once take 32 kB/s."""
LOOK_UP = 128 * 2**20
"""The most bytes of an answer that is read into memory."""
UNANNOUNCED = 2**30
"""The most bytes of a file whose size was not told beforehand."""
ERROR_PAGE = 2**20
LOOK_UPS = 2000
"""The most look-ups for one question: the pages of a list are so many, and a question asks few others."""
BREAKS = 5
_PIECE = 2**20


def patience() -> float:
    """Seconds that may be waited for one reply, however little comes."""
    try:
        return max(0.0, float(os.environ.get("VERIFY_HUB_PATIENCE", "40")))
    except ValueError as error:
        raise HubError("The environment variable VERIFY_HUB_PATIENCE must be a number of seconds.") from error


@dataclass
class Account:
    """What was waited for and received of one address, over all attempts: seconds and bytes."""

    waited: float = 0.0
    received: int = 0

    def left(self) -> float:
        """The seconds that may still be waited for the next bytes."""
        return patience() + self.received / RATE - self.waited

    def settle(self) -> None:
        """Begin anew, after a reply that came to its end."""
        self.waited, self.received = 0.0, 0


@dataclass
class Ledger:
    """What replies have cost so far in answering one question, and what sizes were announced, by address."""

    announced: dict[str, int] = field(default_factory=dict)
    accounts: defaultdict[str, Account] = field(default_factory=lambda: defaultdict(Account))
    breaks: Counter[tuple[str, str]] = field(default_factory=Counter)
    look_ups: int = 0
    fault: HubError | None = None

    def announce(self, url: str, size: int) -> None:
        """Remember the size in bytes that a file at ``url`` is said to have."""
        self.announced[str(httpx2.URL(url))] = size

    def begin(self) -> None:
        """Begin another question; announced sizes stay, since they are those of a commit's files."""
        self.accounts.clear()
        self.breaks.clear()
        self.look_ups, self.fault = 0, None

    def refuse(self, url: httpx2.URL, why: str) -> HubError:
        """The error for a reply that is given up, which ends all that is still asked for the same question."""
        self.fault = HubError(
            f"The reply to {str(url).partition('?')[0]} was given up: {why}. No partial file was kept. Check the "
            "network, HF_ENDPOINT and the proxy, then run again."
        )
        return self.fault


class BoundedClient(httpx2.Client):
    """A client whose replies are bounded, for :func:`huggingface_hub.set_client_factory`."""

    def __init__(self, ledger: Ledger, **options: Any) -> None:
        super().__init__(**options)
        self.ledger = ledger
        self.event_hooks = {
            "request": [*self.event_hooks["request"], _prepare],
            "response": [*self.event_hooks["response"], partial(_check, ledger)],
        }

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request as :meth:`httpx2.Client.send` does; raises HubError for a reply beyond its bounds."""
        ledger, url = self.ledger, request.url
        if ledger.fault is not None:
            raise HubError(str(ledger.fault))
        most = self._most(request, stream)
        request.extensions["most"] = most
        send = partial(super().send, request, stream=True, **options)
        reply = _Reply(send, ledger.accounts[f"{request.method} {url}"], partial(self._late, url))
        try:
            response = reply.response()
        except HubError as error:
            ledger.fault = error
            raise
        response.stream = reply
        if not stream:
            try:
                response.read()
            except BaseException:
                response.close()
                raise
            self._learn(url, response)
        return response

    def _most(self, request: httpx2.Request, stream: bool) -> int | None:
        """The most bytes that the body may have; None for what the reply itself announces."""
        first, _, last = request.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if stream:
            size = self.ledger.announced.get(str(request.url))
            return None if size is None else size - (int(first) if first.isdecimal() else 0)
        if first.isdecimal() and last.isdecimal():
            return max(0, int(last) - int(first) + 1)
        if request.method != "HEAD":
            self.ledger.look_ups += 1
            if self.ledger.look_ups > LOOK_UPS:
                raise self.ledger.refuse(request.url, f"it takes more than {LOOK_UPS} look-ups")
        return LOOK_UP

    def _learn(self, url: httpx2.URL, response: httpx2.Response) -> None:
        """Check what an answer lists, and remember the size that a reply to HEAD announces."""
        ledger, announced = self.ledger, self.ledger.announced
        if response.status_code >= 400:
            return
        if response.request.method == "HEAD":
            told = response.headers.get("X-Linked-Size") or response.headers.get("Content-Length") or ""
            if response.has_redirect_location and "X-Linked-Size" not in response.headers:
                told = ""
            listed = announced.get(str(url))
            size = int(told) if told.isdecimal() else listed
            if size is not None and listed is not None and size > listed:
                raise ledger.refuse(url, f"it announces {size} bytes where the list of files says {listed}")
            if size is not None:
                place = str(url.join(response.headers.get("Location") or ""))
                announced[place] = min(size, announced.get(place, size))
        elif response.status_code == 200 and "json" in response.headers.get("Content-Type", ""):
            with contextlib.suppress(ValueError, RecursionError):  # the caller of the look-up says so
                try:
                    require_listing(response.json(), str(url))
                except HubError as error:
                    ledger.fault = error
                    raise

    def _late(self, url: httpx2.URL, account: Account) -> HubError:
        return self.ledger.refuse(
            url, f"after {account.waited:.0f} s of waiting {account.received} bytes had come, too slow to be a network"
        )


def _prepare(request: httpx2.Request) -> None:
    """Ask for nothing that cannot be bounded, and keep the user's token from all but the Hub."""
    from huggingface_hub.constants import ENDPOINT

    if request.headers.get("Accept-Encoding") != "identity":
        request.headers["Accept-Encoding"] = "gzip"
    if not is_on_hub(str(request.url), ENDPOINT):
        request.headers.pop("Authorization", None)


def _check(ledger: Ledger, response: httpx2.Response) -> None:
    request, headers = response.request, response.headers
    links = {str(relation): link for relation, link in response.links.items()}
    require_headers(headers, links, str(request.url), request.method)
    most = request.extensions["most"]
    if response.has_redirect_location or response.status_code >= 400:
        most = ERROR_PAGE
    elif most is not None and request.headers.get("Range") and response.status_code == 200:
        most = ledger.announced.get(str(request.url), UNANNOUNCED)
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise ledger.refuse(request.url, f"it is packed as {encoding[:40]!r}, which was not asked for")
    is_packed = encoding != "identity" and request.method != "HEAD"
    if most is None:
        length = headers.get("Content-Length", "")
        most = int(length) if length.isdecimal() and not is_packed else UNANNOUNCED
    if is_packed:
        del headers["Content-Encoding"]
        headers.pop("Content-Length", None)
    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = _Counted(response.stream, request.url, headers.get("Content-Range", ""), ledger, most, is_packed)


class _Counted(httpx2.SyncByteStream):
    """The body of a reply, unpacked, up to the most bytes that it may have."""

    def __init__(
        self, stream: httpx2.SyncByteStream, url: httpx2.URL, part: str, ledger: Ledger, most: int, is_packed: bool
    ) -> None:
        self._stream, self._url, self._part = stream, url, part
        self._ledger, self._most, self._is_packed = ledger, most, is_packed

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        try:
            for part in _unpacked(self._stream) if self._is_packed else self._stream:
                count += len(part)
                if count > self._most:
                    raise self._ledger.refuse(self._url, f"it goes on after the {self._most} bytes that were announced")
                yield part
        except zlib.error as error:
            raise self._ledger.refuse(self._url, "it is not packed as it says") from error
        except httpx2.TransportError as error:
            self._ledger.breaks[str(self._url), self._part] += 1
            if self._ledger.breaks[str(self._url), self._part] >= BREAKS:
                raise self._ledger.refuse(self._url, f"it broke {BREAKS} times at the same place") from error
            raise

    def close(self) -> None:
        self._stream.close()


def _unpacked(stream: httpx2.SyncByteStream) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    for part in stream:
        while part and not unpacker.eof:
            yield unpacker.decompress(part, _PIECE)
            part = unpacker.unconsumed_tail
    yield unpacker.flush()


class _Reply(httpx2.SyncByteStream):
    """A reply that a thread of its own waits for and reads, so that its reader can give it up at any moment."""

    def __init__(
        self, send: Callable[[], httpx2.Response], account: Account, late: Callable[[Account], HubError]
    ) -> None:
        self._account, self._late = account, late
        self._items: queue.Queue[Any] = queue.Queue(maxsize=4)
        self._guard, self._is_over, self._is_given_up = threading.Lock(), False, False
        self._response: httpx2.Response | None = None
        threading.Thread(target=contextvars.copy_context().run, args=(self._read, send), daemon=True).start()

    def response(self) -> httpx2.Response:
        """The reply once its headers are there."""
        found = self._next()
        assert isinstance(found, httpx2.Response)
        return found

    def __iter__(self) -> Iterator[bytes]:
        while (part := self._next()) is not None:
            self._account.received += len(part)
            yield part
        self._account.settle()

    def close(self) -> None:
        """Give up what was not read; its connection is not used again."""
        with self._guard:
            self._is_given_up = True
            stream = self._response.extensions.get("network_stream") if self._response is not None else None
            if not self._is_over and stream is not None:
                with contextlib.suppress(OSError):
                    stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _next(self) -> Any:
        began = time.monotonic()
        try:
            item = self._items.get(timeout=max(0.0, self._account.left()))
        except queue.Empty:
            item = None
            self._account.waited += time.monotonic() - began
            self.close()
            raise self._late(self._account) from None
        self._account.waited += time.monotonic() - began
        if isinstance(item, BaseException):
            raise item
        return item

    def _read(self, send: Callable[[], httpx2.Response]) -> None:
        end: BaseException | None = None
        try:
            response = send()
            stream = response.stream
            assert isinstance(stream, httpx2.SyncByteStream)
            self._response = response
            try:
                if self._hand_on(response):
                    for part in stream:
                        if not self._hand_on(part):
                            break
            finally:
                with self._guard:
                    self._is_over = True
                stream.close()
        except BaseException as error:
            end = error
        self._hand_on(end)

    def _hand_on(self, item: Any) -> bool:
        while not self._is_given_up:
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=0.5)
                return True
        return False
