"""Data that lead out of their place, pose as a data set on the Hub, or unpack to more than a machine holds."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hostile.harness import variants
from verify.errors import DataError, VerifyError
from verify.hub import models
from verify.tasks.data import load_examples
from verify.tasks.places import is_local
from verify.tasks.schema import parse_task

SECRET = "text,label\nsecret,1\n"
PLACE = "'image' in row 0"


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """An empty cache, and a client that refuses to leave this machine."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def task(folder: Path, dataset: str, kind: str = "sequence-classification", role: str = "text") -> Any:
    text = f"kind: {kind}\ndataset: {{{dataset}, split: test}}\ncolumns: {{{role}: {role}, label: label}}\n"
    return parse_task(text, name="mine", file=str(folder / "mine.yaml"))


def unprotected(folder: Path, **more: Any) -> Any:
    import datasets

    with pytest.MonkeyPatch.context() as online:
        online.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        return datasets.load_dataset(str(folder), split="test", **more)


def card(files: str) -> str:
    listed = f"{{split: test, path: {json.dumps(files)}}}"
    return f"---\nconfigs:\n- config_name: default\n  data_files:\n  - {listed}\n---\n"


def absolute(data: Path, outside: Path) -> None:
    (data / "README.md").write_text(card(str(outside / "secret.csv")))


def upwards(data: Path, outside: Path) -> None:
    (data / "README.md").write_text(card("../outside/secret.csv"))


def a_file_address(data: Path, outside: Path) -> None:
    (data / "README.md").write_text(card(f"file://{outside}/secret.csv"))


def a_pattern_upwards(data: Path, outside: Path) -> None:
    (data / "README.md").write_text(card("../out*/*.csv"))


def a_chain_into_an_archive(data: Path, outside: Path) -> None:
    with zipfile.ZipFile(outside / "secret.zip", "w") as archive:
        archive.writestr("secret.csv", SECRET)
    (data / "README.md").write_text(card(f"zip://secret.csv::{outside}/secret.zip"))


