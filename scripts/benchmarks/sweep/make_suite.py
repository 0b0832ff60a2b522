"""Make the suite of known truth: some forty small models, their data and tasks, and what must be said of every claim.

    PYTHONPATH=scripts python -m benchmarks.sweep.make_suite FOLDER [--only WORD]

All models are trained here, from docstrings and digits that every installation has, in a second each. Their numbers are
those of other packages (benchmarks/causes/numbers.py). What the cards then make of them is known: printed exactly,
rounded, in percent, raised, lowered, taken from another split, between two counts of examples, under names of classes
in another order … The weights of some are damaged, some have no card, and one never comes to an end.

FOLDER gets models/, tasks/, truth.json, and suite/ with two suites: `known` has all models, `settled` those that end.

    verify sweep --config-dir FOLDER suite=known task_path=[FOLDER/tasks] results=RESULTS
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import pyarrow.parquet as pq
from benchmarks.causes.data import TEST, TRAIN, VALIDATION, Data
from benchmarks.causes.numbers import Numbers
from benchmarks.sweep.models import (
    Order,
    Subject,
    Workshop,
    ask_for_code,
    copied,
    cut_weights,
    endless,
    image,
    pairs,
    pickle_weights,
    remove_head,
    reorder_labels,
    spoil_config,
    tags,
    text,
)

REPRODUCED, OVERSTATED, UNDERSTATED = "reproduced", "overstated", "understated"
MAIN: Mapping[str, tuple[str, str]] = {
    "summaries": ("accuracy", "f1_macro"),
    "passages": ("accuracy", "f1_macro"),
    "digits": ("accuracy", "f1_macro"),
    "code": ("f1", "recall"),
    "pairs": ("spearman", "pearson"),
}
"""The metrics that a card states."""
PRINTED: Mapping[str, str] = {
    "f1_macro": "type: f1, name: F1 Macro",
    "spearman": "type: spearman_cosine, name: Spearman Cosine",
    "pearson": "type: pearson_cosine, name: Pearson Cosine",
}
"""How a card names a metric whose canonical name nobody writes."""
LOST = "lost"
"""A task whose data file is missing."""


@dataclass(frozen=True)
class Stated:
    """One number of a card, and the ``kind`` of the verdict that it must get."""

    data: str
    metric: str
    literal: str
    kind: str
    split: str = TEST


@dataclass(frozen=True)
class Made:
    """A repository's ``state`` before its card is written, the card's numbers, and whether there is a card at all."""

    state: Path
    stated: tuple[Stated, ...] = ()
    change: Callable[[Path], None] | None = None
    has_card: bool = True


def exact(value: float) -> str:
    return repr(value)


def four(value: float) -> str:
    return f"{value:.4f}"


def three(value: float) -> str:
    return f"{value:.3f}"


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def coarse_percent(value: float) -> str:
    return f"{100 * value:.1f}"


Style = Callable[[float], str]


def differ(one: Numbers, other: Numbers, *metrics: str, by: float) -> bool:
    return all(abs(one[metric] - other[metric]) > by for metric in metrics)


def honest(work: Workshop, subject: Subject, style: Style, *others: str) -> Made:
    """True numbers, on ``others`` too."""
    stated = [
        Stated(one.measured, metric, style(work.numbers(one)[metric]), REPRODUCED)
        for one in (subject, *(subject.on(other) for other in others))
        for metric in MAIN[one.measured]
    ]
    return Made(work.state(subject), tuple(stated))


def moved(work: Workshop, subject: Subject, points: int, *kept: str) -> Made:
    """Numbers raised by ``points`` (hundredths) or lowered, but for those ``kept``; accuracies stay counts of rows."""
    found, rows, stated = work.numbers(subject), work.rows(subject), []
    kind = OVERSTATED if points > 0 else UNDERSTATED
    for metric in MAIN[subject.measured]:
        value = found[metric] + points / 100
        if metric == "accuracy":
            value = (round(found[metric] * rows) + round(points / 100 * rows)) / rows
        is_kept = metric in kept
        stated.append(
            Stated(subject.measured, metric, four(found[metric] if is_kept else value), REPRODUCED if is_kept else kind)
        )
    return Made(work.state(subject), tuple(stated))


def swapped(work: Workshop, subject: Subject, order: Order) -> Made:
    """True numbers of the model before its classes were given each other's names."""
    subject = work.first(
        subject, lambda one: differ(work.numbers(one), work.numbers(one, order=order), *MAIN[one.measured], by=0.05)
    )
    found = work.numbers(subject)
    stated = (Stated(subject.measured, metric, four(found[metric]), "explained") for metric in MAIN[subject.measured])
    return Made(work.state(subject), tuple(stated), partial(reorder_labels, order=order))


