"""Tokenisers whose own steps multiply a text, never end, or break the library; and honest ones of every family."""

from __future__ import annotations

import base64
import json
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.builders import bert, model_index, sentences, write_parquet, write_task
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from hostile.harness import SECONDS, variants, verify
from verify.engine.inputs import bounded_tokenizer
from verify.engine.inputs.bounded_tokenizer import BoundedTokenizer
from verify.engine.inputs.rewriting import MOST_GROWTH, growth_of
from verify.engine.inputs.text import load_tokenizer
from verify.engine.running.attempt import attempt
from verify.errors import EngineError

TEXTS = sentences(12)
DOUBLES = {"type": "Replace", "pattern": {"String": "e"}, "content": "ee"}


def charsmap(*texts: str) -> str:
    """A table of sentencepiece without an index, whose replacements are ``texts``."""
    return base64.b64encode(struct.pack("<I", 0) + b"\0".join(text.encode() for text in texts) + b"\0").decode()


def changed(folder: Path, change: Callable[[dict[str, Any]], None], **stated: Any) -> Path:
    """A model whose tokenizer.json ``change`` alters, and whose tokenizer_config.json states something else."""
    bert(folder / "model", TEXTS, ["no", "yes"])
    file = folder / "model/tokenizer.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    settings = folder / "model/tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | stated))
    return folder / "model"


def refusal(model: Path) -> str:
    """Why the tokeniser of a model is given up, on loading or on some texts."""
    before = psutil.Process().memory_info().rss
    began = time.monotonic()
    with pytest.raises(EngineError) as caught:
        load_tokenizer(str(model))(TEXTS)
    assert time.monotonic() - began < SECONDS
    assert psutil.Process().memory_info().rss - before < 1e9
    assert "\n" not in str(caught.value)
    return str(caught.value)


def doubling(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Sequence", "normalizers": [DOUBLES] * 40}


def doubling_within_reason(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Sequence", "normalizers": [DOUBLES] * 15}
    content["pre_tokenizer"] = {"type": "Split", "pattern": {"String": "e"}, "behavior": "Isolated", "invert": False}


def one_long_replacement(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 10_000_000}


def prepending(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "y " * 500_000}] * 8}


def a_table(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap("x" * 10_000_000)}


def bytes_of_bytes(content: dict[str, Any]) -> None:
    step = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [step] * 25}


def many_special_tokens(content: dict[str, Any]) -> None:
    token = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    content["post_processor"]["single"] = [token] * 100_000 + content["post_processor"]["single"]


def many_numbers_for_one(content: dict[str, Any]) -> None:
    content["post_processor"]["special_tokens"]["[CLS]"] |= {"ids": [2] * 100_000, "tokens": ["[CLS]"] * 100_000}


def the_text_again_and_again(content: dict[str, Any]) -> None:
    content["post_processor"]["single"] += [{"Sequence": {"id": "A", "type_id": 0}}] * 1000


def a_long_unknown(content: dict[str, Any]) -> None:
    unknown = "u" * 20_000_000
    content["model"] = {"type": "WordLevel", "vocab": {unknown: 0, "[CLS]": 2, "[SEP]": 3}, "unk_token": unknown}


@variants(
    doubling,
    doubling_within_reason,
    one_long_replacement,
    prepending,
    a_table,
    bytes_of_bytes,
    many_special_tokens,
    many_numbers_for_one,
    the_text_again_and_again,
    a_long_unknown,
)
def test_texts_that_are_multiplied(variant, tmp_path):
    assert "reason" in (found := refusal(changed(tmp_path, variant))) or "10,000 are read" in found, found


