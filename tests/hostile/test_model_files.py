"""Repositories whose files lead elsewhere, ask for more than they hold, or say less than they decide."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine.job_making import job_on, predictions_of
from helpers.builders import bert, model_index, sentences, write_parquet, write_task
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from hostile.harness import variants, verify
from verify.engine.job import Job
from verify.engine.loading.load import forget
from verify.engine.loading.view import view_of
from verify.engine.loading.watch import watched
from verify.engine.running.run import run
from verify.errors import BlockedError, EngineError, HubError, VerifyError
from verify.hub import models
from verify.metrics.constant import constant_note
from verify.store.runs import RunFolder

TEXTS = sentences(12)
LABELS = ["NEGATIVE", "POSITIVE"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "model"
    bert(folder, TEXTS, LABELS)
    return folder


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(sound, tmp_path / "model"))
    forget()


def changed(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | values))


def checked(model: Path) -> Job:
    """What `verify check` does before and after the run: the gate, and a job on the files that the key covers."""
    repository = models.resolve(str(model))
    models.check_safety(repository)
    assert len(models.digests(repository)["weights"]) == 64
    data = {"t": TEXTS, "y": [0, 1] * 6}
    job = job_on(model.parent, "sequence-classification", data, {"text": "t", "label": "y"}, probe_share=0.0)
    return replace(job, files=models.loaded_files(repository))


def ran(model: Path) -> list[str]:
    """The notes of a run."""
    job = checked(model)
    run(job, lambda event: None)
    info = RunFolder(Path(job.run_folder)).info()
    assert info is not None
    return list(info["notes"])


def refusal(model: Path) -> VerifyError:
    with pytest.raises(VerifyError) as caught:
        ran(model)
    assert "\n" not in str(caught.value)
    return caught.value


class TestFilesOutside:
    def outside(self, tmp_path: Path) -> Path:
        """Another vocabulary, beside the model's folder."""
        folder = tmp_path / "outside"
        bert(folder, ["zzz yyy xxx"], LABELS)
        shutil.copy(folder / "tokenizer.json", folder / "tokenizer.4.0.0.json")
        return folder

    def test_a_variant_of_the_tokenizer_elsewhere(self, model, tmp_path):
        own = AutoTokenizer.from_pretrained(model).get_vocab()
        other = self.outside(tmp_path)
        changed(model, "tokenizer_config.json", fast_tokenizer_files=["../outside/tokenizer.4.0.0.json"])
        assert AutoTokenizer.from_pretrained(model).get_vocab() != own
        view = view_of(str(model), checked(model).files)
        (other / "tokenizer.4.0.0.json").write_text("not read")
        assert AutoTokenizer.from_pretrained(view).get_vocab() == own

    @variants("/etc/hostname", "../outside/tokenizer.json", "~/tokenizer.json")
    @pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file", "special_tokens_map_file", "name_or_path"])
    def test_paths_that_honest_files_carry_do_no_harm(self, model, variant, key):
        own = AutoTokenizer.from_pretrained(model).get_vocab()
        changed(model, "tokenizer_config.json", **{key: variant})
        view = Path(view_of(str(model), checked(model).files))
        assert key not in json.loads((view / "tokenizer_config.json").read_text())
        assert AutoTokenizer.from_pretrained(view).get_vocab() == own

    def test_code_of_the_hub_named_as_attention(self, model):
        changed(model, "config.json", attn_implementation="some-org/attention", text_config={"_name_or_path": "a/b"})
        view = Path(view_of(str(model), checked(model).files))
        kept = json.loads((view / "config.json").read_text())
        assert "attn_implementation" not in kept
        assert kept["text_config"] == {}

    def test_nothing_else_is_in_the_folder_that_is_loaded_from(self, model):
        (model / "modeling.py").write_text("raise SystemExit")
        (model / "notes.json").write_text("[]")
        view = Path(view_of(str(model), checked(model).files))
        assert {path.name for path in view.iterdir()} == {
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        }

    def test_a_changed_file_gives_another_view(self, model):
        files = checked(model).files
        first = view_of(str(model), files)
        assert view_of(str(model), files) == first
        changed(model, "config.json", a=1)
        assert view_of(str(model), files) != first
        (model / "config.json").unlink()
        with pytest.raises(EngineError, match="cannot be read any more"):
            view_of(str(model), files)

    @variants("notes.json", "other.txt", "old.bin", "sub/config.json")
    def test_a_file_beside_the_key_that_is_opened_after_all(self, model, variant):
        (model / variant).parent.mkdir(exist_ok=True)
        (model / variant).write_text("{}")
        job = checked(model)
        with watched(job.model_folder, job.files, job.run_folder):
            view = view_of(job.model_folder, job.files)
            AutoTokenizer.from_pretrained(view)
            (model / "config.json").read_text()
        with (
            pytest.raises(EngineError, match="a file that the key of the predictions does not cover"),
            watched(job.model_folder, job.files, job.run_folder),
        ):
            (model / variant).read_text()


