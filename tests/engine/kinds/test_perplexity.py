"""Likelihoods against plain transformers loops over one window at a time, written as the literature states them."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from helpers.language_models import byte_pairs, gpt2, llama, masked_bert

from engine.driving import drive, examples_of, job_for, task_of
from verify.engine.kinds.perplexity import prepare
from verify.engine.stub import save_stub
from verify.errors import DataError, EngineError, UsageError
from verify.metrics.families.language import metrics
from verify.store.predictions import LikelihoodPredictions

KIND = "perplexity"
TEXTS = [*sentences(12), "", "joy", *sentences(4, seed=1), "ein schöner Film ☺ 映画"]
LONG = " ".join(sentences(20, seed=2))
CONTEXT = 64


def prepared_for(folder, texts, rows=None, **options):
    names = ("objective", "join", "context", "stride", "target")
    settings = {name: options.pop(name) for name in names if name in options}
    task = task_of(KIND, {"text": "text"}, **settings)
    chosen = np.arange(len(texts)) if rows is None else np.asarray(rows)
    return prepare(job_for(task, folder, **options), examples_of(task, {"text": list(texts)}), chosen, "cpu")


def score(prepared, count, batch_size=4):
    found = drive(prepared, count, batch_size)
    return LikelihoodPredictions(np.arange(count), **found, unit=prepared.info["unit"])


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    """A GPT-2, whose tokeniser adds nothing to a text."""
    folder, words = tmp_path_factory.mktemp("gpt2"), byte_pairs(TEXTS, max_length=CONTEXT)
    model = gpt2(len(words), CONTEXT)
    save(folder, model, words)
    return model, words, folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A LLaMA, whose tokeniser puts <s> before a text and </s> after it."""
    folder = tmp_path_factory.mktemp("llama")
    words = byte_pairs(TEXTS, begin="<s>", end="</s>", max_length=CONTEXT)
    model = llama(len(words), CONTEXT)
    save(folder, model, words)
    return model, words, folder


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder, words = tmp_path_factory.mktemp("bert"), tokenizer(TEXTS, max_length=CONTEXT)
    words.add_special_tokens({"mask_token": "[MASK]"})
    model = masked_bert(len(words), CONTEXT)
    save(folder, model, words)
    return model, words, folder


def log_probabilities(model, ids):
    """ln p of every next token after each token of one sequence, [t, V]."""
    with torch.inference_mode():
        return torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)


def documented(model, ids, context, stride, unscored=0):
    """The loop of the transformers documentation over one text; (nll, tokens, hits)."""
    nll, tokens, hits, before = 0.0, 0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + context, len(ids))
        labels = [-100] * len(ids[begin:end])
        for place in range(max(before, unscored) - begin, end - begin):
            labels[place] = ids[begin + place]
        logs = log_probabilities(model, ids[begin:end])
        for place, label in enumerate(labels[1:]):
            if label != -100:
                nll -= float(logs[place, label])
                hits += int(logs[place].argmax()) == label
                tokens += 1
        before = end
        if end == len(ids):
            break
    return nll, tokens, hits


def compare(found, expected):
    np.testing.assert_allclose(found.nll, [row[0] for row in expected], rtol=1e-5, atol=1e-5)
    assert found.tokens.tolist() == [row[1] for row in expected]
    assert found.hits.tolist() == [row[2] for row in expected]


@pytest.mark.parametrize(("context", "stride"), [(None, None), (16, 16), (16, 5), (16, 15), (7, 1)])
def test_each_row_is_scored_as_in_the_documentation(gpt, context, stride):
    model, words, folder = gpt
    prepared = prepared_for(folder, [*TEXTS, LONG], context=context, stride=stride)
    ids = words([*TEXTS, LONG])["input_ids"]
    assert len(ids[-1]) > 2 * CONTEXT
    expected = [documented(model, row, context or CONTEXT, stride or context or CONTEXT) for row in ids]
    compare(score(prepared, len(ids)), expected)
    assert expected[12] == (0, 0, 0)


def test_the_loss_is_the_one_that_transformers_computes(gpt):
    model, words, folder = gpt
    found = score(prepared_for(folder, TEXTS), len(TEXTS))
    losses = []
    for text in TEXTS:
        ids = words(text, return_tensors="pt")["input_ids"].long()
        if ids.shape[1] > 1:
            with torch.inference_mode():
                losses += [float(model(input_ids=ids, labels=ids).loss)] * (ids.shape[1] - 1)
    assert metrics(found)["loss"].score("loss").value == pytest.approx(np.mean(losses), rel=1e-6)


