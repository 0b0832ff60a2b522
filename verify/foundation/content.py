"""Identity by content: what results are stored and found by, never a path or a name."""

import hashlib
import json
from dataclasses import asdict
from typing import Any


def content_key(value: Any) -> str:
    """Sixteen hex digits that identify a JSON-serialisable value (or dataclass) by its content.

    Stored results are found by these keys, so they must never change.
    """
    if hasattr(value, "__dataclass_fields__"):
        value = asdict(value)
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()[:16]