class TestDigests:
    @variants(
        "generation_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "2_Dense/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "tokenizer.4.0.0.json",
        "adapter.fra.safetensors",
        "additional_chat_templates/a.jinja",
        "preprocessor_config.json",
    )
    def test_what_decides_is_covered(self, model, variant):
        (model / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]')
        path = model / variant
        path.parent.mkdir(exist_ok=True)
        before = models.digests(models.resolve(str(model)))
        path.write_text("[ {} ]")
        first = models.digests(models.resolve(str(model)))
        path.write_text("[  {}  ]")
        assert variant in models.loaded_files(models.resolve(str(model)))
        assert len({str(found) for found in (before, first, models.digests(models.resolve(str(model))))}) == 3

    @variants(
        "data_config.json",
        "all_results.json",
        "onnx/config.json",
        "openvino/openvino_model.xml",
        "coreml/config.json",
        "flax_model.msgpack",
        "tf_model.h5",
        "rust_model.ot",
        "training_args.bin",
        "pytorch_model.bin",
        "train_script.py",
        "README.md",
        "checkpoint-1/tokenizer_config.json",
    )
    def test_what_does_not_decide_neither_counts_nor_blocks(self, model, variant):
        before = models.digests(models.resolve(str(model)))
        (model / variant).parent.mkdir(exist_ok=True)
        (model / variant).write_text('[{"auto_map": 1}]')
        repository = models.resolve(str(model))
        models.check_safety(repository)
        assert models.digests(repository) == before

    def test_the_older_layout_with_the_transformer_in_a_folder(self, model):
        inner = model / "0_Transformer"
        inner.mkdir()
        for file in [path for path in model.iterdir() if path.is_file()]:
            file.rename(inner / file.name)
        (model / "modules.json").write_text('[{"path": "0_Transformer"}]')
        repository = models.resolve(str(model))
        models.check_safety(repository)
        assert "0_Transformer/model.safetensors" in models.loaded_files(repository)
        changed(inner, "config.json", auto_map={"AutoConfig": "a.B"})
        with pytest.raises(BlockedError, match=r"0_Transformer/config\.json holds auto_map"):
            models.check_safety(models.resolve(str(model)))

    @variants("../other", "/etc", "a\\b")
    def test_a_module_outside(self, model, variant):
        (model / "modules.json").write_text(json.dumps([{"path": variant}]))
        with pytest.raises(BlockedError, match="Only folders inside"):
            models.check_safety(models.resolve(str(model)))

    @variants(("tokenizer_config.json", "[]"), ("config.json", "[]"), ("modules.json", "{}"), ("config.json", "{"))
    def test_a_file_of_the_wrong_kind(self, model, variant):
        (model / variant[0]).write_text(variant[1])
        with pytest.raises(HubError, match=variant[0]):
            models.check_safety(models.resolve(str(model)))

    def test_generation_settings_of_many_megabytes(self, model):
        (model / "generation_config.json").write_text(json.dumps({"bad_words_ids": [[1]] * 2_000_000}))
        with pytest.raises(BlockedError, match="larger than 4 MiB"):
            models.check_safety(models.resolve(str(model)))