def test_metrics_are_those_of_the_sums(gpt):
    found = score(prepared_for(gpt[2], TEXTS), len(TEXTS))
    values = {name: metric.score(name).value for name, metric in metrics(found).items()}
    nll, tokens, words = math.fsum(found.nll), int(found.tokens.sum()), int(found.words.sum())
    assert values["perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-9)
    assert values["word_perplexity"] == pytest.approx(math.exp(nll / words), rel=1e-9)
    assert values["bits_per_byte"] == pytest.approx(nll / int(found.bytes.sum()) / math.log(2), rel=1e-9)
    assert values["accuracy"] == pytest.approx(int(found.hits.sum()) / tokens, rel=1e-9)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_likelihoods_do_not_depend_on_the_batch_size(gpt, batch_size):
    one, other = (
        score(prepared_for(gpt[2], [*TEXTS, LONG], context=16), len(TEXTS) + 1, size) for size in (1, batch_size)
    )
    np.testing.assert_allclose(one.nll, other.nll, rtol=1e-5, atol=1e-5)
    assert one.hits.tolist() == other.hits.tolist()


@pytest.mark.parametrize(("context", "stride"), [(None, None), (16, 16), (16, 6)])
def test_a_special_token_before_a_text_is_read_and_the_one_after_it_is_not(begun, context, stride):
    model, words, folder = begun
    prepared = prepared_for(folder, [*TEXTS, LONG], context=context, stride=stride)
    ids = [row[:-1] for row in words([*TEXTS, LONG])["input_ids"]]
    assert ids[0][0] == words.bos_token_id
    compare(
        score(prepared, len(ids)),
        [documented(model, row, context or CONTEXT, stride or context or CONTEXT, unscored=1) for row in ids],
    )
    assert prepared.settings["special_before"] == ["<s>"]
    found = score(prepared_for(folder, TEXTS), len(TEXTS))
    assert found.words.tolist() == [len(text.split()) for text in TEXTS]
    assert found.bytes.tolist() == [len(text.encode()) for text in TEXTS]


def test_rows_that_are_joined_are_one_text(gpt):
    model, words, folder = gpt
    rows = ["", " a film \n", "", *TEXTS, LONG, ""]
    for join in ("\n\n", ""):
        prepared = prepared_for(folder, rows, join=join, context=16, stride=6)
        found = score(prepared, len(rows))
        nll, tokens, hits = documented(model, words(join.join(rows))["input_ids"], 16, 6)
        assert math.fsum(found.nll) == pytest.approx(nll, rel=1e-6)
        assert (found.tokens.sum(), found.hits.sum()) == (tokens, hits)
        text = join.join(rows)
        first = words.decode(words(text)["input_ids"][:1])
        assert found.words.sum() == len(text.split()) - len(first.split())
        assert found.bytes.sum() == len(text.encode()) - len(first.encode())
        assert f"the {len(rows)} rows of the split were read as one text, joined by {join!r}" in prepared.notes


def test_a_row_owns_the_windows_that_begin_to_score_in_it(gpt):
    _, words, folder = gpt
    rows = [f"{text} " for text in TEXTS if text]
    found = score(prepared_for(folder, rows, join="", context=8, stride=7), len(rows))
    encoding = words("".join(rows), return_offsets_mapping=True)
    ends = np.cumsum([len(row) for row in rows])
    owned = [0] * len(rows)
    for first in range(1, len(encoding["input_ids"]), 7):  # the tokens with which a window begins to score
        row = int(np.searchsorted(ends, encoding["offset_mapping"][first][0], side="right"))
        owned[row] += min(7, len(encoding["input_ids"]) - first)
    assert found.tokens.tolist() == owned


@pytest.mark.parametrize("join", [None, "\n\n", "\\n"])
def test_a_row_scores_the_same_whatever_is_selected(gpt, join):
    texts = [*TEXTS, LONG]
    whole = score(prepared_for(gpt[2], texts, join=join, context=16), len(texts))
    rows = [17, 3, 12, 19, 0]
    found = score(prepared_for(gpt[2], texts, rows, join=join, context=16), 5, batch_size=2)
    np.testing.assert_allclose(found.nll, whole.nll[rows], rtol=1e-5, atol=1e-5)
    for name in ("tokens", "words", "bytes", "hits"):
        assert getattr(found, name).tolist() == getattr(whole, name)[rows].tolist()


def test_a_line_break_may_be_written_as_an_escape(gpt):
    one, other = (score(prepared_for(gpt[2], TEXTS, join=join), len(TEXTS)) for join in ("\n\n", "\\n\\n"))
    assert one.nll.tolist() == other.nll.tolist()


def test_one_token_more_than_the_model_takes_gives_the_windows_of_the_evaluation_harness(begun):
    """Disjoint targets of as many tokens as the model takes, each predicted from the token before the window on."""
    model, words, folder = begun
    ids = words(LONG)["input_ids"][:-1]
    nll, targets = 0.0, ids[1:]
    for begin in range(0, len(targets), CONTEXT):
        wanted = targets[begin : begin + CONTEXT]
        logs = log_probabilities(model, ids[begin : begin + len(wanted)])
        nll -= sum(float(logs[place, token]) for place, token in enumerate(wanted))
    found = score(prepared_for(folder, [LONG], context=CONTEXT + 1, stride=CONTEXT), 1)
    assert found.nll[0] == pytest.approx(nll, rel=1e-6)
    assert found.tokens[0] == len(targets)


def test_what_is_not_scored_is_said(gpt, begun):
    first = "the first token of a text was not scored: the tokeniser puts nothing before it"
    assert prepared_for(gpt[2], TEXTS).notes == (first,)
    notes = prepared_for(gpt[2], [LONG], context=16).notes
    windows = math.ceil(len(gpt[1](LONG)["input_ids"]) / 16)
    assert notes[0] == first
    assert notes[1].startswith(f"{windows - 1} windows begin inside a text")
    assert prepared_for(begun[2], [LONG], context=16, stride=15).notes == ()


def last_word(model, words, text, special):
    """The tokens that the text has beyond those of the text without its last word; (nll, tokens, hits)."""
    whole, before = words(text)["input_ids"], words(text.rsplit(" ", 1)[0])["input_ids"]
    if special:
        whole, before = whole[:-1], before[:-1]
    logs = log_probabilities(model, whole[-CONTEXT - 1 : -1])
    targets = whole[len(before) :]
    logs = logs[-len(targets) :]
    hits = sum(int(row.argmax()) == token for row, token in zip(logs, targets, strict=True))
    return -sum(float(row[token]) for row, token in zip(logs, targets, strict=True)), len(targets), hits


@pytest.mark.parametrize("family", ["gpt", "begun"])
def test_a_last_word_is_scored_after_all_that_stands_before_it(request, family):
    model, words, folder = request.getfixturevalue(family)
    texts = [text for text in [*TEXTS, LONG] if " " in text]
    found = score(prepared_for(folder, texts, target="last_word"), len(texts))
    compare(found, [last_word(model, words, text, family == "begun") for text in texts])
    assert (found.words == 1).all()
    assert found.bytes.tolist() == [len(text.rsplit(" ", 1)[1].encode()) for text in texts]
    assert found.unit == "last word"
    right = sum(hits == tokens for _, tokens, hits in [last_word(model, words, t, family == "begun") for t in texts])
    assert metrics(found)["accuracy"].score("accuracy").count == right


def test_white_space_at_the_end_is_no_last_word(gpt):
    one, other = (score(prepared_for(gpt[2], [text], target="last_word"), 1) for text in ("a film", "a film \n"))
    assert one.nll.tolist() == other.nll.tolist()


@pytest.mark.parametrize("text", ["", " ", "joy"])
def test_a_text_without_a_last_word_is_named(gpt, text):
    with pytest.raises(DataError, match="row 1 has no last word with something before it"):
        prepared_for(gpt[2], ["a film", text], target="last_word")


def test_one_word_is_a_last_word_after_a_special_token(begun):
    model, words, folder = begun
    found = score(prepared_for(folder, ["joy"], target="last_word"), 1)
    compare(found, [documented(model, words("joy")["input_ids"][:-1], CONTEXT, CONTEXT, unscored=1)])


def pseudo(model, words, text, size, stride):
    """Each token masked in turn, one forward pass each; (nll, tokens, hits)."""
    ids = words(text, add_special_tokens=False)["input_ids"]
    nll, hits, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + size, len(ids))
        for place in range(before, end):
            window = [words.cls_token_id, *ids[begin:end], words.sep_token_id]
            window[1 + place - begin] = words.mask_token_id
            logs = log_probabilities(model, window)[1 + place - begin]
            nll -= float(logs[ids[place]])
            hits += int(logs.argmax()) == ids[place]
        before = end
        if end == len(ids):
            break
    return nll, len(ids), hits


