"""Taggers against a plain transformers loop at batch size 1, word by word."""

import json

import numpy as np
import pytest
import torch
from helpers.builders import save, tokenizer
from helpers.tagging import (
    COLUMNS,
    IDS,
    KIND,
    TAGS,
    WORDS,
    bert,
    byte_level,
    check,
    model_sizes,
    plain_loop,
    prepared_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizer,
    T5Config,
    T5ForTokenClassification,
)

from engine.driving import drive, examples_of, state_in_tokenizer_config, task_of
from verify.engine.inputs.text import load_tokenizer
from verify.engine.inputs.words import encode_words
from verify.engine.stub import save_stub
from verify.errors import DataError, NotComparableError, UsageError
from verify.store.predictions import TagPredictions


@pytest.mark.parametrize("subword", ["first", "last", "mean", "max"])
def test_tags_are_those_of_a_plain_loop_whatever_the_batch(tmp_path, subword):
    model, words = bert(tmp_path, [" ".join(words)[:3] for words in WORDS])
    task = task_of(KIND, COLUMNS, subword=subword)
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, task=task, labels=TAGS)
    expected = plain_loop(model, words, WORDS, subword)
    assert any(len(words(sentence[0])["input_ids"]) > 3 for sentence in WORDS), "some words are several tokens"
    names = [[TAGS[tag] for tag in row] for row in IDS]
    for batch_size in (1, 7, 32):
        check(drive(prepared, len(WORDS), batch_size), expected, TAGS, names)
    assert len({tag for row in drive(prepared, len(WORDS), 32)["tags"] for tag in row}) > 1
    assert prepared.info["scheme"] == "IOB2"
    assert prepared.notes == ()


def test_the_rows_asked_for_are_the_rows_run(tmp_path):
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS])
    chosen = [41, 3, 17]
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, labels=TAGS, rows=chosen)
    expected = plain_loop(model, words, [WORDS[row] for row in chosen])
    check(drive(prepared, 3, 2), expected, TAGS, [[TAGS[tag] for tag in IDS[row]] for row in chosen])


@pytest.mark.parametrize("is_own_class", [True, False])
def test_a_byte_level_tokeniser_reads_every_word_as_one_after_a_space(tmp_path, is_own_class):
    core = byte_level([" ".join(words) for words in WORDS])
    merges = [tuple(pair) for pair in json.loads(core.to_str())["model"]["merges"]]
    spaced = RobertaTokenizer(vocab=core.get_vocab(), merges=merges, add_prefix_space=True, model_max_length=64)
    names = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    saved = (
        RobertaTokenizer(vocab=core.get_vocab(), merges=merges, model_max_length=64)
        if is_own_class
        else PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=64, **names)
    )
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=len(spaced), max_position_embeddings=66, pad_token_id=1, **model_sizes(TAGS))
    model = RobertaForTokenClassification(config).eval()
    save(tmp_path, model, saved)
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, labels=TAGS)
    expected = plain_loop(model, spaced, WORDS)
    for batch_size in (1, 7):
        check(drive(prepared, len(WORDS), batch_size), expected, TAGS, [[TAGS[tag] for tag in row] for row in IDS])
    assert prepared.settings["add_prefix_space"] is True


def test_a_tokeniser_that_pads_on_the_left_gives_the_same_tags(tmp_path):
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS])
    expected = plain_loop(model, words, WORDS)
    state_in_tokenizer_config(tmp_path, padding_side="left")
    assert load_tokenizer(str(tmp_path)).padding_side == "left"
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, labels=TAGS)
    check(drive(prepared, len(WORDS), 32), expected, TAGS, [[TAGS[tag] for tag in row] for row in IDS])


