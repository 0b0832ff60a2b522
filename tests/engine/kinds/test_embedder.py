"""What sentence-transformers files say, and poolings against loops written out over one text at a time."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from verify.engine.kinds.embedder import pool, read_recipe
from verify.errors import BlockedError, EngineError

ST = "sentence_transformers.models."
POOLINGS = ("cls", "mean", "max", "mean_sqrt_len", "weighted_mean", "last")


def repository(folder, *modules, **files):
    """A folder with modules.json; each module is (type, config or None), the transformer at the top."""
    listed = []
    for place, (kind, config) in enumerate(modules):
        path = "" if place == 0 else f"{place}_{kind.rpartition('.')[2]}"
        listed.append({"idx": place, "name": str(place), "path": path, "type": kind})
        if config is not None:
            (folder / path).mkdir(parents=True, exist_ok=True)
            name = "sentence_bert_config.json" if place == 0 else "config.json"
            (folder / path / name).write_text(json.dumps(config))
    folder.mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def dense(folder, place, weight, bias=None, **config):
    path = folder / f"{place}_Dense"
    path.mkdir(parents=True, exist_ok=True)
    size = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": bias is not None}
    (path / "config.json").write_text(json.dumps({**size, **config}))
    weights = {"linear.weight": weight} | ({"linear.bias": bias} if bias is not None else {})
    save_file(weights, path / "model.safetensors")


def pooled_alone(name, vectors):
    """One pooling of one text's token embeddings [t, D], in plain numpy."""
    if name == "cls":
        return vectors[0]
    if name == "last":
        return vectors[-1]
    if name == "max":
        return vectors.max(axis=0)
    if name == "mean":
        return vectors.mean(axis=0)
    if name == "mean_sqrt_len":
        return vectors.sum(axis=0) / np.sqrt(len(vectors))
    weights = np.arange(1, len(vectors) + 1)
    return (vectors * weights[:, None]).sum(axis=0) / weights.sum()


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    names=st.lists(st.sampled_from(POOLINGS), min_size=1, max_size=3),
    seed=st.integers(0, 100),
)
def test_poolings_of_a_padded_batch_are_those_of_each_text_alone(lengths, names, seed):
    chance = np.random.default_rng(seed)
    hidden = chance.normal(size=(len(lengths), max(lengths), 3))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    found = pool(names, torch.tensor(hidden), torch.tensor(mask.astype(np.int64))).numpy()
    for row, length in enumerate(lengths):
        expected = np.concatenate([pooled_alone(name, hidden[row, :length]) for name in names])
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_a_repository_without_the_files_is_pooled_by_the_mean(tmp_path):
    recipe = read_recipe(tmp_path)
    assert (recipe.pooling, recipe.steps, recipe.is_stated) == (("mean",), (), False)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"pooling_mode_lasttoken": True}, ("last",)),
        ({"word_embedding_dimension": 4}, ("mean",)),
        ({"pooling_mode": "lasttoken"}, ("last",)),
        ({"pooling_mode": ["weightedmean", "mean_sqrt_len_tokens"]}, ("weighted_mean", "mean_sqrt_len")),
    ],
)
def test_both_forms_of_a_pooling_are_read(tmp_path, config, expected):
    recipe = read_recipe(repository(tmp_path, (ST + "Transformer", {}), (ST + "Pooling", config)))
    assert recipe.pooling == expected
    assert recipe.is_stated


