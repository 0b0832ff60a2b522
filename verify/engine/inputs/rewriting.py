"""By how much a tokeniser's own steps may lengthen a text: what its files state, held against reason.

The steps before and after a vocabulary are data of the repository (https://huggingface.co/docs/tokenizers/components):
twenty rules that double a letter make megabytes of it. The factors here are upper bounds in characters, whatever the
text is; honest tokenisers reach some hundreds by them, since each letter is taken for the worst one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from verify.errors import EngineError

MOST_GROWTH = 2**16
"""Characters that the steps of a tokeniser may make of one; ALBERT's, the most of the popular ones, bound 3,888."""

MOST_SPECIAL = 64
"""Tokens that a tokeniser may add to a text or a pair of texts."""

_LONGEST_TOKEN = 10_000  # characters of a token that stands for a name or for what is unknown
_LONGEST_TEMPLATE = 2**18  # bytes of how special tokens are put around texts; the longest in use have some kB

_FACTORS: Mapping[str, int] = {
    "NFC": 3,
    "NFD": 4,
    "NFKC": 18,
    "NFKD": 18,
    "Lowercase": 3,
    "BertNormalizer": 12,
    "ByteLevel": 5,
    "Metaspace": 2,
    "BPEDecoder": 2,
    "WordPiece": 2,
    "CTC": 2,
}
"""What single letters become at most: by Unicode's tables, as their bytes, or with a space before each."""

_PROCESSORS = ("sp_model", "spm_source", "spm_target")
_LONGEST_PIECE = 256  # characters in place of one, of which Unicode's tables have 18

_LISTS = ("normalizers", "pretokenizers", "decoders", "processors")


def growth_of(backend: Any) -> int:
    """The most characters that a tokeniser of the `tokenizers` library makes of one, before and after its vocabulary.

    Raises EngineError if that, or what it puts around a text, is beyond reason.
    """
    before = _growth(_state(backend.normalizer)) * _growth(_state(backend.pre_tokenizer))
    after = _growth(_state(backend.decoder))
    if max(before, after) > MOST_GROWTH:
        raise _refused(
            f"its steps may make {_shown(max(before, after))} characters of one, where up to {MOST_GROWTH:,} are "
            "reasonable"
        )
    around = backend.post_processor
    if around is not None and len(around.__getstate__()) > _LONGEST_TEMPLATE:
        raise _refused(f"what it puts around a text takes more than {_LONGEST_TEMPLATE >> 10} KiB to state")
    if _repeats(_state(around)) > 2:
        raise _refused("it puts a text several times beside itself")
    added = backend.num_special_tokens_to_add(True)
    if added > MOST_SPECIAL:
        raise _refused(f"it adds {added:,} tokens to each pair of texts, where up to {MOST_SPECIAL} are reasonable")
    named = [token.content for token in backend.get_added_tokens_decoder().values()]
    longest = max((len(token) for token in [*named, str(getattr(backend.model, "unk_token", None))]), default=0)
    if longest > _LONGEST_TOKEN:
        raise _refused(f"one of its added tokens has {longest:,} characters, where up to {_LONGEST_TOKEN:,} are read")
    return max(before, after)


def has_expression(step: Any) -> bool:
    """Whether a step of the `tokenizers` library looks for matches of a regular expression, which may have no end."""
    if step is None:
        return False
    state = _state(step)
    return state is None or '"Regex"' in json.dumps(state)


def require_sound_pieces(tokenizer: Any) -> None:
    """Raise EngineError if a tokeniser that runs on sentencepiece itself lengthens texts beyond reason."""
    from sentencepiece import sentencepiece_model_pb2 as formats

    for name in _PROCESSORS:
        processor: Any = getattr(tokenizer, name, None)
        if hasattr(processor, "serialized_model_proto"):
            model = formats.ModelProto.FromString(processor.serialized_model_proto())  # type: ignore[attr-defined]
            for step in (model.normalizer_spec, model.denormalizer_spec):
                growth = charsmap_growth(step.precompiled_charsmap)
                if growth > _LONGEST_PIECE:
                    raise _refused(f"its table may make {growth:,} characters of one")


def charsmap_growth(charsmap: bytes) -> int:
    """The most characters that a step of sentencepiece makes of one.

    Its table is the length of an index in four bytes, the index, and the texts that stand in place of others, each
    ended by a zero (normalizer.cc of sentencepiece).
    """
    texts = charsmap[4 + int.from_bytes(charsmap[:4], "little") :].split(b"\0")
    return max(1, *(len(text.decode("utf-8", errors="replace")) for text in texts))


def _growth(step: Any) -> int:
    """The bound of one step, or of all in a sequence."""
    if not isinstance(step, dict):
        return 1
    product = 1
    for name in _LISTS:
        for part in step.get(name) or ():
            product *= _growth(part)
            if product > MOST_GROWTH:
                return product
    kind = step.get("type")
    if kind == "Prepend":
        return product * (1 + len(step.get("prepend") or ""))
    if kind == "Precompiled":
        return product * charsmap_growth(base64.b64decode(step.get("precompiled_charsmap") or ""))
    if kind == "Replace":
        return product * _of_replacing(step.get("pattern") or {}, len(step.get("content") or ""))
    longest = max((len(value) for key, value in step.items() if key != "type" and isinstance(value, str)), default=0)
    return product * (1 + longest if kind in ("WordPiece", "CTC") else _FACTORS.get(str(kind), 1))


def _of_replacing(pattern: Mapping[str, Any], content: int) -> int:
    """The bound of replacing each match by so many characters; a regular expression may match between any two."""
    text = pattern.get("String")
    if isinstance(text, str) and text:
        return max(1, -(-content // len(text)))
    return 1 + content


def _repeats(step: Any) -> int:
    """How often a template, or several one after the other, put one text into what the model gets."""
    if not isinstance(step, dict):
        return 0
    found = 1
    for part in step.get("processors") or ():
        found *= max(1, _repeats(part))
    for name in ("single", "pair"):
        names = [part["Sequence"].get("id") for part in step.get(name) or () if "Sequence" in part]
        found = max([found, *(names.count(one) for one in names)])
    return found


def _state(step: Any) -> Any:
    try:
        return json.loads(step.__getstate__()) if step is not None else None
    except (ValueError, RecursionError, TypeError):
        return None  # a step that Python code of transformers makes, and no file states


def _shown(number: int) -> str:
    return f"{number:,}" if number < 10**12 else "over 10¹²"


def _refused(why: str) -> EngineError:
    return EngineError(
        f"The repository's tokeniser would lengthen texts beyond reason: {why}. Nothing is tokenised. Correct "
        "tokenizer.json in a copy of the repository, or ask the model's author."
    )