@pytest.mark.parametrize("limit", [None, 24])
def test_a_tokeniser_in_python_is_aligned_word_by_word(tmp_path, limit):
    torch.manual_seed(0)
    names = {key: value for key, value in model_sizes(TAGS).items() if key.endswith("2id") or key.startswith("id2")}
    config = T5Config(vocab_size=384, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, **names)
    model, words = T5ForTokenClassification(config).eval(), ByT5Tokenizer(extra_ids=0)
    save(tmp_path, model, words)
    data, tags = WORDS[:20], IDS[:20]
    prepared = prepared_of(tmp_path, {"words": data, "tags": tags}, labels=TAGS, max_length=limit)
    expected = []
    for sentence in data:
        ids = [byte + 3 for word in sentence for byte in word.encode()][: (limit or 9999) - 1]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*ids, 1]])).logits[0, :-1].numpy()
        begins = np.cumsum([0, *(len(word) for word in sentence[:-1])])
        expected.append({word: logits[begin] for word, begin in enumerate(begins.tolist()) if begin < len(ids)})
    names = [[TAGS[tag] for tag in row] for row in tags]
    check(drive(prepared, len(data)), expected, TAGS, names)
    lost = sum(len(sentence) - len(seen) for sentence, seen in zip(data, expected, strict=True))
    assert prepared.settings["words_beyond_max_length"] == lost
    assert (lost > 0) == (limit is not None)


def test_words_beyond_the_longest_input_are_left_out_on_both_sides_and_counted(tmp_path):
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS], max_length=12)
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, labels=TAGS)
    expected = plain_loop(model, words, WORDS)
    lost = [len(sentence) - len(seen) for sentence, seen in zip(WORDS, expected, strict=True)]
    check(drive(prepared, len(WORDS), 7), expected, TAGS, [[TAGS[tag] for tag in row] for row in IDS])
    assert sum(lost) > 100
    longer = sum(count > 0 for count in lost)
    assert prepared.notes == (
        f"{sum(lost)} words in {longer} of 60 examples lie beyond the first 12 tokens and were left out",
    )
    assert prepared.lengths.max() == 12


def test_words_without_a_token_and_words_without_a_tag_are_left_out_and_counted(tmp_path):
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS])
    data = [["the", "\x01", "film"], ["", "plot"], ["\x02"], [], ["joy", "wit", "dull"]]
    tags = [[1, 2, 3], [0, 4], [1], [], [-100, 2, None]]
    prepared = prepared_of(tmp_path, {"words": data, "tags": tags}, labels=TAGS)
    for batch_size in (1, 5):
        columns = drive(prepared, 5, batch_size)
        assert columns["reference"] == [["B-PER", "B-LOC"], ["I-LOC"], [], [], ["I-PER"]]
    expected = plain_loop(model, words, [data[0], data[1], data[4]])
    tagged = [TAGS[expected[i][word].argmax()] for i, word in ((0, 0), (0, 2), (1, 1), (2, 1))]
    assert [tag for row in columns["tags"] for tag in row] == tagged
    assert prepared.notes == (
        "3 words give no token and were left out",
        "2 words have no reference tag and were left out",
    )
    margins = TagPredictions(np.arange(5), **columns).margins()
    assert np.isfinite(margins).tolist() == [True, True, False, False, True]


MODEL_TAGS = ["I-LOC", "B-LOC", "O", "I-PER", "B-PER"]


@pytest.mark.parametrize("as_names", [True, False])
def test_tags_are_aligned_by_name(tmp_path, as_names):
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS], MODEL_TAGS)
    tags = [[TAGS[tag] for tag in row] for row in IDS] if as_names else IDS
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": tags}, labels=None if as_names else TAGS)
    expected = plain_loop(model, words, WORDS)
    check(drive(prepared, len(WORDS), 32), expected, MODEL_TAGS, [[TAGS[tag] for tag in row] for row in IDS])
    assert prepared.info["label_alignment"].startswith("classes were aligned by name")
    assert set(prepared.info["data_labels"]) == set(TAGS)


