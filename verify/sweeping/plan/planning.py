"""What a sweep has to do, before anything is run: its units cheapest first, and what needs no unit any more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from verify.configuration.schema import VerifyConfig
from verify.errors import EngineError, UsageError, VerifyError
from verify.foundation.content import content_key
from verify.store.runs import slug
from verify.sweeping.plan.cards import Card, read_cards
from verify.sweeping.plan.cost import Rate, cell_seconds, memory_of, model_seconds
from verify.sweeping.plan.devices import GPU, Devices, devices_for
from verify.sweeping.plan.keys import Keys
from verify.sweeping.plan.rates import rate_for
from verify.sweeping.plan.suite import Reference, references
from verify.sweeping.run import read_finished
from verify.sweeping.units import Finished, Unit
from verify.sweeping.workers.work import failed
from verify.tasks.registry import Registry

ROWS_ASSUMED = 1000
"""Examples of a split whose task does not state how many it has."""
MOST_MEMORY = 0.9
"""The part of a device's memory that a model may take."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One split of one task to measure a model on.

    ``rows`` is the number of examples that will be run (of the split, or ``limit`` of them), None where the task does
    not state its size; ``seconds`` is what they are expected to take on one device.
    """

    task: str
    split: str
    rows: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A unit with what it is expected to cost.

    ``seconds`` are those of its worker, all cells and the opening of the model together; ``memory`` is in bytes, of
    all its devices together; ``download`` in bytes, of the weights that are not on this machine yet. ``claims`` is how
    many the card makes, ``by_arithmetic`` how many of them the card alone settles.
    """

    unit: Unit
    model: str
    cells: tuple[PlannedCell, ...] = ()
    seconds: float = 0.0
    memory: int = 0
    download: int = 0
    claims: int = 0
    by_arithmetic: int = 0


@dataclass(frozen=True)
class Plan:
    """Everything that a sweep will do, and what it need not do.

    ``planned`` is in the order of running, cheapest first. ``earlier`` are the models that an earlier sweep settled;
    ``refused`` those that cannot be checked, with the reason as their error: a card that cannot be read, a model too
    large for the devices. ``workers`` is how many units run at once at most; ``rate`` says in one sentence where the
    estimates of time come from.
    """

    planned: tuple[Planned, ...]
    earlier: tuple[Finished, ...] = ()
    refused: tuple[Finished, ...] = ()
    workers: int = 1
    rate: str = ""
    notes: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[Unit, ...]:
        return tuple(one.unit for one in self.planned)

    @property
    def models(self) -> int:
        """How many models the suite has, duplicates once."""
        return len(self.planned) + len(self.earlier) + len(self.refused)

    @property
    def cells(self) -> int:
        return sum(len(one.cells) for one in self.planned)

    @property
    def claims(self) -> int:
        """The claims of the models that are to be run."""
        return sum(one.claims for one in self.planned)

    @property
    def by_arithmetic(self) -> int:
        return sum(one.by_arithmetic for one in self.planned)

    @property
    def device_seconds(self) -> float:
        """Seconds of one device that all units take together."""
        return sum(one.seconds * one.unit.devices for one in self.planned)

    @property
    def seconds(self) -> float:
        """Seconds until the last unit is done: the work shared out, and no less than the longest unit takes."""
        longest = max((one.seconds for one in self.planned), default=0.0)
        return max(self.device_seconds / max(self.workers, 1), longest)

    @property
    def memory(self) -> int:
        """The most bytes that are held at once, by the ``workers`` largest units."""
        return sum(sorted((one.memory for one in self.planned), reverse=True)[: self.workers])

    @property
    def download(self) -> int:
        """Bytes to download for all units."""
        return sum(one.download for one in self.planned)


def make_plan(config: VerifyConfig, registry: Registry, say: Say) -> Plan:
    """Plan the sweep of a configuration's suite: no weights are fetched, and nothing is run.

    ``say`` receives sentences about what takes long. A model whose card cannot be read, or that is too large for the
    devices, is refused and keeps no other from being planned.

    Raises:
        UsageError: the suite or the configuration is wrong.
        HubError: the Hub could not be asked which models it has.
        StoreError: the results folder cannot be read.

    """
    listed, devices = references(config, registry), devices_for(config)
    cards: list[Card] = []
    refused: list[Finished] = []
    models: dict[str, Reference] = {}
    for read in read_cards(listed, config, registry, say):
        if not isinstance(read, Card):
            refused.append(_refusal(read.reference, read.reference.model, read.error))
        elif (before := models.setdefault(slug(read.model), read.reference)) is not read.reference:
            refused.append(_refusal(read.reference, read.model, _same_name(read.model, before)))
        else:
            cards.append(read)
    keys = Keys(config, registry, {name for card in cards for name, _ in card.cells})
    earlier: list[Finished] = []
    left: list[tuple[Card, str]] = []
    for card in cards:
        key = keys.of(card)
        finished = read_finished(Path(config.results), key)
        if finished is None:
            left.append((card, key))
        else:
            earlier.append(finished)
    rate = rate_for(cards, config, registry, devices)
    planned: list[Planned] = []
    for card, key in left:
        made = _planned(card, key, config, registry, devices, rate)
        if isinstance(made, Planned):
            planned.append(made)
        else:
            refused.append(_refusal(card.reference, card.model, made))
    planned.sort(key=lambda one: (one.seconds * one.unit.devices, one.model))
    return Plan(
        tuple(planned), tuple(earlier), tuple(refused), devices.workers, rate.source, _notes(planned, config, devices)
    )