class TestSizes:
    def test_a_label_count_that_plain_transformers_follows(self, model):
        changed(model, "config.json", id2label=None, label2id=None, num_labels=200_000)
        assert len(AutoConfig.from_pretrained(model).id2label) == 200_000
        found = refusal(model)
        assert isinstance(found, BlockedError)
        assert "num_labels = 200,000" in str(found)

    @variants(
        {"vocab_size": 60_000_000},
        {"num_hidden_layers": 1_000_000},
        {"hidden_size": 10_000_000},
        {"intermediate_size": 10**9},
        {"num_attention_heads": 10**8},
        {"max_position_embeddings": 10**9},
        {"max_position_embeddings": 10_000_000},
        {"vocab_size": 2_000_000},
        {"num_labels": 1e8},
        {"num_labels": -(10**8)},
        {"type_vocab_size": 10**8},
        {"text_config": {"num_hidden_layers": 10**6}},
        {"vision_config": {"image_size": 10**8}},
        {"encoder": {"num_layers": 10**6}},
        {"depths": [2, 10**6]},
        {"num_experts": 10**6},
    )
    def test_sizes_that_the_weights_cannot_have(self, model, variant):
        changed(model, "config.json", **variant)
        found = refusal(model)
        assert isinstance(found, BlockedError)
        assert "weights hold" in str(found) or "does not fill" in str(found)

    @variants({"rope_theta": 10_000_000}, {"num_train_examples": 10**9}, {"dataset_size": 10**9}, {"pad_token_id": 0})
    def test_numbers_that_are_no_sizes(self, model, variant):
        changed(model, "config.json", **variant)
        assert ran(model) == [note for note in ran(model) if "not used" not in note]


class TestNotes:
    def test_tensors_that_are_dropped(self, model):
        changed(model, "config.json", num_hidden_layers=1)
        _, info = AutoModelForSequenceClassification.from_pretrained(model, output_loading_info=True)
        assert info["unexpected_keys"]
        (note,) = [note for note in ran(model) if "not used" in note]
        assert note.startswith("16 tensors of the checkpoint are not used by BertForSequenceClassification (")

    def test_usual_leftovers_are_no_alarm(self, model):
        weights = load_file(model / "model.safetensors")
        weights["cls.predictions.bias"] = weights["classifier.bias"].clone()
        save_file(weights, model / "model.safetensors", {"format": "pt"})
        (note,) = [note for note in ran(model) if "not used" in note]
        assert note.endswith("as is usual (cls.predictions.bias)")


class TestConstantOutputs:
    def constant(self, model: Path, value: float) -> tuple[str, ...]:
        weights = load_file(model / "model.safetensors")
        for name in ("classifier.weight", "classifier.bias"):
            weights[name][:] = value if name.endswith("bias") else 0
        save_file(weights, model / "model.safetensors", {"format": "pt"})
        job = checked(model)
        run(job, lambda event: None)
        return constant_note(predictions_of(job))

    @variants(0.0, 0.5)
    def test_a_head_that_reads_nothing(self, model, variant):
        (note,) = self.constant(model, variant)
        assert note.startswith("the model gave the same output for each of the 12 examples (logits")

    def test_a_sound_model_has_no_such_note(self, model):
        job = checked(model)
        run(job, lambda event: None)
        assert constant_note(predictions_of(job)) == ()


class TestVerdicts:
    @variants(
        ({"num_hidden_layers": 1}, "16 tensors of the checkpoint are not used"),
        ({"num_labels": 10**8, "id2label": None, "label2id": None}, "num_labels = 100,000,000"),
        ({"vocab_size": 60_000_000}, "vocab_size = 60,000,000"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1,000,000"),
    )
    def test_on_the_screen_and_in_json_within_bounds(self, model, tmp_path, variant):
        settings, words = variant
        changed(model, "config.json", **settings)
        file = write_parquet(tmp_path / "mine.parquet", {"t": TEXTS, "y": [0, 1] * 6})
        tasks = write_task(tmp_path / "tasks", "mine", file, columns="{text: t, label: y}", more=f"labels: {LABELS}\n")
        (model / "README.md").write_text(model_index({"accuracy": 0.5}, dataset="mine"))
        found = verify("check", str(model), f"task_path=[{tasks}]", "--json", cwd=tmp_path).require_bounds()
        assert words in found.out, found.err
        assert words in " ".join(found.err.split())