def test_all_modules_are_read_in_their_order(tmp_path):
    weight, bias = torch.randn(2, 4), torch.randn(2)
    repository(
        tmp_path,
        (ST + "Transformer", {"max_seq_length": 77, "do_lower_case": True}),
        (ST + "Pooling", {"pooling_mode": "cls", "include_prompt": False}),
        (ST + "Dense", None),
        ("sentence_transformers.sentence_transformer.modules.normalize.Normalize", None),
        config_sentence_transformers={
            "prompts": {"query": "q: ", "document": ""},
            "default_prompt_name": "query",
            "similarity_fn_name": "dot",
        },
    )
    dense(tmp_path, 2, weight, bias)
    recipe = read_recipe(tmp_path)
    assert (recipe.max_tokens, recipe.lower_case, recipe.prompt, recipe.pool_prompt) == (77, True, "q: ", False)
    assert (recipe.similarity, recipe.prompts) == ("dot", ("query",))
    assert [step.name for step in recipe.steps] == ["2_Dense (dense, Tanh)", "normalize"]
    vectors = torch.randn(5, 4)
    found = vectors
    for step in recipe.steps:
        found = step.apply(found)
    expected = np.tanh(vectors.numpy() @ weight.numpy().T + bias.numpy())
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_settings_of_a_task_replace_what_the_files_say(tmp_path):
    repository(tmp_path, (ST + "Transformer", {}), (ST + "Pooling", {"pooling_mode": "cls"}), (ST + "Normalize", None))
    recipe = read_recipe(tmp_path)
    changed = recipe.with_settings(pooling="max", normalize="no", prompt="p")
    assert (changed.pooling, changed.steps, changed.prompt) == (("max",), (), "p")
    assert [step.name for step in recipe.with_settings(normalize="yes").steps] == ["normalize"]
    assert recipe.with_settings() == recipe


def test_a_dense_layer_must_take_what_the_pooling_gives(tmp_path):
    repository(tmp_path, (ST + "Transformer", {}), (ST + "Pooling", {"pooling_mode": "cls"}), (ST + "Dense", None))
    dense(tmp_path, 2, torch.randn(2, 4))
    recipe = read_recipe(tmp_path)
    assert recipe.fits(4) is recipe
    with pytest.raises(EngineError, match=r"2_Dense .* takes 4 numbers, and the pooling cls before it gives 8"):
        recipe.fits(8)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([("my_module.Transformer", None)], r"module 0, my_module\.Transformer"),
        ([(ST + "Transformer", {}), (ST + "CNN", {})], r"module 1, sentence_transformers\.models\.CNN"),
        ([(ST + "Transformer", {})], "no pooling"),
        ([(ST + "Transformer", {"transformer_task": "fill-mask"}), (ST + "Pooling", {})], "fill-mask"),
        ([(ST + "Transformer", {"max_seq_length": "many"}), (ST + "Pooling", {})], "max_seq_length: many"),
        ([(ST + "Transformer", {}), (ST + "Pooling", {"pooling_mode": "median"})], "the pooling median"),
        ([(ST + "Transformer", {}), (ST + "Pooling", {"pooling_mode_odd": True})], "the pooling pooling_mode_odd"),
        ([(ST + "Transformer", {}), (ST + "Pooling", None)], "1_Pooling/config.json cannot be read"),
        (
            [(ST + "Transformer", {}), (ST + "Pooling", {}), (ST + "Dense", {"activation_function": "os.system"})],
            r"the activation os\.system",
        ),
        (
            [(ST + "Transformer", {}), (ST + "Pooling", {}), (ST + "Dense", {"module_input_name": "token_embeddings"})],
            "module_input_name: token_embeddings",
        ),
        ([(ST + "Transformer", {}), (ST + "Pooling", {}), (ST + "Dense", {"out_features": 2})], "in_features"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_it(tmp_path, modules, message):
    with pytest.raises(EngineError, match=message):
        read_recipe(repository(tmp_path, *modules))


def test_a_module_outside_the_repository_is_refused(tmp_path):
    folder = repository(tmp_path / "model", (ST + "Transformer", {}), (ST + "Pooling", {}))
    listed = json.loads((folder / "modules.json").read_text())
    listed[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(EngineError, match="leads out of the repository"):
        read_recipe(folder)


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[" * 100_000])
def test_a_damaged_list_of_modules_is_an_error(tmp_path, content):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(EngineError, match=r"modules\.json"):
        read_recipe(tmp_path)


def test_a_dense_layer_without_sound_weights_blocks_the_run(tmp_path):
    config = {"in_features": 4, "out_features": 2, "bias": True}
    repository(tmp_path, (ST + "Transformer", {}), (ST + "Pooling", {}), (ST + "Dense", config))
    torch.save({"linear.weight": torch.zeros(2, 4)}, tmp_path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(BlockedError, match=r"2_Dense has no model\.safetensors"):
        read_recipe(tmp_path)
    save_file({"linear.weight": torch.zeros(2, 3)}, tmp_path / "2_Dense" / "model.safetensors")
    with pytest.raises(BlockedError, match="2_Dense do not fill it"):
        read_recipe(tmp_path)
