"""The Hub room over real HTTP: pinning, texts, offline work, data sets, and the libraries that load models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.hub_calls import CARD, WEIGHTS, ask, local_model, refusal, run, write_model

from verify.errors import HubError
from verify.hub import models


class TestResolve:
    def test_fetches_small_texts_at_a_commit_but_no_weights(self, loopback_hub, environment, tiny_model):
        write_model(
            tiny_model,
            **{
                ".eval_results/glue.yaml": "- value: 0.9",
                "all_results.json": '{"eval_accuracy": 0.91}',
                "tokenizer.model": b"\0\1",
                "trainer_state.json": "{}",
                "optimizer.pt": b"pickle",
                "1_Pooling/config.json": "{}",
            },
        )
        answer = ask(environment, "(lambda r: {**plain(r), 'texts': models.texts(r)})(models.resolve('Org/Tiny'))")
        assert answer["model"] == "Org/Tiny"
        assert answer["revision"] == loopback_hub.commit("models/Org/Tiny")
        assert answer["files"] == sorted(
            p.relative_to(tiny_model).as_posix() for p in tiny_model.rglob("*") if p.is_file()
        )
        assert answer["texts"] == {
            "README.md": CARD,
            ".eval_results/glue.yaml": "- value: 0.9",
            "all_results.json": '{"eval_accuracy": 0.91}',
        }
        folder = Path(answer["folder"])
        assert (folder / "1_Pooling/config.json").is_file()
        assert (folder / "tokenizer.model").is_file()
        asked = " ".join(request.path for request in loopback_hub.requests)
        assert not any(name in asked for name in ("model.safetensors", "optimizer", "trainer_state"))

    def test_a_revision_keeps_to_its_commit(self, loopback_hub, environment, tiny_model, tmp_path):
        pull_request = write_model(tmp_path / "pull-request", **{"README.md": "# converted"})
        commit = loopback_hub.add_revision("models/Org/Tiny", "refs/pr/1", pull_request)
        by_name, by_commit = ask(
            environment,
            "[(lambda r: [r.revision, models.texts(r)])(models.resolve('Org/Tiny@' + v)) "
            f"for v in ('refs/pr/1', '{commit}')]",
        )
        assert by_name == by_commit == [commit, {"README.md": "# converted"}]

    def test_weights_come_from_the_commit_that_was_resolved(self, loopback_hub, environment, tiny_model, tmp_path):
        before = shutil.copytree(tiny_model, tmp_path / "before")
        loopback_hub.add_revision("models/Org/Tiny", "before", before)
        push = f"open({str(tiny_model / 'model.safetensors')!r}, 'wb').write(b'another upload')"
        call = f"(lambda r: ({push}, models.digests(models.fetch_weights(r))))(models.resolve('Org/Tiny'))[1]"
        assert ask(environment, call)["weights"] == models.digests(models.resolve(str(before)))["weights"]

    def test_only_the_weights_that_are_loaded_are_downloaded(self, loopback_hub, environment, tiny_model):
        write_model(tiny_model, **{"model.fp16.safetensors": WEIGHTS, "onnx/model.safetensors": WEIGHTS})
        answer = ask(environment, "everything('Org/Tiny')")
        assert (Path(answer["folder"]) / "model.safetensors").read_bytes() == WEIGHTS
        assert not [request for request in loopback_hub.requests if "fp16" in request.path or "onnx" in request.path]

    def test_no_card_means_no_texts(self, environment, tiny_model):
        (tiny_model / "README.md").unlink()
        assert ask(environment, "everything('Org/Tiny')")["texts"] == {}

    def test_a_repository_of_weights_alone(self, environment, tiny_model):
        (tiny_model / "README.md").unlink()
        (tiny_model / "config.json").unlink()
        answer = ask(environment, "everything('Org/Tiny')")
        assert set(answer["digests"]) == {"weights", "processor"}

    @pytest.mark.parametrize(
        "reference",
        [
            "",
            "nothing",
            "Org/Tiny/more",
            "Org/..",
            "../Org/Tiny",
            "Org--x/y",
            "Org/T\0iny",
            "a" * 300 + "/b",
            "~nobody/x",
        ],
    )
    def test_a_reference_that_names_nothing(self, reference, tmp_path, monkeypatch):
        monkeypatch.chdir(write_model(tmp_path))
        with pytest.raises(HubError, match=r"ORG/MODEL"):
            models.resolve(reference)

    @pytest.mark.parametrize("revision", ["", "../../x", "/etc", "a..b", "x y", "-x", "a@{1}", "a/"])
    def test_a_revision_never_becomes_a_path_unchecked(self, revision):
        with pytest.raises(HubError, match="cannot be a revision"):
            models.resolve(f"Org/Tiny@{revision}")

    def test_a_local_folder(self, tmp_path, monkeypatch):
        write_model(tmp_path / "Org/Tiny", **{".git/config": "x", "sub/notes.txt": "x"})
        monkeypatch.chdir(tmp_path)
        for reference in ("Org/Tiny", "./Org/Tiny", str(tmp_path / "Org/Tiny")):
            repository = models.resolve(reference)
            assert (repository.model, repository.revision, repository.is_local) == ("Tiny", None, True)
            assert repository.files == ("README.md", "config.json", "model.safetensors", "sub/notes.txt")
            assert models.fetch_weights(repository) == repository

    def test_import_is_light(self):
        heavy = "{'torch', 'transformers', 'huggingface_hub', 'httpx2'}"
        code = f"import sys, verify.hub.models; print({heavy} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestTexts:
    def test_undecodable_bytes_are_replaced_and_a_byte_order_mark_dropped(self, tmp_path):
        repository = local_model(tmp_path, **{"README.md": b"\xef\xbb\xbf---\r\nname: caf\xe9\n"})
        assert models.texts(repository) == {"README.md": "---\r\nname: caf�\n"}

    def test_a_card_of_20_mebibytes_is_read_and_a_larger_one_refused(self, tmp_path):
        repository = local_model(tmp_path, **{"README.md": b"x" * models.CARD_LIMIT})
        assert len(models.texts(repository)["README.md"]) == models.CARD_LIMIT
        with pytest.raises(HubError, match="larger than 20 MiB"):
            models.texts(local_model(tmp_path, **{"README.md": b"x" * (models.CARD_LIMIT + 1)}))

    def test_a_large_card_is_not_even_downloaded(self, loopback_hub, environment, tiny_model):
        write_model(tiny_model, **{"README.md": b"x" * (models.CARD_LIMIT + 1)})
        assert "larger than 20 MiB" in refusal(environment, "models.texts(models.resolve('Org/Tiny'))")
        assert not [request for request in loopback_hub.requests if "README" in request.path]

    def test_a_card_that_is_a_link_to_a_foreign_file_is_not_read(self, tmp_path):
        (tmp_path / "secret").write_text("secret")
        repository = local_model(tmp_path / "model")
        (tmp_path / "model/README.md").unlink()
        (tmp_path / "model/README.md").symlink_to(tmp_path / "secret")
        with pytest.raises(HubError, match="outside the folder"):
            models.texts(repository)


class TestOffline:
    def test_the_cached_snapshot_answers(self, loopback_hub, environment, tiny_model):
        online = ask(environment, "everything('Org/Tiny')")
        assert ask({**environment, "HF_HUB_OFFLINE": "1"}, "everything('Org/Tiny')") == online
        loopback_hub.stop()
        assert ask(environment, "everything('Org/Tiny')") == online
        by_commit = f"everything('Org/Tiny@{online['revision']}')"
        assert ask(environment, by_commit) == online

    @pytest.mark.parametrize("offline", ["0", "1"])
    def test_nothing_cached(self, loopback_hub, environment, offline):
        loopback_hub.stop()
        message = refusal({**environment, "HF_HUB_OFFLINE": offline}, "models.resolve('Org/Tiny')")
        assert ("HF_HUB_OFFLINE forbids" if offline == "1" else "could not be reached") in message

    def test_weights_that_are_not_cached(self, environment, tiny_model):
        assert ask(environment, "models.resolve('Org/Tiny').listed") is True
        message = refusal({**environment, "HF_HUB_OFFLINE": "1"}, "everything('Org/Tiny')")
        assert "not whole in the local cache" in message

    @pytest.mark.parametrize("sharded", [False, True])
    def test_a_cache_of_another_program_is_not_mistaken_for_the_repository(self, environment, tmp_path, sharded):
        cache = tmp_path / "home/hub/models--Org--Tiny"
        index = json.dumps({"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
        files = {"model.safetensors.index.json": index, "model-1.safetensors": WEIGHTS} if sharded else {}
        write_model(cache / "snapshots" / ("a" * 40), **files)
        (cache / "snapshots" / ("a" * 40) / "model.safetensors").unlink()
        (cache / "refs").mkdir()
        (cache / "refs/main").write_text("a" * 40)
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        assert ask(offline, "plain(models.resolve('Org/Tiny'))")["revision"] == "a" * 40
        assert "not in the local cache" in refusal(offline, "models.check_safety(models.resolve('Org/Tiny'))")

    def test_an_overloaded_hub_counts_as_out_of_reach(self, loopback_hub, environment, tiny_model):
        online = ask(environment, "everything('Org/Tiny')")
        loopback_hub.fail("models/Org/Tiny", 503)
        assert ask(environment, "everything('Org/Tiny')") == online

    def test_a_repository_that_is_gone_is_not_answered_from_the_cache(self, loopback_hub, environment, tiny_model):
        ask(environment, "everything('Org/Tiny')")
        shutil.rmtree(tiny_model)
        assert "knows no model" in refusal(environment, "models.resolve('Org/Tiny')")


class TestDatasetRevision:
    def test_of_the_hub(self, loopback_hub, environment):
        (loopback_hub.root / "datasets/org/data").mkdir(parents=True)
        (loopback_hub.root / "datasets/org/data/test.csv").write_text("a\n1\n")
        commit = loopback_hub.commit("datasets/org/data")
        assert ask(environment, "models.dataset_revision('org/data', None)") == commit
        assert ask(environment, f"models.dataset_revision('org/data', '{commit}')") == commit
        assert "no revision 'v9'" in refusal(environment, "models.dataset_revision('org/data', 'v9')")
        assert "knows no data set org/none" in refusal(environment, "models.dataset_revision('org/none', None)")
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        assert ask(offline, "[models.dataset_revision(n, None) for n in ('org/data', 'org/none')]") == [commit, None]

    def test_of_local_data(self, tmp_path):
        assert models.dataset_revision(str(tmp_path), None) is None
        assert models.dataset_revision("csv", None) is None


class TestRealClients:
    """The loopback Hub stands in for the real one with the libraries that users load models and data with."""

    def test_transformers(self, loopback_hub, environment, tmp_path):
        code = f"""