@pytest.mark.parametrize(("context", "stride"), [(None, None), (12, 10), (12, 4)])
def test_a_masked_model_is_asked_for_each_token_in_turn(masked, context, stride):
    model, words, folder = masked
    texts = [*TEXTS, LONG[:400]]
    prepared = prepared_for(folder, texts, context=context, stride=stride)
    size = (context or CONTEXT) - 2
    compare(
        score(prepared, len(texts), batch_size=3), [pseudo(model, words, text, size, stride or size) for text in texts]
    )
    assert prepared.settings["objective"] == "masked"
    assert "pseudo-perplexity" in prepared.notes[0]


def test_chunks_of_masked_copies_make_no_difference(masked, monkeypatch):
    whole = score(prepared_for(masked[2], [LONG]), 1)
    monkeypatch.setattr("verify.engine.kinds.likelihood_units._COPIES_BUDGET", 200)
    prepared = prepared_for(masked[2], [LONG])
    assert (prepared.lengths <= 200).all()
    found = score(prepared, 1, batch_size=5)
    np.testing.assert_allclose(found.nll, whole.nll, rtol=1e-6)
    assert (found.tokens, found.hits) == (whole.tokens, whole.hits)


def test_a_masked_model_reads_joined_rows(masked):
    model, words, folder = masked
    found = score(prepared_for(folder, TEXTS, join="\n", context=22), len(TEXTS))
    nll, tokens, hits = pseudo(model, words, "\n".join(TEXTS), 20, 20)
    assert math.fsum(found.nll) == pytest.approx(nll, rel=1e-6)
    assert (found.tokens.sum(), found.hits.sum()) == (tokens, hits)
    assert found.words.sum() == sum(len(text.split()) for text in TEXTS)


