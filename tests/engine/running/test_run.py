"""The engine against a plain transformers loop at batch size 1, for every layout of batches and processes."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.builders import DEMO, bert, save, sentences, tokenizer, write_parquet, write_task
from PIL import Image
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from verify.engine.job import Job
from verify.engine.running.launch import Worker
from verify.engine.running.run import run
from verify.errors import BlockedError, DataError, EngineError, NotComparableError
from verify.hub.states import states_of
from verify.store.runs import PREDICTIONS, PROBE, RunFolder
from verify.tasks.registry import load_registry

TEXTS = sentences(150)
PAIRS = sentences(150, seed=1)
LABELS = [i % 3 for i in range(150)]


def nothing(event):
    return None


def job_of(tmp_path: Path, columns: str, data: dict, **options) -> Job:
    file = write_parquet(tmp_path / "data.parquet", data)
    folder = write_task(tmp_path / "tasks", "mine", file, columns=columns)
    settings = {
        "model_folder": str(tmp_path / "model"),
        "task": load_registry([str(folder)])["mine"],
        "split": "validation",
        "run_folder": str(tmp_path / "run"),
        "device": "cpu",
    }
    return Job(**{**settings, **options})


@pytest.fixture
def three_classes(tmp_path: Path):
    """A model of three classes whose order differs from the data's, and the job that runs it."""
    model, words = bert(tmp_path / "model", TEXTS, ["neutral", "bad", "good"])
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": LABELS})
    job = replace(job, task=replace(job.task, labels=("bad", "neutral", "good")))
    return model, words, job


def plain_loop(model, words, *texts):
    with torch.inference_mode():
        return np.array(
            [
                model(**words(*row, truncation=True, return_tensors="pt")).logits[0].numpy()
                for row in zip(*texts, strict=True)
            ]
        )


def test_predictions_are_those_of_a_plain_loop_and_labels_go_by_name(three_classes):
    model, words, job = three_classes
    run(job, nothing)
    stored = RunFolder(Path(job.run_folder)).predictions(PREDICTIONS)
    assert stored.example.tolist() == list(range(150))
    assert stored.reference.tolist() == LABELS
    assert stored.label_of_logit == (1, 0, 2)
    np.testing.assert_allclose(stored.logits, plain_loop(model, words, TEXTS), atol=1e-5)


def test_pairs_are_encoded_as_pairs(tmp_path):
    model, words = bert(tmp_path / "model", TEXTS, ["no", "yes"])
    columns = "{text: a, text_pair: b, label: label}"
    job = job_of(tmp_path, columns, {"a": TEXTS, "b": PAIRS, "label": [i % 2 for i in range(150)]})
    run(job, nothing)
    stored = RunFolder(Path(job.run_folder)).predictions(PREDICTIONS)
    np.testing.assert_allclose(stored.logits, plain_loop(model, words, TEXTS, PAIRS), atol=1e-5)
    assert not np.allclose(stored.logits, plain_loop(model, words, TEXTS), atol=1e-3)


def test_a_regression_keeps_its_targets(tmp_path):
    model, words = bert(tmp_path / "model", TEXTS, None)
    targets = [i / 30 for i in range(150)]
    job = job_of(tmp_path, "{text: a, text_pair: b, label: score}", {"a": TEXTS, "b": PAIRS, "score": targets})
    run(job, nothing)
    stored = RunFolder(Path(job.run_folder)).predictions(PREDICTIONS)
    assert stored.is_regression
    assert stored.reference.tolist() == targets
    np.testing.assert_allclose(stored.logits, plain_loop(model, words, TEXTS, PAIRS), atol=1e-5)