def test_a_class_that_the_data_lack_keeps_the_models_name_and_one_that_the_model_lacks_is_never_given(tmp_path):
    data = {"words": WORDS, "tags": IDS}
    model, words = bert(tmp_path / "more", [" ".join(words) for words in WORDS], ["B-MISC", *TAGS])
    columns = drive(prepared_of(tmp_path / "more", data, labels=TAGS), len(WORDS), 32)
    check(columns, plain_loop(model, words, WORDS), ["B-MISC", *TAGS], [[TAGS[tag] for tag in row] for row in IDS])
    assert "B-MISC" in {tag for row in columns["tags"] for tag in row}

    model, words = bert(tmp_path / "less", [" ".join(words) for words in WORDS], ["I-PER", "B-PER", "O"])
    prepared = prepared_of(tmp_path / "less", data, labels=TAGS)
    columns = drive(prepared, len(WORDS), 32)
    expected = plain_loop(model, words, WORDS)
    check(columns, expected, ["I-PER", "B-PER", "O"], [[TAGS[tag] for tag in row] for row in IDS])
    assert prepared.info["label_alignment"] == ("classes were aligned by name; the model has no class for B-LOC, I-LOC")


def test_aliases_name_the_models_classes(tmp_path):
    bert(tmp_path, [" ".join(words) for words in WORDS], ["nothing", "I-PER", "B-PER"])
    aliases = {"O": ("nothing",)}
    task = task_of(KIND, COLUMNS, labels=TAGS, aliases=aliases)
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, task=task)
    assert prepared.info["label_of_logit"] == (0, 2, 1)


def test_numbers_without_names_are_taken_in_the_models_order(tmp_path):
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS])
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS})
    check(drive(prepared, 60, 32), plain_loop(model, words, WORDS), TAGS, [[TAGS[i] for i in row] for row in IDS])
    assert "the model's order was taken" in prepared.info["label_alignment"]
    assert prepared.info["scheme"] == "IOB2"


def test_a_model_without_names_is_taken_in_the_datas_order(tmp_path):
    numbered = [f"LABEL_{i}" for i in range(5)]
    model, words = bert(tmp_path, [" ".join(words) for words in WORDS], numbered)
    prepared = prepared_of(tmp_path, {"words": WORDS, "tags": IDS}, labels=TAGS)
    check(drive(prepared, 60, 32), plain_loop(model, words, WORDS), TAGS, [[TAGS[i] for i in row] for row in IDS])
    assert "by order" in prepared.info["label_alignment"]


def test_the_scheme_is_the_tasks_or_read_off_the_tags(tmp_path):
    bert(tmp_path, [" ".join(words) for words in WORDS], ["NOUN", "VERB", "ADJ", "DET", "X"])
    data = {"words": WORDS, "tags": IDS}
    assert prepared_of(tmp_path, data).info["scheme"] == "none"
    task = task_of(KIND, COLUMNS, scheme="IOB1")
    assert prepared_of(tmp_path, data, task=task).info["scheme"] == "IOB1"


@pytest.mark.parametrize(
    ("data", "labels", "error", "words"),
    [
        ({"words": [["a"], ["a", "b"]], "tags": [[0], [0]]}, TAGS, DataError, "Row 1 .* has 2 words .* and 1 tags"),
        ({"words": ["a b"], "tags": [[0, 1]]}, TAGS, DataError, "'words' holds str in row 0, where a list of words"),
        ({"words": [["a", None]], "tags": [[0, 1]]}, TAGS, DataError, "holds NoneType in row 0, where a word"),
        ({"words": [[1, 2]], "tags": [[0, 1]]}, TAGS, DataError, "holds int in row 0, where a word"),
        ({"words": [["a", "b"]], "tags": ["O O"]}, TAGS, DataError, "'tags' holds str in row 0, where a list of tags"),
        ({"words": [["a"]], "tags": [[0.5]]}, TAGS, DataError, "holds float in row 0, where a tag's id or its name"),
        ({"words": [["a"], ["b"]], "tags": [[0], [9]]}, TAGS, DataError, "tag 9 in row 1 .* not among the 5 labels"),
        ({"words": [["a"]], "tags": [["X"]]}, TAGS, DataError, "tag 'X' in row 0 .* not among the 5 labels"),
        ({"words": [["a"]], "tags": [[7]]}, None, NotComparableError, "hold the tag 7, and the model's 5 tags"),
        ({"words": [["a"], ["b"]], "tags": [[0], None]}, TAGS, NotComparableError, "no tags in row 1"),
        ({"words": [["a"], ["b"]], "tags": [[-100], [-100]]}, TAGS, NotComparableError, "carries no tags"),
        ({"words": [["a"]], "tags": [["NOUN"]]}, None, NotComparableError, "model has 5 classes .* and the data 1"),
    ],
)
def test_bad_data_are_told_by_row(tmp_path, data, labels, error, words):
    bert(tmp_path, ["a b c"])
    with pytest.raises(error, match=words):
        prepared_of(tmp_path, data, labels=labels)