import numpy as np, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification
from transformers import BertTokenizerFast
from verify.hub import models
torch.manual_seed(0)
folder = {str(loopback_hub.root / "models/org/bert")!r}
size = dict(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
saved = BertForSequenceClassification(BertConfig(**size)).eval()
saved.save_pretrained(folder)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
open(folder + "/vocab.txt", "w").write("\\n".join(words))
BertTokenizerFast(folder + "/vocab.txt").save_pretrained(folder)
repository = models.fetch_weights(models.resolve("org/bert"))
models.check_safety(repository)
for source in (repository.folder, "org/bert"):
    tokens = AutoTokenizer.from_pretrained(source)(["good film"], return_tensors="pt")
    model = AutoModelForSequenceClassification.from_pretrained(source).eval()
    assert tokens["input_ids"].tolist() == [[2, 5, 7, 3]], tokens
    torch.testing.assert_close(model(**tokens).logits, saved(**tokens).logits, rtol=0, atol=1e-6)
print("same")
"""
        assert run(environment, code) == "same"

    def test_datasets(self, loopback_hub, environment):
        folder = loopback_hub.root / "datasets/org/data"
        folder.mkdir(parents=True)
        (folder / "test.csv").write_text("text,label\n" + "".join(f"row {n},{n % 2}\n" for n in range(50)))
        code = """
import datasets, pandas
datasets.disable_progress_bars()
rows = datasets.load_dataset("org/data", split="test")
assert rows["label"][:3] == [0, 1, 0] and len(rows) == 50
from huggingface_hub import HfFileSystem
HfFileSystem().open("datasets/org/data/test.csv", block_size=64).seek(0)
stream = datasets.load_dataset("org/data", split="test", streaming=True)
assert [row["text"] for row in stream] == rows["text"][:]
print("same")
"""
        assert run(environment, code) == "same"
        assert any(request.status == 206 for request in loopback_hub.requests)


class TestEarlierRevisions:
    @pytest.fixture
    def history(self, loopback_hub, tiny_model, tmp_path):
        """A repository with a new card on top of two other states of its weights, of which one lasted two commits."""

        def state(name, card, weights, day):
            folder = write_model(tmp_path / name, **{"README.md": card})
            (folder / "model.safetensors").write_bytes(weights)
            return loopback_hub.add_history("models/Org/Tiny", folder, day)

        commits = []
        for name, card, weights, day in (
            ("same", "# another card", (tiny_model / "model.safetensors").read_bytes(), "2025-04-01"),
            ("second", "# two", WEIGHTS + b"2", "2025-03-01"),
            ("card", "# two, described", WEIGHTS + b"2", "2025-02-01"),
            ("first", "# one", WEIGHTS + b"1", "2025-01-01"),
        ):
            commits.append(state(name, card, weights, day))
        return commits

    def test_are_those_with_other_weights_the_newest_first(self, loopback_hub, environment, tiny_model, history):
        now = loopback_hub.commit("models/Org/Tiny")
        found = ask(environment, f"[str(one) for one in revisions.earlier_revisions('Org/Tiny', '{now}')]")
        assert found == [f"{history[1][:12]} of 2025-03-01", f"{history[3][:12]} of 2025-01-01"]
        assert ask(environment, f"[one.commit for one in revisions.earlier_revisions('Org/Tiny', '{now}', 1)]") == [
            history[1]
        ]

    def test_are_none_without_a_connection_and_an_error_for_a_repository_that_is_not_there(
        self, loopback_hub, environment, tiny_model, history
    ):
        gone = refusal(environment, "revisions.earlier_revisions('Org/None', 'main')")
        assert "Org/None" in gone
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        assert ask(offline, "revisions.earlier_revisions('Org/Tiny', 'main')") == []