def test_only_scored_places_reach_the_vocabulary(gpt, masked):
    for _, _, folder in (gpt, masked):
        prepared, rows = prepared_for(folder, TEXTS, context=16, stride=5), []
        hook = prepared.model.get_output_embeddings().register_forward_hook(
            lambda _module, _inputs, output, rows=rows: rows.append(output.shape[:-1].numel())
        )
        found = score(prepared, len(TEXTS))
        hook.remove()
        assert sum(rows) == found.tokens.sum()


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("gpt", {"context": 16, "stride": 17}, "stride: it must be between 1 and 16"),
        ("gpt", {"context": 16, "stride": -1}, "stride: it must be between 1 and 16"),
        ("gpt", {"context": 1}, "1 tokens are too few"),
        ("gpt", {"context": CONTEXT + 2}, f"{CONTEXT + 2} tokens were asked for, and the model takes {CONTEXT}"),
        ("gpt", {"join": "\n", "target": "last_word"}, "each row is a text of its own"),
        ("masked", {"target": "last_word"}, "last_word needs a causal model"),
        ("masked", {"context": 12, "stride": 11}, "between 1 and 10, the tokens of a window without 2 special ones"),
        ("masked", {"context": CONTEXT + 1}, f"{CONTEXT + 1} tokens were asked for"),
    ],
)
def test_settings_that_do_not_fit_are_named(request, family, settings, message):
    with pytest.raises(UsageError, match=message):
        prepared_for(request.getfixturevalue(family)[2], TEXTS, **settings)


def test_a_masked_model_needs_a_mask(masked, tmp_path):
    save(tmp_path, masked[0], tokenizer(TEXTS))
    with pytest.raises(EngineError, match="has no mask token"):
        prepared_for(tmp_path, TEXTS)


def test_a_column_without_texts_is_named(gpt):
    with pytest.raises(DataError, match=r"'text' holds NoneType in row 1.* columns\.text"):
        prepared_for(gpt[2], ["a film", None])


@pytest.mark.parametrize("settings", [{}, {"objective": "masked"}, {"target": "last_word"}, {"join": "\n\n"}])
def test_the_stub_runs(tmp_path, settings):
    texts = [text for text in TEXTS if text]
    task = task_of(KIND, {"text": "text"})
    save_stub(KIND, examples_of(task, {"text": texts}), tmp_path)
    found = score(prepared_for(tmp_path, texts, **settings), len(texts))
    assert found.tokens.sum() > 0
    assert np.isfinite(found.nll).all()


@needs_shared
@pytest.mark.parametrize("family", ["gpt", "begun"])
def test_real_articles_are_scored_as_in_the_documentation(request, family):
    model, words, folder = request.getfixturevalue(family)
    file = SHARED / "data" / "wikitext" / "wikitext-2-v1" / "test.parquet"
    rows = pq.read_table(file)["text"].to_pylist()[:60]
    prepared = prepared_for(folder, rows, join="\n\n", stride=32)
    found = score(prepared, len(rows), batch_size=16)
    text, special = "\n\n".join(rows), family == "begun"
    ids = words(text)["input_ids"]
    nll, tokens, hits = documented(model, ids[:-1] if special else ids, CONTEXT, 32, unscored=int(special))
    assert math.fsum(found.nll) == pytest.approx(nll, rel=1e-6)
    assert (found.tokens.sum(), found.hits.sum()) == (tokens, hits)
    assert found.words.sum() == len(text.split())
    assert found.bytes.sum() == len(text.encode()) - (0 if special else len(words.decode(ids[:1]).encode()))


@needs_shared
def test_real_last_words_are_scored_as_in_a_plain_loop(gpt):
    model, words, folder = gpt
    file = SHARED / "data" / "lambada_openai" / "default" / "test.parquet"
    texts = pq.read_table(file)["text"].to_pylist()[:40]
    found = score(prepared_for(folder, texts, target="last_word"), 40, batch_size=8)
    compare(found, [last_word(model, words, text, special=False) for text in texts])