def test_secret_references_and_hopeless_lengths_are_refused(tmp_path):
    bert(tmp_path, ["a b c"])
    data = {"words": [["a"]], "tags": [[0]]}
    task = task_of(KIND, COLUMNS)
    with pytest.raises(NotComparableError, match="kept secret"):
        prepared_of(tmp_path, data, examples=examples_of(task, data, TAGS, is_labelled=False))
    with pytest.raises(UsageError, match="nothing of the text would be left"):
        prepared_of(tmp_path, data, labels=TAGS, max_length=2)
    with pytest.raises(UsageError, match="the model takes 128"):
        prepared_of(tmp_path, data, labels=TAGS, max_length=129)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=6), max_size=9), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(3, 12)),
)
def test_every_word_is_kept_cut_or_silent(sequences, limit):
    words = tokenizer(["the film", "plot joy"])
    found = encode_words(words, "bert", sequences, limit)
    assert sum(len(kept) for kept in found.kept) + found.cut + found.silent == sum(len(s) for s in sequences)
    starts, of_token = found.encoded.starts, found.encoded.flat["words"]
    for unit, kept in enumerate(found.kept):
        own = of_token[starts[unit] : starts[unit + 1]]
        assert sorted(set(own[own >= 0].tolist())) == list(range(len(kept)))
        assert limit is None or len(own) <= limit
        for number, word in enumerate(kept.tolist()):
            ids = found.encoded.flat["input_ids"][starts[unit] : starts[unit + 1]][own == number].tolist()
            whole = words(sequences[unit][word], add_special_tokens=False)["input_ids"]
            assert ids == whole[: len(ids)]


@pytest.mark.parametrize("labels", [TAGS, None])
@pytest.mark.parametrize("as_names", [True, False])
def test_a_stub_fits_any_data(tmp_path, labels, as_names):
    tags = [[TAGS[tag] for tag in row] for row in IDS] if as_names else IDS
    task = task_of(KIND, COLUMNS)
    examples = examples_of(task, {"words": WORDS, "tags": tags}, labels)
    save_stub(KIND, examples, tmp_path)
    columns = drive(prepared_of(tmp_path, None, task=task, examples=examples), 60, 16)
    assert sum(len(row) for row in columns["tags"]) == sum(len(row) for row in WORDS)


def test_the_tokeniser_is_not_changed_for_others(tmp_path):
    bert(tmp_path, ["a b c"])
    first = load_tokenizer(str(tmp_path))
    encode_words(first, "bert", [["a", "b"]], 3)
    assert first("a b c a b c")["input_ids"] == load_tokenizer(str(tmp_path))("a b c a b c")["input_ids"]


def test_words_are_put_in_lower_case_only_if_asked(tmp_path):
    model, words = bert(tmp_path, [" ".join(words)[:3] for words in WORDS])
    words.backend_tokenizer.normalizer = None
    save(tmp_path, words)
    shouted = [[word.upper() for word in sentence] for sentence in WORDS]
    data = {"words": shouted, "tags": IDS}
    lower = drive(
        prepared_of(tmp_path, data, task=task_of(KIND, COLUMNS, lowercase_input=True), labels=TAGS), len(WORDS), 7
    )
    names = [[TAGS[tag] for tag in row] for row in IDS]
    check(lower, plain_loop(model, words, WORDS), TAGS, names)
    as_given = drive(prepared_of(tmp_path, data, labels=TAGS), len(WORDS), 7)
    check(as_given, plain_loop(model, words, shouted), TAGS, names)
    assert lower["tags"] != as_given["tags"]