def other_split(work: Workshop, subject: Subject, part: str) -> Made:
    """The numbers of another part as those of the test split, so coarse that some count of rows gives each."""
    subject = work.first(
        subject, lambda one: differ(work.numbers(one), work.numbers(one, part), *MAIN[one.measured], by=0.02)
    )
    found, other = work.numbers(subject), work.numbers(subject, part)
    stated = []
    for metric in MAIN[subject.measured]:
        kind = OVERSTATED if other[metric] > found[metric] else UNDERSTATED
        stated.append(Stated(subject.measured, metric, coarse_percent(other[metric]), kind))
    return Made(work.state(subject), tuple(stated))


def other_count(work: Workshop, subject: Subject, part: str) -> Made:
    """The accuracy of another part in full: a count of that part's rows, which is none of the test split's."""
    counts = {exact(count / work.rows(subject)) for count in range(work.rows(subject) + 1)}
    subject = work.first(subject, lambda one: exact(work.numbers(one, part)["accuracy"]) not in counts)
    literal = exact(work.numbers(subject, part)["accuracy"])
    return Made(work.state(subject), (Stated(subject.measured, "accuracy", literal, "impossible"),))


def between(work: Workshop, subject: Subject) -> Made:
    """An accuracy half way between two counts, four digits long, beside a true F1."""
    found, rows = work.numbers(subject), work.rows(subject)
    literal = four(found["accuracy"] - 0.5 / rows)
    if any(literal in (four(count / rows), f"{count / rows:.9f}"[:6]) for count in range(rows + 1)):
        raise SystemExit(f"{literal} is a count of {rows} rows; choose other sizes.")
    stated = (Stated(subject.measured, "accuracy", literal, "impossible"),)
    return Made(
        work.state(subject), (*stated, Stated(subject.measured, "f1_macro", four(found["f1_macro"]), REPRODUCED))
    )


def average_left_out(work: Workshop, subject: Subject) -> Made:
    """The macro average under the bare name of F1, where the micro average is another number."""
    subject = work.first(subject, lambda one: abs(work.numbers(one)["f1_macro"] - work.numbers(one)["f1_micro"]) > 0.02)
    literal = four(work.numbers(subject)["f1_macro"])
    return Made(work.state(subject), (Stated(subject.measured, "f1", literal, "underspecified"),))


def unknown_data(work: Workshop, subject: Subject, data: str, kind: str) -> Made:
    """A true number on known data, and the same on data that nobody describes, or that are not there."""
    found = work.numbers(subject)
    stated = Stated(subject.measured, "accuracy", four(found["accuracy"]), REPRODUCED)
    return Made(work.state(subject), (stated, Stated(data, "accuracy", four(found["accuracy"]), kind)))


def broken(work: Workshop, subject: Subject, change: Callable[[Path], None], kind: str) -> Made:
    """True numbers of a repository that cannot be loaded, or must not be."""
    found = work.numbers(subject)
    stated = (Stated(subject.measured, metric, four(found[metric]), kind) for metric in MAIN[subject.measured])
    return Made(work.state(subject), tuple(stated), change)


def silent(work: Workshop, subject: Subject, *, has_card: bool) -> Made:
    """No card, or one without a number."""
    return Made(work.state(subject), has_card=has_card)