def test_images_are_those_of_a_plain_loop(tmp_path):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    task = load_registry([str(DEMO / "tasks")])["digits"]
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": LABELS}, task=task, split="test")
    run(replace(job, model_folder=str(DEMO / "digits-vit"), limit=60), nothing)
    stored = RunFolder(Path(job.run_folder)).predictions(PREDICTIONS)

    from verify.tasks.data import load_examples

    cells = load_examples(task, "test").column("image", stored.example.tolist())
    pictures = [Image.open(io.BytesIO(cell["bytes"])) for cell in cells]
    model = AutoModelForImageClassification.from_pretrained(DEMO / "digits-vit").eval()
    processor = AutoImageProcessor.from_pretrained(DEMO / "digits-vit")
    with torch.inference_mode():
        expected = [
            model(**processor(image.convert("RGB"), return_tensors="pt")).logits[0].numpy() for image in pictures
        ]
    np.testing.assert_allclose(stored.logits, np.array(expected), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_predictions_do_not_depend_on_the_batch_size(three_classes, batch_size):
    model, words, job = three_classes
    run(replace(job, batch_size=batch_size), nothing)
    stored = RunFolder(Path(job.run_folder)).predictions(PREDICTIONS)
    assert (stored.logits.argmax(1) == plain_loop(model, words, TEXTS).argmax(1)).all()


@pytest.mark.parametrize(("device", "batch_size"), [("cpu", None), ("auto", 7)])
def test_two_processes_really_run_and_give_the_same_rows(three_classes, device, batch_size):
    model, words, job = three_classes
    events = []
    Worker([replace(job, processes=2, device=device, batch_size=batch_size)]).follow(events.append)
    folder = RunFolder(Path(job.run_folder))
    stored = folder.predictions(PREDICTIONS)
    assert stored.example.tolist() == list(range(150))
    np.testing.assert_allclose(stored.logits, plain_loop(model, words, TEXTS), atol=1e-5)
    assert folder.info()["processes"] == 2
    done = {
        event["rank"]: event["done"] for event in events if event["event"] == "rows" and event["pass"] == PREDICTIONS
    }
    assert set(done) == {0, 1}
    assert sum(done.values()) == 150
    assert min(done.values()) > 0
    assert len({event["process"] for event in events if event["event"] == "start"}) == 2


def test_more_processes_than_started_is_an_error(three_classes):
    job = three_classes[2]
    with pytest.raises(EngineError, match="2 processes were asked for and 1 started"):
        run(replace(job, processes=2), nothing)


def test_the_second_configuration_runs_the_examples_nearest_to_a_tie(three_classes):
    job = three_classes[2]
    run(job, nothing)
    folder = RunFolder(Path(job.run_folder))
    stored, probe = folder.predictions(PREDICTIONS), folder.predictions(PROBE)
    top = np.sort(stored.logits, axis=1)
    margins = top[:, -1] - top[:, -2]
    assert probe.example.tolist() == sorted(np.argsort(margins)[:15].tolist())
    assert (stored.logits[probe.example] != probe.logits).any(), "batch 1 and padded batches differ in the last bits"
    np.testing.assert_allclose(stored.logits[probe.example], probe.logits, atol=1e-5)


def test_a_run_goes_on_where_it_was_cut_off_with_another_batch_size(three_classes):
    job = three_classes[2]
    run(replace(job, limit=40), nothing)
    folder = RunFolder(Path(job.run_folder))
    before = {file.name for file in (folder.path / PREDICTIONS).iterdir()}
    events = []
    run(replace(job, batch_size=7), events.append)
    assert before < {file.name for file in (folder.path / PREDICTIONS).iterdir()}
    assert next(event["total"] for event in events if event["event"] == "start") == 110
    assert folder.predictions(PREDICTIONS).example.tolist() == list(range(150))


def test_a_damaged_shard_is_run_again(three_classes):
    model, words, job = three_classes
    run(job, nothing)
    folder = RunFolder(Path(job.run_folder))
    shard = next((folder.path / PREDICTIONS).iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    run(job, nothing)
    stored = folder.predictions(PREDICTIONS)
    assert stored.example.tolist() == list(range(150))
    np.testing.assert_allclose(stored.logits, plain_loop(model, words, TEXTS), atol=1e-5)


def test_long_texts_are_cut_and_that_is_said(tmp_path):
    model, words = bert(tmp_path / "model", TEXTS, ["no", "yes"])
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": [i % 2 for i in range(150)]})
    run(replace(job, max_length=8), nothing)
    folder = RunFolder(Path(job.run_folder))
    longer = sum(len(words(text)["input_ids"]) > 8 for text in TEXTS)
    assert 0 < longer < 150
    assert f"{longer} of 150 inputs were longer than 8 tokens and were cut" in folder.info()["notes"]
    words.model_max_length = 8
    np.testing.assert_allclose(folder.predictions(PREDICTIONS).logits, plain_loop(model, words, TEXTS), atol=1e-5)


def test_a_missing_head_blocks_the_run(tmp_path):
    words = tokenizer(TEXTS)
    size = {"vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    save(tmp_path / "model", BertForMaskedLM(BertConfig(**size, intermediate_size=64)), words)
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": [i % 2 for i in range(150)]})
    with pytest.raises(BlockedError, match=r"classifier\.weight"):
        run(job, nothing)
    assert not (Path(job.run_folder) / PREDICTIONS).exists()


def test_a_head_of_another_shape_blocks_the_run(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["id2label"] = {"0": "bad", "1": "so so", "2": "good"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": LABELS})
    with pytest.raises(BlockedError, match=r"another shape .*classifier"):
        run(job, nothing)


def test_a_classifier_is_not_compared_with_numbers(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": [0.5] * 150})
    with pytest.raises(NotComparableError, match="gives classes and the task mine asks for a number"):
        run(job, nothing)


def test_label_ids_beyond_the_models_classes_are_not_all_wrong_but_not_comparable(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": [1 + i % 2 for i in range(150)]})
    with pytest.raises(NotComparableError, match="hold the label 2, and the model's 2 classes have the ids 0 to 1"):
        run(job, nothing)


def test_a_column_without_texts_is_named(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    job = job_of(tmp_path, "{text: label, label: label}", {"text": TEXTS, "label": [i % 2 for i in range(150)]})
    with pytest.raises(DataError, match=r"'label' holds int .* columns\.text"):
        run(job, nothing)


def test_outputs_that_are_not_finite_are_refused(tmp_path):
    model, _ = bert(tmp_path / "model", TEXTS, ["no", "yes"])
    model.classifier.weight.data.fill_(float("nan"))
    save(tmp_path / "model", model)
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": [i % 2 for i in range(150)]})
    with pytest.raises(EngineError, match="not finite"):
        run(job, nothing)


def test_a_batch_that_does_not_fit_is_halved(three_classes, monkeypatch):
    model, words, job = three_classes
    sizes = []
    forward = BertForSequenceClassification.forward

    def with_little_memory(self, input_ids=None, **inputs):
        sizes.append(len(input_ids))
        if len(input_ids) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", with_little_memory)
    run(replace(job, batch_size=32), nothing)
    monkeypatch.undo()
    assert max(sizes) == 32
    stored = RunFolder(Path(job.run_folder)).predictions(PREDICTIONS)
    np.testing.assert_allclose(stored.logits, plain_loop(model, words, TEXTS), atol=1e-5)


def test_a_gpu_that_is_not_there_is_an_error(three_classes):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(EngineError, match=r"engine\.device=cuda .* engine\.device=auto"):
        run(replace(three_classes[2], device="cuda"), nothing)


def test_a_model_that_was_replaced_after_its_digest_was_taken_is_not_run(tmp_path):
    bert(tmp_path / "model", TEXTS, ["a", "b", "c"])
    names = tuple(file.name for file in (tmp_path / "model").iterdir())
    job = job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": LABELS}, files=names)
    job = replace(job, states=states_of(tmp_path / "model", names))
    bert(tmp_path / "model", TEXTS, ["a", "b", "c"], seed=1)
    with pytest.raises(EngineError, match="changed while the model was being loaded"):
        run(job, nothing)
    assert RunFolder(tmp_path / "run").info() is None
