"""The data behind the suite of known truth: what every installation has at hand, cut into parts.

The texts are docstrings of four packages that this one needs anyway, and which of them a text is from is its class.
Code in them stands in backticks, which gives words with tags; texts of one file, of one package and of two give pairs
of three degrees of closeness. The images are scikit-learn's handwritten digits. No row stands in two parts.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.causes.data import TEST, TRAIN, VALIDATION, Data

PACKAGES = ("numpy", "pandas", "scipy", "sklearn")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TAGS = ("O", "B-CODE", "I-CODE", "B-NAME", "I-NAME")

EACH = 500
"""Docstrings of each package."""
SUMMARIES = {TEST: 797, VALIDATION: 203, TRAIN: 1000}
PASSAGES = {TEST: 401, VALIDATION: 199}
CODE = {TEST: 251, VALIDATION: 101, TRAIN: 600}
PAIRS = {TEST: 299, VALIDATION: 150}
IMAGES = {TEST: 599, VALIDATION: 298, TRAIN: 600}

_FEWEST, _MOST = 5, 50
"""Words of a text."""
_QUOTED = re.compile(r"``([^`]+)``|`([^`]+)`")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Docstring:
    """The first sentence of a docstring, and those of its other paragraphs that are prose."""

    package: str
    file: str
    summary: str
    passages: tuple[str, ...]


def sets() -> dict[str, Data]:
    """Every set, by name."""
    known = [one for package in PACKAGES for one in docstrings(package)]
    random.Random(0).shuffle(known)
    made = (_summaries(known), _passages(known), _code(known), _pairs(known), _digits())
    return {data.name: data for data in made}


def docstrings(package: str) -> list[Docstring]:
    """``EACH`` docstrings of an installed package, from files in a fixed random order."""
    found: dict[str, Docstring] = {}
    for file in _files(package):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                summary, *rest = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
                if _is_prose(summary):
                    passages = tuple(part for part in rest if _is_prose(part))
                    found.setdefault(summary, Docstring(package, str(file), summary, passages))
        if len(found) >= EACH:
            return list(found.values())[:EACH]
    raise SystemExit(f"{package} has {len(found)} docstrings in its Python files, and {EACH} are needed.")


def _files(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    (folder,) = spec.submodule_search_locations or () if spec else ()
    files = [file for file in sorted(Path(folder).rglob("*.py")) if "tests" not in file.parts]
    random.Random(package).shuffle(files)
    return files


def _is_prose(text: str) -> bool:
    return _FEWEST <= len(text.split()) <= _MOST and not re.search(r">>>|---|===|\.\. |^:|^\* ", text)


def _summaries(known: Sequence[Docstring]) -> Data:
    rows = [{"text": one.summary, "label": PACKAGES.index(one.package)} for one in known]
    return _texts("summaries", _distinct(rows), SUMMARIES)


def _passages(known: Sequence[Docstring]) -> Data:
    rows = [{"text": one.passages[0], "label": PACKAGES.index(one.package)} for one in known if one.passages]
    return _texts("passages", _distinct(rows), PASSAGES)


def _texts(name: str, rows: list[dict[str, Any]], sizes: Mapping[str, int]) -> Data:
    from datasets import ClassLabel, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(PACKAGES))})
    return Data(name, "sequence-classification", _same("text", "label"), _cut(rows, sizes, features), PACKAGES)


def _code(known: Sequence[Docstring]) -> Data:
    """Words with tags: where the author set code (CODE) or a name (NAME) in backticks, which are taken out."""
    from datasets import ClassLabel, Features, List, Value

    texts = dict.fromkeys(text for one in known for text in (one.summary, *one.passages) if "`" in text)
    rows = [{"tokens": tokens, "tags": tags} for tokens, tags in map(_tagged, texts) if any(tags)]
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=list(TAGS)))})
    return Data("code", "token-classification", _same("tokens", "tags"), _cut(rows, CODE, features), TAGS)


def _tagged(text: str) -> tuple[list[str], list[int]]:
    tokens: list[str] = []
    tags: list[int] = []
    done = 0
    for match in [*_QUOTED.finditer(text), None]:
        plain = _WORD.findall(text[done : match.start() if match else None])
        quoted = _WORD.findall(match[1] or match[2]) if match else []
        begin, inside = (TAGS.index(f"{place}-{'CODE' if match and match[1] else 'NAME'}") for place in "BI")
        tokens += [*plain, *quoted]
        tags += [0] * len(plain) + [begin] * bool(quoted) + [inside] * (len(quoted) - 1)
        done = match.end() if match else done
    return tokens, tags


def _pairs(known: Sequence[Docstring]) -> Data:
    """Two summaries each: of one file (2), of two files of one package (1), or of two packages (0)."""
    from datasets import Features, Value

    rows, chance = [], random.Random(1)
    for number, one in enumerate(known[: 2 * sum(PAIRS.values())]):
        wanted = number % 3
        others = [other for other in known if other is not one and _closeness(one, other) == wanted]
        if others:
            rows.append({"one": one.summary, "other": chance.choice(others).summary, "score": float(wanted)})
    features = Features({"one": Value("string"), "other": Value("string"), "score": Value("float64")})
    columns = {"text": "one", "text_pair": "other", "score": "score"}
    return Data("pairs", "sentence-similarity", columns, _cut(rows, PAIRS, features))


def _closeness(one: Docstring, other: Docstring) -> int:
    return (one.package == other.package) + (one.file == other.file)


def _digits() -> Data:
    """Images of 8 × 8 pixels with 16 grey levels, spread over 0 … 240."""
    import numpy as np
    from datasets import ClassLabel, Features, Image
    from PIL import Image as Pillow
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    rows = [
        {"image": Pillow.fromarray((data.images[row] * 15).astype(np.uint8)), "label": int(data.target[row])}
        for row in order
    ]
    features = Features({"image": Image(), "label": ClassLabel(names=list(DIGITS))})
    return Data("digits", "image-classification", _same("image", "label"), _cut(rows, IMAGES, features), DIGITS)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Texts that two packages share say nothing about where they are from."""
    times: dict[str, int] = {}
    for row in rows:
        times[row["text"]] = times.get(row["text"], 0) + 1
    return [row for row in rows if times[row["text"]] == 1]


def _cut(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], features: Any) -> dict[str, Any]:
    """Consecutive parts of these sizes; the last one may be smaller."""
    from datasets import Dataset

    parts, begun = {}, 0
    for part, size in sizes.items():
        chosen = rows[begun : begun + size]
        if len(chosen) < size * 0.8:
            raise SystemExit(f"Of the rows for {part} there are {len(chosen)}, and {size} are wanted.")
        columns = {name: [row[name] for row in chosen] for name in features}
        parts[part] = Dataset.from_dict(columns, features).data.table
        begun += size
    return parts
