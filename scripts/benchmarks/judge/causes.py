"""How well causes are found on real runs: a section of the judge's benchmark.

    PYTHONPATH=scripts python -m benchmarks.judge.causes [--quick] [--data FOLDER] [--cache FOLDER] [--only WORDS]

Tiny models are trained on real data and rerun by the engine. Then cards are written whose numbers have a known cause:
each is computed from the stored predictions by another package, or from a run of transformers alone with the changed
setting, and printed. The verdicts and the search are the package's own, up to the reruns of the model under other
settings where the cause needs one. Placebos are cards with another model's numbers, which nothing should explain.

A cause is found if it is named first; it need not be certain. Cards whose numbers hold although a cause was injected,
because it does not show in the digits printed, and those that leave open what they mean, are counted apart. The data
are those of --data (../shared/data of the repository); without them only the quick form runs, on texts that are made
up. Models and runs are kept in --cache, by default a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from benchmarks.causes.cards import FAMILIES, Injected, Placebo, Style, placebos
from benchmarks.causes.data import TEST
from benchmarks.causes.runs import Runs, in_this_process, silent
from benchmarks.causes.variants import SOURCES

from verify.checking.kept_trials import keep
from verify.checking.probes.trials import paid_trials
from verify.checking.verdicts import differences, is_certain, judged, searched
from verify.claims.extract import Extraction, read_claims
from verify.claims.form.values import read_number
from verify.configuration.schema import PolicyConfig
from verify.judging.differences import with_explanations
from verify.judging.explain import Search
from verify.metrics.names import METRICS
from verify.tasks.resolve import resolve_claims
from verify.types import Claim, Evidence, Source, Unit, Verdict, VerdictKind

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
MINUTES = 2.0
"""For the reruns of each card."""
PAID_PLACEBOS = 2
"""Cards of each set with another model's numbers that are searched with reruns too."""


@dataclass(frozen=True)
class Outcome:
    """What became of one card: the ``verdicts``, and the ``search`` where some claim differs."""

    card: Injected | Placebo
    verdicts: tuple[Verdict, ...]
    search: Search | None

    @property
    def named(self) -> str | None:
        """The hypothesis that is named first, certain or not."""
        return self.search.best.hypothesis.name if self.search and self.search.best else None

    @property
    def explained(self) -> str | None:
        """The hypothesis by which some claim is explained."""
        rules = [one.rule for one in self.verdicts if one.kind is VerdictKind.EXPLAINED]
        return rules[0].removeprefix("explained by ") if rules else None

    @property
    def is_right(self) -> bool:
        return isinstance(self.card, Injected) and self.named in self.card.expected

    def as_row(self) -> dict[str, Any]:
        """What to look at where the answer is not the right one."""
        card = self.card
        best = self.search.best if self.search else None
        return {
            "card": f"{card.run.subject.model} on {card.run.task.name}",
            "cause": card.cause if isinstance(card, Injected) else card.kind,
            "words": card.words if isinstance(card, Injected) else "",
            "claims": {one.claim.metric: one.claim.literal for one in self.verdicts},
            "measured": {one.claim.metric: one.measured for one in self.verdicts},
            "verdicts": [str(one.kind) for one in self.verdicts],
            "expected": list(card.expected) if isinstance(card, Injected) else [],
            "named": self.named,
            "setting": best.trial.setting if best else None,
            "chance": self.search.chance if self.search else None,
            "fits": sorted({one.hypothesis.name for one in self.search.tried if one.fits}) if self.search else [],
        }


def judged_card(card: Injected | Placebo, runs: Runs) -> Outcome:
    """The verdicts on a card, as `verify check` and, where reruns may be needed, `verify explain --rerun` give them."""
    run = card.run
    tasks, extraction = {run.task.name: run.task}, _read(card)
    resolved = resolve_claims(extraction, tasks, only=[run.task.name])
    results = {(run.task.name, TEST): run.measurement}
    before = judged(resolved, results, PolicyConfig(), "")
    cases = differences(before, resolved, results)
    searches = searched(cases)
    if card.is_paid and (still_open := {key: case for key, case in cases.items() if not is_certain(searches[key])}):
        with in_this_process():
            for case in still_open.values():
                keep(case, [one.paid for one in paid_trials(run.subject, case, runs.config, MINUTES, silent)])
        searches |= searched(still_open)
    return Outcome(card, with_explanations(before, searches, {}), next(iter(searches.values()), None))


def _read(card: Injected | Placebo) -> Extraction:
    """The claims of a card; one with a table of epochs is written out and read as a repository's is."""
    name, slip = card.run.subject.model, card.slip if isinstance(card, Injected) else 1.0
    if isinstance(card, Injected) and card.table:
        return read_claims({"README.md": _trainer_card(card)}, name)
    claims = [printed(name, metric, value, card.style, slip) for metric, value in card.numbers.items()]
    return Extraction(tuple(claims), (), ())


def printed(model: str, metric: str, value: float, style: Style, slip: float = 1.0) -> Claim:
    """The claim that prints a number; raw metrics keep their scale. A ``slip`` of 0.01 puts a sign to a fraction."""
    is_raw = metric in METRICS and METRICS[metric].unit is Unit.RAW
    unit = Unit.RAW if is_raw else Unit.PERCENT if style.is_percent or slip != 1 else Unit.FRACTION
    digits = style.digits - 2 if unit is Unit.PERCENT and slip == 1 else style.digits
    number = read_number(f"{value * slip * (100 if unit is Unit.PERCENT else 1):.{digits}f}")
    evidence = Evidence(Source.MODEL_INDEX, "README.md", 1, 1, number.literal, number.literal)
    return Claim(model, metric, number.value, number.literal, unit, number.interval, (evidence,), split=TEST)


