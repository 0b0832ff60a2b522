"""Taggers against a plain transformers loop at batch size 1, word by word."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForTokenClassification,
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizer,
    T5Config,
    T5ForTokenClassification,
)

from engine.driving import drive, examples_of, job_for, state_in_tokenizer_config, task_of
from verify.engine.inputs.text import load_tokenizer
from verify.engine.inputs.words import encode_words
from verify.engine.kinds.token_classification import prepare
from verify.engine.stub import save_stub
from verify.errors import DataError, NotComparableError, UsageError
from verify.metrics.families.sequence import metrics
from verify.store.predictions import TagPredictions

KIND = "token-classification"
COLUMNS = {"tokens": "words", "tags": "tags"}
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORDS = [text.split() for text in sentences(60)]
NEAR = 4e-5  # what the order of additions in float32 may change here
IDS = [[(len(word) + place) % len(TAGS) for place, word in enumerate(words)] for words in WORDS]


def model_sizes(labels, **options):
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "initializer_range": 0.3,
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        **options,
    }


def bert(folder: Path, texts, labels=TAGS, max_length=128, **options):
    torch.manual_seed(0)
    words = tokenizer(texts, max_length=max_length)
    config = BertConfig(vocab_size=len(words), max_position_embeddings=max_length, **model_sizes(labels, **options))
    model = BertForTokenClassification(config).eval()
    save(folder, model, words)
    return model, words


def byte_level(texts):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return core


def pooled(rows, subword):
    if subword == "mean":
        return rows.mean(dim=0)
    return rows.max(dim=0).values if subword == "max" else rows[0 if subword == "first" else -1]


def plain_loop(model, words, sentences_of_words, subword="first", **options):
    """For each sentence the numbers of the words that the model saw, and their logits, one sentence at a time."""
    found = []
    for sentence in sentences_of_words:
        encoding = words(sentence, is_split_into_words=True, truncation=True, return_tensors="pt", **options)
        with torch.inference_mode():
            logits = model(**encoding).logits[0]
        places = {}
        for place, word in enumerate(encoding.word_ids(0)):
            if word is not None:
                places.setdefault(word, []).append(place)
        found.append({word: pooled(logits[at], subword).numpy() for word, at in places.items()})
    return found


def prepared_of(folder, data, *, task=None, labels=None, rows=None, examples=None, **options):
    task = task or task_of(KIND, COLUMNS)
    examples = examples or examples_of(task, data, labels)
    rows = np.arange(len(examples)) if rows is None else np.array(rows)
    return prepare(job_for(task, folder, **options), examples, rows, "cpu")


def check(columns, expected, names, references):
    """Tags, margins and references of every word in ``expected``, and of no other."""
    for tags, reference, margins, seen, own in zip(
        columns["tags"], columns["reference"], columns["word_margins"], expected, references, strict=True
    ):
        for tag, logits in zip(tags, seen.values(), strict=True):
            assert tag in {names[i] for i in np.flatnonzero(logits > logits.max() - NEAR)}
        assert reference == [own[word] for word in seen]
        top = [np.sort(logits)[-2:] for logits in seen.values()]
        np.testing.assert_allclose(margins, [high - low for low, high in top], atol=NEAR)


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


def train_tagger(folder: Path, rows, labels):
    """A small BERT trained on real tweets for three epochs."""
    torch.manual_seed(0)
    words = tokenizer([" ".join(tokens) for tokens in rows["tokens"]], vocab_size=4000)
    sizes = model_sizes(labels, hidden_size=64, num_hidden_layers=1, intermediate_size=128, initializer_range=0.05)
    model = BertForTokenClassification(BertConfig(vocab_size=len(words), max_position_embeddings=128, **sizes))
    encoding = words(rows["tokens"], is_split_into_words=True, truncation=True)
    targets = []
    for i, tags in enumerate(rows["ner_tags"]):
        numbers, before = encoding.word_ids(i), [None, *encoding.word_ids(i)]
        targets.append([-100 if w is None or w == b else tags[w] for w, b in zip(numbers, before, strict=False)])
    order, chance = sorted(range(len(targets)), key=lambda i: len(targets[i])), random.Random(0)
    batches = [order[i : i + 32] for i in range(0, len(order), 32)]
    batches = [batch for _ in range(3) for batch in chance.sample(batches, len(batches))]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 30, 1 - step / len(batches)))
    for batch in batches:
        inputs = words.pad({"input_ids": [encoding["input_ids"][i] for i in batch]}, return_tensors="pt")
        width = inputs["input_ids"].shape[1]
        wanted = torch.tensor([targets[i] + [-100] * (width - len(targets[i])) for i in batch])
        model(**inputs, labels=wanted).loss.backward()
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
    save(folder, model.eval(), words)
    return model, words


@needs_shared
def test_real_entities_of_a_trained_tagger_score_as_seqeval_says(tmp_path):
    import datasets
    from seqeval.metrics import f1_score

    folder = SHARED / "data" / "broad_twitter_corpus" / "default"
    read = {name: datasets.Dataset.from_parquet(str(folder / f"{name}.parquet")) for name in ("train", "validation")}
    labels = tuple(read["train"].features["ner_tags"].feature.names)
    model, words = train_tagger(tmp_path, read["train"].select(range(3138, 5338))[:], labels)
    table = read["validation"].select(range(300))
    task = task_of(KIND, {"tokens": "tokens", "tags": "ner_tags"})
    prepared = prepared_of(tmp_path, None, task=task, examples=examples_of(task, table, labels))
    expected = plain_loop(model, words, table["tokens"])
    names = [[labels[tag] for tag in row] for row in table["ner_tags"]]
    columns = drive(prepared, 300, 32)
    check(columns, expected, labels, names)
    score = metrics(TagPredictions(np.arange(300), **columns, scheme=prepared.info["scheme"]))["f1"].score("f1")
    tags = [[labels[logits.argmax()] for logits in seen.values()] for seen in expected]
    seen_names = [[own[word] for word in seen] for own, seen in zip(names, expected, strict=True)]
    assert score.value == pytest.approx(f1_score(seen_names, tags), abs=1e-9)
    assert score.value > 0.1, "the tagger has learnt something"
    assert prepared.info["scheme"] == "IOB2"


@needs_shared
def test_real_parts_of_speech_are_those_of_a_plain_loop(tmp_path):
    import datasets

    file = SHARED / "data" / "universal_dependencies" / "en_ewt" / "test.parquet"
    table = datasets.Dataset.from_parquet(str(file)).select(range(500))
    labels = tuple(table.features["upos"].feature.names)
    known = [label for label in labels if label != "_"]
    model, words = bert(tmp_path, table["text"], known, max_length=48)
    task = task_of(KIND, {"tokens": "tokens", "tags": "upos"})
    examples = examples_of(task, table, labels)
    prepared = prepared_of(tmp_path, None, task=task, examples=examples)
    columns = drive(prepared, 500, 32)
    check(
        columns, plain_loop(model, words, table["tokens"]), known, [[labels[t] for t in row] for row in table["upos"]]
    )
    assert prepared.info["scheme"] == "none"
    assert "the model has no class for _" in prepared.info["label_alignment"]
    by_name = replace(task, columns={"tokens": "tokens", "tags": "xpos"})
    with pytest.raises(NotComparableError, match="The model has 17 classes"):
        prepared_of(tmp_path, None, task=by_name, examples=examples_of(by_name, table))


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
