"""Seals on what is stored: whoever checks knows which results were made here, under the secret of this user.

A results folder may come with a model, a mail or a disk, and anybody can write numbers into one. What is made here
carries a keyed digest (HMAC, RFC 2104, with SHA-256) over its content and its place in the results folder. The seal
decides one thing: whether what is stored spares the work of making it again.

The secret is 32 bytes that lie outside all results: in the environment variable ``VERIFY_SECRET`` (64 hex digits), by
which the machines of a cluster share it, else in the file named by ``VERIFY_SECRET_FILE``, else in ``verify/secret``
below ``$XDG_CONFIG_HOME`` (``~/.config``). The file is made when something is sealed for the first time. Where it can
be neither read nor made, this command and the processes that it starts use a secret that nobody keeps.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

from verify.errors import UsageError

SECRET, SECRET_FILE = "VERIFY_SECRET", "VERIFY_SECRET_FILE"
SEAL = "seal"
"""The key of the seal in a JSON object."""

_PATIENCE = 1.0  # seconds, for another process that is writing the secret
_log = logging.getLogger(__name__)
_read: dict[str, bytes] = {}


def seal(place: str, content: bytes) -> str:
    """The seal, 64 hex digits, of a content at a place in the results folder; makes the secret if there is none."""
    return _digest(_secret(), place, content)


def is_seal(given: object, place: str, content: bytes) -> bool:
    """Whether a seal is that of this user's secret. Without a secret none is, and none is made."""
    secret = _known()
    if secret is None or not isinstance(given, str) or not given.isascii():
        return False
    return hmac.compare_digest(given, _digest(secret, place, content))


def sealed(value: dict[str, Any], place: str) -> dict[str, Any]:
    """A JSON object with its seal. ``value`` must be what :func:`json.loads` gives."""
    return {**value, SEAL: seal(place, _canonical(value))}


def unsealed(found: dict[str, Any], place: str) -> tuple[dict[str, Any], bool]:
    """The object without its seal, and whether that was this user's."""
    value = {name: item for name, item in found.items() if name != SEAL}
    return value, SEAL in found and is_seal(found[SEAL], place, _canonical(value))


def establish() -> str:
    """The secret as hex digits, made if there is none: from now on all processes that are started here have it."""
    return _secret().hex()


def share(secret: str) -> None:
    """Use a secret that another machine has given, in this process and in those that it starts."""
    os.environ[SECRET] = secret


def _digest(secret: bytes, place: str, content: bytes) -> str:
    return hmac.digest(secret, b"\0".join([place.encode(errors="surrogatepass"), content]), "sha256").hex()


def _canonical(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")


def _secret() -> bytes:
    if (known := _known()) is not None:
        return known
    file = _file()
    try:
        return _remembered(file, _made(file))
    except OSError as error:
        _log.warning(
            "The secret by which verify knows its own results can be neither read nor written (%s: %s), so the results "
            "of this command will not spare the next one any work. Name a file that can be, with %s=FILE.",
            file,
            error.strerror or error,
            SECRET_FILE,
        )
        secret = secrets.token_bytes(32)
        share(secret.hex())
        return secret


def _known() -> bytes | None:
    """The secret, None if there is none that can be read."""
    if given := os.environ.get(SECRET):
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", given):
            raise UsageError(f"The environment variable {SECRET} must be 64 hexadecimal digits, or not be set.")
        return bytes.fromhex(given)
    file = _file()
    if str(file) in _read:
        return _read[str(file)]
    try:
        return _remembered(file, _in_file(file))
    except OSError:
        return None


def _remembered(file: Path, secret: bytes) -> bytes:
    return _read.setdefault(str(file), secret)


def _file() -> Path:
    if named := os.environ.get(SECRET_FILE):
        return Path(named).absolute()
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))  # a relative one is to be ignored (XDG Base Directory)
    try:
        folder = configured if configured.is_absolute() else Path.home() / ".config"
    except RuntimeError:  # a user without a home
        folder = Path(os.devnull)
    return folder / "verify" / "secret"


def _in_file(file: Path) -> bytes:
    """The secret in a file. Raises OSError if there is none."""
    if not file.is_file():
        raise FileNotFoundError(2, "there is no such file", str(file))
    until = time.monotonic() + _PATIENCE
    while not re.fullmatch(rb"[0-9a-f]{64}\n?", found := file.read_bytes()):
        if len(found) > 65 or time.monotonic() > until:
            raise OSError(22, "it holds no secret", str(file))
        time.sleep(0.01)
    return bytes.fromhex(found.decode())


def _made(file: Path) -> bytes:
    """A new secret in a file, or the one that another process was quicker to make. Raises OSError if that fails."""
    if file.exists():
        return _in_file(file)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = f"{secrets.token_hex(32)}\n".encode()
    temporary = file.with_name(f"{file.name}-{secrets.token_hex(8)}")
    try:
        _write_new(temporary, content)
        with contextlib.suppress(FileExistsError):
            try:
                file.hardlink_to(temporary)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links: then whoever reads waits for what is written
                _write_new(file, content)
    finally:
        temporary.unlink(missing_ok=True)
    return _in_file(file)


def _write_new(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