def unending(work: Workshop) -> Made:
    """A model that would need hours for its first example, by what its configuration states."""
    folder = work.folder / "endless"
    endless(folder, work.state(text(0)))
    return Made(folder, (Stated("summaries", "accuracy", "0.75", "blocked"),))


CASES: Mapping[str, Callable[[Workshop], Made]] = {
    "honest-exact-1": partial(honest, subject=text(0), style=exact),
    "honest-exact-2": partial(honest, subject=image(0), style=exact),
    "honest-rounded-1": partial(honest, subject=text(1), style=three),
    "honest-rounded-2": partial(honest, subject=tags(0), style=three),
    "honest-percent-1": partial(honest, subject=text(2), style=percent),
    "honest-percent-2": partial(honest, subject=pairs(3), style=percent),
    "honest-two-tasks-1": lambda work: honest(work, text(4), four, "passages"),
    "honest-two-tasks-2": lambda work: honest(work, text(5), percent, "passages"),
    "inflated-1-point-1": partial(moved, subject=text(6), points=1),
    "inflated-1-point-2": partial(moved, subject=image(1), points=1),
    "inflated-2-points-1": partial(moved, subject=text(7), points=2),
    "inflated-2-points-2": partial(moved, subject=tags(1), points=2),
    "inflated-5-points-1": partial(moved, subject=text(8), points=5),
    "inflated-5-points-2": partial(moved, subject=pairs(9), points=5),
    "inflated-in-part-1": lambda work: moved(work, text(10), 2, "f1_macro"),
    "understated-1": partial(moved, subject=text(11), points=-1),
    "understated-2": partial(moved, subject=image(2), points=-3),
    "understated-3": partial(moved, subject=tags(2), points=-2),
    "swapped-labels-1": partial(swapped, subject=text(12), order=(1, 0, 2, 3)),
    "swapped-labels-2": partial(swapped, subject=text(13), order=(1, 2, 3, 0)),
    "swapped-labels-3": partial(swapped, subject=image(3), order=tuple(range(10))[::-1]),
    "numbers-of-train-1": partial(other_split, subject=text(14), part=TRAIN),
    "numbers-of-train-2": partial(other_split, subject=image(4), part=TRAIN),
    "numbers-of-validation-1": partial(other_count, subject=text(15), part=VALIDATION),
    "between-counts-1": partial(between, subject=text(16)),
    "between-counts-2": partial(between, subject=image(0)),
    "average-left-out-1": partial(average_left_out, subject=text(17).on("passages")),
    "no-task-1": partial(unknown_data, subject=text(0), data="haiku", kind="unverifiable"),
    "lost-data-1": partial(unknown_data, subject=text(1), data=LOST, kind="error"),
    "no-head-1": partial(broken, subject=text(2), change=remove_head, kind="blocked"),
    "no-head-2": partial(broken, subject=tags(0), change=remove_head, kind="blocked"),
    "cut-weights-1": partial(broken, subject=text(3), change=cut_weights, kind="blocked"),
    "cut-weights-2": partial(broken, subject=image(1), change=cut_weights, kind="blocked"),
    "pickle-only-1": partial(broken, subject=text(4), change=pickle_weights, kind="blocked"),
    "pickle-only-2": partial(broken, subject=image(2), change=pickle_weights, kind="blocked"),
    "asks-for-code-1": partial(broken, subject=text(5), change=ask_for_code, kind="blocked"),
    "spoilt-config-1": partial(broken, subject=text(6), change=spoil_config, kind="error"),
    "no-card-1": partial(silent, subject=text(7), has_card=False),
    "no-card-2": partial(silent, subject=tags(1), has_card=False),
    "no-claims-1": partial(silent, subject=text(8), has_card=True),
    "no-claims-2": partial(silent, subject=image(3), has_card=True),
    "unending-1": unending,
}
"""Every model of the suite by name: how it is made from what a workshop trains."""