def a_data_folder_elsewhere(data: Path, outside: Path) -> None:
    (outside / "test.csv").write_text(SECRET)
    (data / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_dir: {outside}\n---\n")


def a_card_of_another_name(data: Path, outside: Path) -> None:
    (data / ".huggingface.yaml").write_text(card(str(outside / "secret.csv")).strip("-\n"))


def a_link_to_a_file(data: Path, outside: Path) -> None:
    (data / "test.csv").unlink()
    (data / "test.csv").symlink_to(outside / "secret.csv")


def a_link_to_a_folder(data: Path, outside: Path) -> None:
    (outside / "test.csv").write_text(SECRET)
    (data / "test.csv").unlink()
    (data / "sub").symlink_to(outside)
    (data / "README.md").write_text(card("sub/*.csv"))


def a_linked_card(data: Path, outside: Path) -> None:
    (outside / "card.md").write_text(card("../outside/secret.csv"))
    (data / "README.md").symlink_to(outside / "card.md")


@variants(
    absolute,
    upwards,
    a_file_address,
    a_pattern_upwards,
    a_chain_into_an_archive,
    a_data_folder_elsewhere,
    a_card_of_another_name,
    a_link_to_a_file,
    a_link_to_a_folder,
    a_linked_card,
)
def test_a_data_folder_does_not_lead_outside(variant: Callable[[Path, Path], None], tmp_path: Path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    data.mkdir()
    outside.mkdir()
    (data / "test.csv").write_text("text,label\nown,0\n")
    (outside / "secret.csv").write_text(SECRET)
    variant(data, outside)
    assert set(unprotected(data)["text"]) == {"secret"}
    with pytest.raises(DataError, match=r"outside of the folder .*data"):
        load_examples(task(tmp_path, "path: ./data"), "test")


def in_a_table(data: Path, path: str) -> str:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": path}], "label": [0]}, features=features)
    table.to_parquet(data / "test.parquet")
    return "path: parquet, data_files: {test: data/test.parquet}"


def in_a_tables_folder(data: Path, path: str) -> str:
    in_a_table(data, path)
    return "path: ./data"


def in_words(data: Path, path: str) -> str:
    (data / "test.csv").write_text(f"image,label\n{path},0\n")
    return "path: csv, data_files: {test: data/test.csv}"


def by_a_link(data: Path, path: str) -> str:
    (data / "test.png").symlink_to(path)
    (data / "test.csv").write_text("image,label\ntest.png,0\n")
    return "path: csv, data_files: {test: data/test.csv}"


def upwards_in_words(data: Path, path: str) -> str:
    return in_words(data, os.path.relpath(path, data))


@variants(in_a_table, in_a_tables_folder, in_words, by_a_link, upwards_in_words)
def test_a_picture_outside_is_not_opened(variant: Callable[[Path, str], str], tmp_path: Path):
    data, secret = tmp_path / "data", tmp_path / "secret.png"
    data.mkdir()
    Image.new("RGB", (3, 4)).save(secret)
    dataset = variant(data, str(secret))
    if (data / "test.parquet").exists():
        assert unprotected(data)["image"][0].size == (3, 4)
    else:
        assert Image.open(data / unprotected(data)["image"][0]).size == (3, 4)
    with pytest.raises(DataError, match=r"names the file .* in 'image', row 0, which lies outside"):
        load_examples(task(tmp_path, dataset, "image-classification", "image"), "test")


def a_table(folder: Path) -> None:
    (folder / "test.csv").write_text("text,label\nforged,1\n")


def a_script(folder: Path) -> None:
    (folder / f"{folder.name}.py").write_text("raise SystemExit\n")
    a_table(folder)


def a_card(folder: Path) -> None:
    (folder / "rows.csv").write_text("text,label\nforged,1\n")
    (folder / "README.md").write_text(card("rows.csv"))


@variants(a_table, a_script, a_card)
@pytest.mark.parametrize("name", ["nyu-mll/glue", "imdb"])
def test_a_folder_does_not_answer_for_a_data_set_on_the_hub(variant, name, tmp_path: Path, monkeypatch):
    """Named as a folder, it is read."""
    (tmp_path / name).mkdir(parents=True)
    variant(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    mine = task(tmp_path, f"path: {name}")
    if variant is not a_script:
        assert unprotected(Path(name))["text"][:] == ["forged"]
        assert load_examples(task(tmp_path, f"path: ./{name}"), "test").column("text") == ["forged"]
    assert not is_local(mine)
    with pytest.raises(DataError, match=rf"There is a folder .*{name}: if it is meant, put \./ before") as raised:
        load_examples(mine, "test")
    assert "forged" not in str(raised.value)


def test_the_commit_of_a_data_set_does_not_depend_on_a_folder(tmp_path: Path, monkeypatch):
    (tmp_path / "nyu-mll/glue").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert models.dataset_revision("nyu-mll/glue", "a" * 40) == "a" * 40


def test_a_builders_name_reads_only_the_files_that_are_named(tmp_path: Path, monkeypatch):
    (tmp_path / "csv").mkdir()
    a_table(tmp_path / "csv")
    (tmp_path / "mine.csv").write_text("text,label\nmine,1\n")
    monkeypatch.chdir(tmp_path)
    named = task(tmp_path, "path: csv, data_files: {test: mine.csv}")
    assert load_examples(named, "test").column("text") == ["mine"]
    with pytest.raises(DataError, match=r"'csv' reads files, and dataset\.data_files names none"):
        load_examples(task(tmp_path, "path: csv"), "test")
    with pytest.raises(DataError, match=r"does not say how .* are read\. .*csv"):
        load_examples(task(tmp_path, "path: nyu-mll/glue, data_files: {test: mine.csv}"), "test")


def test_data_that_would_be_unpickled_are_refused(tmp_path: Path):
    (tmp_path / "mine.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"'pandas' does not say how"):
        load_examples(task(tmp_path, "path: pandas, data_files: {test: mine.pkl}"), "test")


MANY = b"text,label\n" + b"a,1\n" * 20_000_000


def with_gzip(file: Path) -> None:
    file.write_bytes(gzip.compress(MANY, 1))


def with_bzip2(file: Path) -> None:
    file.write_bytes(bz2.compress(MANY))


def with_xz(file: Path) -> None:
    file.write_bytes(lzma.compress(MANY, preset=0))


def with_zstandard(file: Path) -> None:
    file.write_bytes(pa.compress(MANY, codec="zstd", asbytes=True))


def with_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test.csv", MANY)


def with_gzip_in_a_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("test.csv.gz", gzip.compress(MANY, 1))


def with_a_zip_of_a_harmless_name(file: Path) -> None:
    with_gzip(file.with_suffix(""))
    file.with_suffix("").replace(file)


@variants(with_gzip, with_bzip2, with_xz, with_zstandard, with_zip, with_gzip_in_a_zip, with_a_zip_of_a_harmless_name)
def test_a_small_file_that_unpacks_to_a_large_one_is_refused(variant: Callable[[Path], None], tmp_path: Path):
    file = tmp_path / "test.csv.gz"
    variant(file)
    assert file.stat().st_size * 100 < len(MANY)
    with pytest.raises(DataError, match=r"unpacks from [\d,]+ bytes to [\d,]+ or more, over 100 times"):
        load_examples(task(tmp_path, f"path: csv, data_files: {{test: {file.name}}}"), "test")
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_honest_text_that_is_packed_is_read(pack: Callable[[bytes], bytes], tmp_path: Path):
    (tmp_path / "test.csv.packed").write_bytes(pack(b"text,label\n" + b"good,1\nbad,0\n" * 9))
    name = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
    (tmp_path / "test.csv.packed").rename(tmp_path / f"test.csv.{name}")
    mine = task(tmp_path, f"path: csv, data_files: {{test: test.csv.{name}}}")
    assert load_examples(mine, "test").column("text") == ["good", "bad"] * 9


def rows_of_one_number(folder: Path) -> str:
    group = pa.table({"text": pa.array(["a"] * 10**6).dictionary_encode(), "label": pa.array(np.ones(10**6, np.int8))})
    with pq.ParquetWriter(folder / "test.parquet", group.schema) as writer:
        for _ in range(25):
            writer.write_table(group)
    return "parquet"


def one_text_used_by_all_rows(folder: Path) -> str:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000, np.int32)), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"text": text, "label": pa.array(np.ones(10_000, np.int8))}), folder / "test.parquet")
    return "parquet"


