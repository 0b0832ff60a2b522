"""A tokeniser of the `tokenizers` library whose calls end: in time, within memory, and with an error that Python knows.

The library runs what a repository's files state, in Rust, where neither an expression that backtracks without end nor a
step that lengthens every text can be interrupted, and where a fault is a panic, which is no ``Exception``. So its calls
run in a thread of their own, which is left behind where it takes too long, and take no more texts at once than fit. A
thread costs a quarter of a millisecond, 40 times what decoding a text does, so decoding has one only where it must.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from functools import partial
from typing import Any, TypeVar

from verify.engine.inputs.rewriting import growth_of, has_expression
from verify.errors import EngineError

SECONDS, RATE = 15.0, 20_000
"""All calls of a tokeniser may take so many seconds, and one more for so many characters; the slowest honest ones do
ten times as many on a busy core."""

AT_ONCE = 2**24
"""Characters that the texts of one call may have once they are lengthened: a call takes some 50 bytes for each."""

MOST_TOKENS, FREE_TOKENS = 24, 512
"""Tokens that a text may become for each of its characters, and in any case."""

T = TypeVar("T")

_left_behind = threading.Event()


def has_left_a_call() -> bool:
    """Whether a call of this process goes on that was given up: the library's threads are taken from then on."""
    return _left_behind.is_set()


class BoundedTokenizer:
    """Stands for a `tokenizers.Tokenizer` in a tokeniser of `transformers`; what it does not bound it hands on.

    Raises EngineError on construction as :func:`verify.engine.inputs.rewriting.growth_of` does, and from each call that
    takes too long, makes too much of a text, or panics.
    """

    def __init__(self, backend: Any) -> None:
        own = {"_backend": backend, "_growth": growth_of(backend), "_left": SECONDS, "_guard": threading.Lock()}
        own["_decodes_by_expression"] = has_expression(backend.decoder)
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying asks for these before there is anything
            raise AttributeError(name)
        return getattr(self.__dict__["_backend"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self._backend, name, value)

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(self._backend, memo)

    def encode_batch(self, texts: Sequence[Any], **options: Any) -> list[Any]:
        """The encodings of texts, pairs of them, or lists of words, as the library gives them."""
        found: list[Any] = []
        for part in self._parts(list(texts), whole=self._backend.padding is not None):
            sizes = [_size(one) for one in part]
            if max(sizes, default=0) * self._growth > AT_ONCE and not options.get("is_pretokenized"):
                self._try_beginnings(part, options)
            encodings = self._in_time(partial(self._backend.encode_batch, part, **options), sum(sizes))
            tokens = [len(one) + sum(map(len, one.overflowing)) for one in encodings]
            _require_few(sum(tokens), sum(sizes), len(part))
            found += encodings
        return found

    def encode(self, sequence: Any, pair: Any = None, **options: Any) -> Any:
        """The encoding of one text or pair, as the library gives it."""
        return self.encode_batch([sequence if pair is None else (sequence, pair)], **options)[0]

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        """The text of some tokens, as the library gives it."""
        if self._decodes_by_expression:  # only of several does the library let other threads go on meanwhile
            return self.decode_batch([ids], **options)[0]
        with _panics_told():
            return str(self._backend.decode(ids, **options))

    def decode_batch(self, sequences: Sequence[Sequence[int]], **options: Any) -> list[str]:
        """The texts of sequences of tokens, as the library gives them."""
        call = partial(self._backend.decode_batch, sequences, **options)
        if self._decodes_by_expression:
            return list(self._in_time(call, 4 * sum(map(len, sequences))))
        with _panics_told():
            return list(call())

    def _parts(self, texts: list[Any], *, whole: bool) -> Iterator[list[Any]]:
        """The texts in order, as many at once as may be; all together where they are brought to one length."""
        if whole:
            yield texts
            return
        part: list[Any] = []
        room = AT_ONCE // self._growth
        for text in texts:
            size = _size(text)
            if part and size > room:
                yield part
                part, room = [], AT_ONCE // self._growth
            part.append(text)
            room -= size
        if part or not texts:
            yield part

    def _try_beginnings(self, texts: Sequence[Any], options: dict[str, Any]) -> None:
        """Look at what becomes of the first characters of texts that might be too long afterwards."""
        length = max(1, AT_ONCE // self._growth // 2)
        for text in texts:
            first = tuple(one[:length] for one in text) if isinstance(text, tuple | list) else text[:length]
            (found,) = self._in_time(partial(self._backend.encode_batch, [first], **options), 2 * length)
            _require_few(len(found) + sum(map(len, found.overflowing)), _size(first), 1)

    def _in_time(self, call: Callable[[], T], characters: int) -> T:
        with self._guard:
            self._left += characters / RATE
            allowed = self._left
        future: Future[T] = Future()
        began = time.monotonic()
        threading.Thread(target=_settle, args=(future, call), daemon=True).start()
        try:
            with _panics_told():
                found = future.result(timeout=max(allowed, 0.0))
        except OutOfTime as error:
            _left_behind.set()
            raise EngineError(
                f"The repository's tokeniser was given up: {allowed:.0f} s were not enough for texts of "
                f"{characters:,} characters. One of its expressions may look for a match without end. Correct "
                "tokenizer.json in a copy of the repository, or ask the model's author."
            ) from error
        with self._guard:
            self._left -= time.monotonic() - began
        return found


@contextlib.contextmanager
def _panics_told() -> Iterator[None]:
    """Have a panic of the library be an EngineError that says what it is."""
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise EngineError(
            f"The repository's tokeniser failed inside its library: {' '.join(str(error).split())[:200]}. "
            "Its files state something that the library does not expect. Correct tokenizer.json in a copy of the "
            "repository, or ask the model's author."
        ) from None


def is_panic(error: BaseException) -> bool:
    """Whether a fault is a panic of a library in Rust, whose class no module holds."""
    return type(error).__module__ == "pyo3_runtime"


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


def _size(text: Any) -> int:
    """The characters of a text, of several, or of what they consist of."""
    return len(text) if isinstance(text, str) else sum(map(_size, text))


def _require_few(tokens: int, characters: int, texts: int) -> None:
    if tokens > MOST_TOKENS * characters + FREE_TOKENS * texts:
        raise EngineError(
            f"The repository's tokeniser made {tokens:,} tokens of {texts:,} texts with {characters:,} characters, "
            f"where up to {MOST_TOKENS} a character are reasonable. Correct tokenizer.json in a copy of the "
            "repository, or ask the model's author."
        )
