"""How an encoder-decoder model is told what to do: by words before the text, or by tokens that name the languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.errors import UsageError
from verify.foundation.spelling import suggestion
from verify.types import Setting, TaskSpec

_STARTS_WITH_LANGUAGE = ("MBartTokenizer", "MBartTokenizerFast", "PLBartTokenizer")
"""Tokenisers of models whose decoder starts from the target language's token; in others that token is forced to follow
the start token (transformers' documentation of mBART, mBART-50, M2M100 and NLLB)."""


@dataclass(frozen=True)
class Direction:
    """``prefix`` goes before every input, ``generation`` joins the settings of generation, ``record`` run.json."""

    prefix: str = ""
    generation: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def direction_of(task: TaskSpec, settings: Mapping[str, Setting], tokenizer: Any, model: Any) -> Direction:
    """What the task and the checkpoint say together; a multilingual tokeniser is set to the source language.

    Raises UsageError, with the codes that there are, where the tokeniser needs a language that nobody names, and where
    the checkpoint knows several directions and the task does not say which.
    """
    codes = language_ids(tokenizer)
    if task.kind == "translation" and codes:
        return _by_language_tokens(task, settings, tokenizer, model, codes)
    given = settings["prefix"]
    if given is not None:
        return Direction(str(given), record={"prefix": given})
    targets = getattr(tokenizer, "supported_language_codes", None) or ()
    if task.kind == "translation" and targets and settings["target_language"] is not None:
        token = f">>{str(settings['target_language']).strip('<>')}<<"
        _require(task, "target_language", token, targets)
        return Direction(token + " ", record={"prefix": token + " "})
    prefix, notes = _prefix_of_checkpoint(task, settings, model)
    return Direction(prefix, record={"prefix": prefix} if prefix else {}, notes=notes)


def language_ids(tokenizer: Any) -> dict[str, int]:
    """The token ids of the languages that a multilingual tokeniser (mBART, M2M100, NLLB …) must be told; none else."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    known = getattr(tokenizer, "lang_code_to_id", None)
    if known:
        return {str(code): int(token) for code, token in known.items()}
    tokens = [token for token in tokenizer.all_special_tokens if re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", token)]
    return dict(zip(tokens, tokenizer.convert_tokens_to_ids(tokens), strict=True))


def _by_language_tokens(
    task: TaskSpec, settings: Mapping[str, Setting], tokenizer: Any, model: Any, codes: Mapping[str, int]
) -> Direction:
    starts = type(tokenizer).__name__ in _STARTS_WITH_LANGUAGE
    option = "decoder_start_token_id" if starts else "forced_bos_token_id"
    stated = getattr(model.generation_config, option)
    target = settings["target_language"] or next((code for code, token in codes.items() if token == stated), None)
    target = target or tokenizer.init_kwargs.get("tgt_lang")
    _require(task, "target_language", target, codes)
    source = settings["source_language"] or tokenizer.init_kwargs.get("src_lang")
    if source == target and settings["source_language"] is None:
        source = None  # the tokeniser's default, which nobody chose
    _require(task, "source_language", source, codes)
    tokenizer.src_lang = source
    record = {"source_language": source, "target_language": target, "prefix": settings["prefix"] or ""}
    return Direction(str(settings["prefix"] or ""), {option: codes[str(target)]}, record)


def _require(task: TaskSpec, name: str, code: Setting, known: Any) -> None:
    if code not in known:
        what = f"{code!r} is no language of the model" if code is not None else "the model must be told it"
        near = suggestion(str(code), known) if code is not None else f"Its languages: {', '.join(sorted(known))}."
        raise UsageError(f"{task.file}: settings.{name}: {what}. {near}")


def _prefix_of_checkpoint(task: TaskSpec, settings: Mapping[str, Setting], model: Any) -> tuple[str, tuple[str, ...]]:
    """The prefix that T5's configuration states for the task; the parts of a column's path may name the languages."""
    stated = getattr(model.config, "task_specific_params", None) or {}
    prefixes = {name: part["prefix"] for name, part in stated.items() if isinstance(part, dict) and "prefix" in part}
    if task.kind == "summarization":
        return str(prefixes.get("summarization", "")), ()
    prefixes = {name: prefix for name, prefix in prefixes.items() if name.startswith("translation_")}
    if not prefixes:
        return "", ()
    source, target = (
        settings[f"{role}_language"] or task.columns[role].rpartition(".")[2] for role in ("source", "target")
    )
    name = f"translation_{source}_to_{target}"
    if name in prefixes:
        return str(prefixes[name]), ()
    is_told = settings["target_language"] is not None or "." in task.columns["target"]
    if not is_told:
        raise UsageError(
            f"{task.file}: the model knows several directions by the prefix of the text ({', '.join(prefixes)}), and "
            "the task does not say which. State settings.source_language and settings.target_language, or "
            "settings.prefix."
        )
    return "", (f"the model's configuration states no prefix for {name}, so none was put before the texts",)