def check(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """The reason for which `verify check` of a model ends in an error."""
    model = changed(folder, change)
    (model / "README.md").write_text(model_index({"accuracy": 0.5}, dataset="one"))
    rows = write_parquet(folder / "data.parquet", {"text": TEXTS, "label": [0, 1] * 6})
    write_task(folder / "tasks", "one", rows, columns="{text: text, label: label}", more="labels: ['no', 'yes']\n")
    outcome = verify("check", "./model", "task_path=[tasks]", "--json", cwd=folder).require_bounds()
    ((kind, reason),) = outcome.verdicts
    assert (kind, outcome.code) == ("error", 4)
    return str(reason)


def test_a_check_of_such_a_model(tmp_path):
    assert "characters of one" in check(tmp_path, doubling)


def an_expression_that_backtracks(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": r"(?:.*?){6}\d"}, "content": ""}


def expressions_that_take_long(content: dict[str, Any]) -> None:
    """None takes as many steps as end the library, and all together minutes."""
    step = {"type": "Replace", "pattern": {"Regex": r"(?:.*?){3}\d"}, "content": ""}
    content["normalizer"] = {"type": "Sequence", "normalizers": [step] * 5000}


def a_table_that_is_none(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\xff" * 40).decode()}


def no_vocabulary(content: dict[str, Any]) -> None:
    content["model"] = {"type": "Unigram", "unk_id": 7, "vocab": []}


@pytest.mark.stress
def test_a_check_of_one_whose_expressions_take_long(tmp_path):
    assert "was given up" in check(tmp_path, expressions_that_take_long)


@variants(an_expression_that_backtracks, a_table_that_is_none, no_vocabulary)
def test_a_library_that_breaks_or_never_ends(variant, tmp_path):
    assert "tokeniser" in refusal(changed(tmp_path, variant))


@variants(-1, 0, 1, float("nan"), "128", True, [128], {"a": 1}, -(10**30))
def test_a_longest_input_that_is_none(variant, tmp_path):
    found = refusal(changed(tmp_path, lambda content: None, model_max_length=variant))
    assert "model_max_length" in found or "tokeniser could not be loaded" in found


@pytest.mark.parametrize("stated", [10**30, 128, 10**12, None])
def test_a_longest_input_that_honest_files_state(stated, tmp_path):
    assert load_tokenizer(str(changed(tmp_path, lambda content: None, model_max_length=stated)))(TEXTS)["input_ids"]


def word_pieces() -> Tokenizer:
    core = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return core


def byte_level() -> Tokenizer:
    core = Tokenizer(models.BPE({"a": 0}, []))
    core.normalizer = normalizers.NFC()
    splits = r"'s|'t|'re| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(splits), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.post_processor, core.decoder = processors.ByteLevel(), decoders.ByteLevel()
    return core


def llama() -> Tokenizer:
    core = Tokenizer(models.BPE({"<unk>": 0, "▁": 1, "a": 2}, [], unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return core


def albert() -> Tokenizer:
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)], unk_id=0))
    core.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    return core


def clip() -> Tokenizer:
    core = byte_level()
    core.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    return core


@pytest.mark.parametrize("made", [word_pieces, byte_level, llama, albert, clip], ids=lambda made: made.__name__)
def test_honest_tokenisers_pass_and_give_what_they_give_without_bounds(made):
    core = made()
    bounded = BoundedTokenizer(core)
    assert growth_of(core) < MOST_GROWTH / 8
    texts = ["a", "", "A film, ﷺ 10 \U0001f600  twice", *TEXTS, "a " * 20_000]
    for found, expected in zip(bounded.encode_batch(texts), core.encode_batch(texts), strict=True):
        assert (found.ids, found.offsets) == (expected.ids, expected.offsets)
        assert bounded.decode(found.ids) == core.decode(expected.ids)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sentencepiece

    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 10), model_prefix=str(folder / "spiece"), vocab_size=30, minloglevel=5
    )
    return folder / "spiece.model"


@pytest.mark.parametrize("name", ["T5Tokenizer", "XLMRobertaTokenizer"])
def test_tokenisers_with_the_table_of_sentencepiece_pass(name, pieces):
    import transformers

    tokenizer = getattr(transformers, name).from_pretrained(pieces.parent, vocab_file=str(pieces))
    assert 18 <= growth_of(tokenizer.backend_tokenizer) < MOST_GROWTH / 8


def test_a_panic_ends_a_job_and_not_the_process():
    core = word_pieces()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?:.*?){6}\d"), "isolated")
    found = attempt(lambda: core.encode("the film " * 10))
    assert isinstance(found, EngineError)
    assert "retry-limit" in str(found)


@pytest.mark.parametrize("is_endless", [False, True], ids=["plain", "an expression"])
def test_decoding_is_given_up_where_an_expression_may_not_end(is_endless, monkeypatch):
    monkeypatch.setattr(bounded_tokenizer, "SECONDS", 0.0)
    monkeypatch.setattr(bounded_tokenizer, "RATE", 10**12)
    monkeypatch.setattr(bounded_tokenizer, "_left_behind", threading.Event())
    core = word_pieces()
    ids = core.encode(TEXTS[0]).ids * 2_000
    if is_endless:
        core.decoder = decoders.Sequence([core.decoder, decoders.Replace(Regex(r"(\w+\s*)+!"), "")])
    bounded = BoundedTokenizer(core)
    if not is_endless:
        assert bounded.decode(ids) == core.decode(ids)
        assert bounded.decode_batch([ids[:9]]) == core.decode_batch([ids[:9]])
        return
    with pytest.raises(EngineError, match="given up"):
        bounded.decode(ids)
    assert bounded_tokenizer.has_left_a_call()