def _trainer_card(card: Injected) -> str:
    """A card as a Trainer writes it: its metadata, and the table of its epochs."""
    listed = "\n".join(f"    - {{type: {name}, value: {value:.4f}}}" for name, value in card.numbers.items())
    names = list(card.table[0])
    heads = {"loss": "Validation Loss", "accuracy": "Accuracy", "f1": "F1"}
    rows = "\n".join(
        f"| 0.5 | {epoch}.0 | {100 * epoch} | " + " | ".join(f"{row[name]:.4f}" for name in names) + " |"
        for epoch, row in enumerate(card.table, 1)
    )
    head = " | ".join(["Training Loss", "Epoch", "Step", *(heads[name] for name in names)])
    return (
        f"---\ntags:\n- generated_from_trainer\nmodel-index:\n- name: reference\n  results:\n"
        f"  - task: {{type: text-classification}}\n    dataset: {{type: {card.run.task.name}, "
        f"name: {card.run.task.name}, split: {TEST}}}\n    metrics:\n{listed}\n---\n\n# reference\n\n"
        f"### Training results\n\n| {head} |\n|{':---:|' * (3 + len(names))}\n{rows}\n"
    )


def rows(*, quick: bool, data: Path = DATA, cache: Path | None = None, only: str = "") -> Iterator[dict[str, Any]]:
    """The section's rows: for each cause the share named first, then all of them, and the precision."""
    if not quick and not data.is_dir():
        print(f"Causes on real runs are left out: there are no data in {data}.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = cache or Path(temporary)
        outcomes = []
        for card in _cards_made_up(folder) if quick else _cards(Runs.over(data, folder)):
            runs, one = card
            if only in (one.cause if isinstance(one, Injected) else "placebo"):
                outcomes.append(judged_card(one, runs))
                _tell(outcomes[-1])
    yield from tallied(outcomes)


def _cards(runs: Runs) -> Iterator[tuple[Runs, Injected | Placebo]]:
    for source in SOURCES:
        yield from ((runs, one) for one in source(runs))
    yield from ((runs, one) for one in placebos(runs, FAMILIES, PAID_PLACEBOS))


def _cards_made_up(folder: Path) -> Iterator[tuple[Runs, Injected | Placebo]]:
    from benchmarks.causes.quick import PLACEBO_SEEDS, injected, made_up

    runs = Runs(made_up, folder)
    yield from ((runs, one) for one in injected(runs))
    yield from ((runs, one) for one in placebos(runs, [("topics", PLACEBO_SEEDS)], 0))


def _tell(one: Outcome) -> None:
    """A card whose answer is not the right one, as it is found."""
    is_well = one.explained is None if isinstance(one.card, Placebo) else one.is_right
    if not is_well and one.search is not None:
        print(json.dumps(one.as_row()), file=sys.stderr, flush=True)


def tallied(outcomes: Iterable[Outcome]) -> Iterator[dict[str, Any]]:
    """The rows of a list of outcomes. Cards of which nothing differs count only as such."""
    every = list(outcomes)
    differing = [one for one in every if one.search is not None]
    injected = [one for one in differing if isinstance(one.card, Injected)]
    for cause in dict.fromkeys(one.card.cause for one in injected if isinstance(one.card, Injected)):
        of_cause = [one for one in injected if isinstance(one.card, Injected) and one.card.cause == cause]
        yield _row(f"{cause}: cause named first", of_cause, sum(one.is_right for one in of_cause))
    yield _row("all causes: cause named first", injected, sum(one.is_right for one in injected))
    certain = [one for one in injected if one.explained]
    yield _row("all causes: explained by their cause", injected, sum(one.is_right for one in certain))
    blank = [one for one in differing if isinstance(one.card, Placebo)]
    wrong = [one for one in blank if one.explained]
    yield _row("placebos: explained", blank, len(wrong))
    yield _row("explained cards: rightly, placebos counted", [*certain, *wrong], sum(one.is_right for one in certain))
    others = [one for one in every if one.search is None]
    holding = sum(all(verdict.kind.holds for verdict in one.verdicts) for one in others)
    yield _row("all cards: every number holds as it is", every, holding)
    yield _row("all cards: undecided, for the card leaves it open", every, len(others) - holding)


def _row(name: str, of: list[Outcome], count: int) -> dict[str, Any]:
    from scipy.stats import binomtest

    low, high = binomtest(count, len(of)).proportion_ci() if of else (0.0, 1.0)
    found = [one for one in of if isinstance(one.card, Injected)]
    right = [one for one in found if one.is_right]
    return {
        "name": name,
        "peer": None,
        "ours": count / len(of) if of else 0.0,
        "theirs": None,
        "ratio": None,
        "unit": "of cards",
        "runs": len(of),
        "equal": True,
        "low": low,
        "high": high,
        "right": len(right),
        "right_and_certain": sum(one.explained is not None for one in right),
        "other_named": sum(one.named is not None and not one.is_right for one in found),
        "nothing_named": sum(one.named is None for one in found),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few causes on made-up texts")
    parser.add_argument("--data", metavar="FOLDER", type=Path, default=DATA, help="where the sets lie")
    parser.add_argument("--cache", metavar="FOLDER", type=Path, help="keeps models and runs for the next time")
    parser.add_argument("--only", metavar="WORDS", default="", help="only causes whose name contains WORDS; placebo")
    options = parser.parse_args()
    for row in rows(quick=options.quick, data=options.data, cache=options.cache, only=options.only):
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