def _refusal(reference: Reference, model: str, error: VerifyError) -> Finished:
    key = content_key(["refused", reference.model, list(reference.tasks) if reference.tasks else None])
    return failed(Unit(reference.model, key, reference.tasks), model, error, 0.0)


def _same_name(model: str, before: Reference) -> UsageError:
    if not Path(before.model).expanduser().is_dir():
        return UsageError(
            f"{before.model} is in the suite, too, and results are kept by name. Check the other revision by itself "
            "with another results=FOLDER."
        )
    return UsageError(
        f"{before.model} is called {model}, too, and results are kept by name. Rename one of the two folders, or check "
        "this one by itself with another results=FOLDER."
    )


def _planned(
    card: Card, key: str, config: VerifyConfig, registry: Registry, devices: Devices, rate: Rate
) -> Planned | EngineError:
    """The unit of a model with its cost, or why no device can have it."""
    kinds = [registry[task].kind for task, _ in card.cells]
    memory = count = 0
    if card.size is not None and kinds:
        dtype = card.dtype if config.engine.dtype == "native" else config.engine.dtype
        adaptive = config.engine.precision == "adaptive"
        share = config.engine.token_share
        memory = memory_of(card.size, kinds, dtype, devices.kind, adaptive=adaptive, share=share)
        count = _devices_for(memory, config, devices)
        if count > devices.workers or (count > 1 and (adaptive or config.engine.processes > 1)):
            return _too_large(card.model, memory, config, devices)
    cells = tuple(_cell(card, at, config, registry, rate) for at in card.cells)
    seconds = model_seconds(card.weights if cells else 0) + sum(cell.seconds for cell in cells)
    return Planned(
        Unit(card.reference.model, key, card.reference.tasks, max(count, 1)),
        card.model,
        cells,
        seconds,
        memory,
        card.download if cells else 0,
        card.claims,
        card.by_arithmetic,
    )


def _cell(card: Card, at: tuple[str, str], config: VerifyConfig, registry: Registry, rate: Rate) -> PlannedCell:
    task = registry[at[0]]
    stated = task.rows.get(at[1])
    rows = stated if stated is None or config.limit is None else min(stated, config.limit)
    if card.size is None:
        return PlannedCell(*at, rows, 0.0)
    assumed = min(ROWS_ASSUMED, config.limit or ROWS_ASSUMED) if rows is None else rows
    seconds = cell_seconds(card.size, task.kind, assumed, rate, config.policy.probe_share)
    return PlannedCell(*at, rows, min(seconds, 60 * config.budget) if config.budget else seconds)


def _devices_for(memory: int, config: VerifyConfig, devices: Devices) -> int:
    """How many devices a model needs; one where it spreads itself by the user's own device map."""
    if not devices.is_known or config.engine.device_map is not None:
        return 1
    return max(math.ceil(memory / (MOST_MEMORY * devices.memory)), 1)


def _too_large(model: str, memory: int, config: VerifyConfig, devices: Devices) -> EngineError:
    each = f"{devices.memory / 1e9:.1f} GB"
    have = f"one {devices.kind} with {each}" if devices.workers == 1 else f"{devices.workers} × {each} ({devices.kind})"
    ways = []
    if config.engine.precision == "adaptive":
        ways.append("leave engine.precision=adaptive out")
    if config.engine.dtype == "float32":
        ways.append("halve that with engine.dtype=bfloat16")
    if config.engine.device_map is None:
        ways.append("let it use memory and disk, slowly, with engine.device_map=auto")
    ways.append("run it on the CPU with engine.device=cpu" if devices.kind == GPU else "use a larger machine")
    return EngineError(
        f"{model} needs about {memory / 1e9:.1f} GB of memory, and there is {have}. {ways[0][0].upper()}{ways[0][1:]}"
        f"{''.join(f', or {way}' for way in ways[1:])}."
    )


def _notes(planned: Sequence[Planned], config: VerifyConfig, devices: Devices) -> tuple[str, ...]:
    notes = []
    if unknown := sum(cell.rows is None for one in planned for cell in one.cells):
        cells = "One cell does" if unknown == 1 else f"{unknown} cells do"
        notes.append(f"{cells} not say how many examples there are; {ROWS_ASSUMED:,} are assumed of each.")
    if not devices.is_known:
        notes.append(
            "What the cluster has shows only when the sweep begins: nothing is refused here, and times hold for "
            f"{devices.workers} unit{'' if devices.workers == 1 else 's'} at once (sweep.workers)."
        )
    if config.policy.stop != "never" and planned:
        notes.append(f"Runs may end earlier: policy.stop={config.policy.stop} needs whole splits only where it must.")
    spread = sum(one.unit.devices > 1 for one in planned)
    if spread:
        models = "One model is" if spread == 1 else f"{spread} models are"
        notes.append(f"{models} too large for one device and {'is' if spread == 1 else 'are'} placed over several.")
    return tuple(notes)