def a_cell(folder: Path) -> str:
    (folder / "test.csv").write_text("text,label\n" + "x" * 100_000_000 + ",1\n")
    return "csv"


def a_cell_in_parquet(folder: Path) -> str:
    pq.write_table(pa.table({"text": ["short", "x y " * 5_000_000], "label": [0, 1]}), folder / "test.parquet")
    return "parquet"


def a_cell_of_several_lines(folder: Path) -> str:
    (folder / "test.csv").write_text('text,label\n"' + ("x" * 999 + "\n") * 30_000 + '",1\n')
    return "csv"


@variants(a_cell_in_parquet, rows_of_one_number, one_text_used_by_all_rows, a_cell, a_cell_of_several_lines)
def test_tables_beyond_all_measure_are_refused(variant: Callable[[Path], str], tmp_path: Path):
    form = variant(tmp_path)
    too_large = r"text of more than 10 MB|rows, and at most 20,000,000|over 100 times|single line of more than 64 MiB"
    with pytest.raises(DataError, match=too_large):
        load_examples(task(tmp_path, f"path: {form}, data_files: {{test: test.{form}}}"), "test")


def test_the_words_of_a_row_count_together(tmp_path: Path):
    words = pa.array([["short"], ["word" * 5] * 600_000])
    pq.write_table(pa.table({"tokens": words, "tags": pa.array([[0], [0] * 600_000])}), tmp_path / "test.parquet")
    text = (
        "kind: token-classification\ndataset: {path: parquet, split: test, data_files: {test: test.parquet}}\n"
        "columns: {tokens: tokens, tags: tags}\nlabels: [O]\n"
    )
    with pytest.raises(DataError, match=r"more than 10 MB in the column 'tokens', row 1"):
        load_examples(parse_task(text, name="mine", file=str(tmp_path / "mine.yaml")), "test")


def test_every_refusal_is_one_paragraph(tmp_path: Path):
    with pytest.raises(VerifyError) as raised:
        load_examples(task(tmp_path, "path: ./missing"), "test")
    assert "\n" not in str(raised.value)