def make(folder: Path, names: list[str] | None = None) -> dict[str, Any]:
    """Make the models ``names`` (None: all) in an empty folder; what truth.json says of them."""
    import transformers

    transformers.logging.set_verbosity_error()
    chosen = CASES if names is None else {name: CASES[name] for name in names}
    models: dict[str, list[dict[str, str]]] = {}
    with tempfile.TemporaryDirectory(prefix="make-suite-") as scratch:
        work = Workshop(Path(scratch))
        write_tasks(folder / "tasks", work.data)
        for name, case in chosen.items():
            made = case(work)
            repository = copied(made.state, folder / "models" / name)
            if made.has_card:
                (repository / "README.md").write_text(card(name, made.stated))
            if made.change:
                made.change(repository)
            models[name] = [asdict(one) for one in made.stated]
    write_suites(folder, models)
    truth = {"schema": "verify.truth/1", "models": models}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    return truth


def write_tasks(folder: Path, data: Mapping[str, Data]) -> None:
    folder.mkdir(parents=True)
    for one in data.values():
        for part, table in one.parts.items():
            pq.write_table(table, folder / f"{one.name}-{part}.parquet")
        rows = {part: table.num_rows for part, table in one.parts.items()}
        (folder / f"{one.name}.yaml").write_text(_task(one.kind, one.name, one.columns, rows))
    texts = data["summaries"]
    rows = {TEST: texts.parts[TEST].num_rows}
    (folder / f"{LOST}.yaml").write_text(_task(texts.kind, LOST, texts.columns, rows))


def _task(kind: str, name: str, columns: Mapping[str, str], rows: Mapping[str, int]) -> str:
    files = ", ".join(f"{part}: {name}-{part}.parquet" for part in rows)
    listed = ", ".join(f"{role}: {column}" for role, column in columns.items())
    counts = ", ".join(f"{part}: {count}" for part, count in rows.items())
    return (
        f"kind: {kind}\ndataset: {{path: parquet, split: {TEST}, data_files: {{{files}}}}}\n"
        f"columns: {{{listed}}}\nrows: {{{counts}}}\n"
    )


def card(name: str, stated: tuple[Stated, ...]) -> str:
    """A card whose metadata state the numbers; without any, one that states none."""
    if not stated:
        return f"---\nlicense: apache-2.0\n---\n# {name}\n\nA small model, of which nothing has been measured yet.\n"
    results = ""
    for data, split in dict.fromkeys((one.data, one.split) for one in stated):
        listed = "".join(
            f"    - {{{PRINTED.get(one.metric, f'type: {one.metric}, name: {one.metric}')}, value: {one.literal}}}\n"
            for one in stated
            if (one.data, one.split) == (data, split)
        )
        results += (
            f"  - task: {{type: other}}\n    dataset: {{type: {data}, name: {data}, split: {split}}}\n"
            f"    metrics:\n{listed}"
        )
    return f"---\nlicense: apache-2.0\nmodel-index:\n- name: {name}\n  results:\n{results}---\n# {name}\n"


def write_suites(folder: Path, models: Mapping[str, list[dict[str, str]]]) -> None:
    """``known`` has all models, ``settled`` those of which every verdict can be had, none of them an error."""
    place = folder.resolve() / "models"
    ends = [name for name, stated in models.items() if all(one["kind"] != "error" for one in stated)]
    settled = "".join(f"  - {json.dumps(str(place / name))}\n" for name in ends)
    (folder / "suite").mkdir()
    (folder / "suite" / "known.yaml").write_text(f"defaults: [schema]\nfolders: [{json.dumps(f'{place}/*')}]\n")
    (folder / "suite" / "settled.yaml").write_text(f"defaults: [schema]\nmodels:\n{settled}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder that is empty, or not there yet")
    parser.add_argument("--only", metavar="WORD", default="", help="only the models whose name contains WORD")
    options = parser.parse_args()
    if options.folder.is_dir() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty.")
    names = [name for name in CASES if options.only in name]
    if not names:
        parser.error(f"--only {options.only}: no model has such a name.")
    truth = make(options.folder, names)
    claims = sum(len(stated) for stated in truth["models"].values())
    print(f"{len(truth['models'])} models with {claims} claims in {options.folder}")


if __name__ == "__main__":
    main()
