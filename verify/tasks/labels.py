"""Aligning the classes of a model with the classes of a data set.

Practitioners lose tens of points to a swapped label order (reference: transformers issues 5141 and 12069), so the order
is only trusted when names cannot decide, and that is stated in the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verify.errors import NotComparableError


@dataclass(frozen=True)
class Alignment:
    """For each logit of the model the label id of the data set, or -1; ``how`` says on what grounds."""

    label_of_logit: tuple[int, ...]
    how: str
    by_name: bool


def align_labels(
    model_labels: Sequence[str],
    data_labels: Sequence[str] | None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> Alignment:
    """Map each logit to a label id of the data, by name where the names allow it, else by order.

    ``model_labels`` are in logit order, ``data_labels`` in label-id order (None: the data carry no names). ``aliases``
    maps a data label to other names for it. Raises NotComparableError when neither names nor order can be right.
    """
    if data_labels is None:
        return _by_order(len(model_labels), "the data name no classes, so the model's order was taken")
    is_numbered = all(label.isdecimal() for label in (*model_labels, *data_labels))
    if is_numbered and set(model_labels) != set(data_labels) and len(model_labels) == len(data_labels):
        return _by_order(len(model_labels), "model and data number the classes differently, so the order was taken")
    ids = _ids_by_name(data_labels, aliases or {})
    exact = {label: i for i, label in enumerate(data_labels)}
    found = [exact.get(label, ids.get(_plain(label), -1)) for label in model_labels]
    matched = {label for label in found if label >= 0}
    if len(matched) == len(data_labels) and _distinct(found):
        moved = [i for i, label in enumerate(found) if label not in (-1, i)]
        extra = found.count(-1)
        how = "classes were aligned by name"
        if moved:
            how += "; the model orders them differently from the data"
        if extra:
            how += f"; {extra} classes of the model do not occur in the data"
        return Alignment(tuple(found), how, by_name=True)
    if len(model_labels) != len(data_labels):
        raise NotComparableError(
            f"The model has {len(model_labels)} classes ({_listed(model_labels)}) and the data {len(data_labels)} "
            f"({_listed(data_labels)}), and the names do not say which is which. If they mean the same, say so with "
            "label_aliases in a task file of your own."
        )
    if not matched:
        return _by_order(
            len(model_labels),
            f"the model's class names ({_listed(model_labels)}) say nothing about the data's "
            f"({_listed(data_labels)}), so classes were aligned by order",
        )
    if _distinct(found) and found.count(-1) == 1:
        left = (set(range(len(data_labels))) - matched).pop()
        completed = tuple(left if label == -1 else label for label in found)
        return Alignment(completed, "classes were aligned by name, the last one by elimination", by_name=True)
    if all(label in (-1, i) for i, label in enumerate(found)):
        return _by_order(
            len(model_labels), "some class names agree with the data's, in the same order, so the order was taken"
        )
    raise NotComparableError(
        f"Only some classes of the model ({_listed(model_labels)}) can be found by name among the data's "
        f"({_listed(data_labels)}), and in another order. Name the others with label_aliases in a task file of "
        "your own."
    )


def _by_order(count: int, how: str) -> Alignment:
    return Alignment(tuple(range(count)), how, by_name=False)


def _ids_by_name(data_labels: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for i, label in enumerate(data_labels):
        ids.setdefault(_plain(label), i)
    for i, label in enumerate(data_labels):
        for name in aliases.get(label, ()):
            ids.setdefault(_plain(name), i)
    return ids


def _plain(label: str) -> str:
    return re.sub(r"[\s_\-/.,]+", "", str(label).casefold())


def _distinct(found: Sequence[int]) -> bool:
    known = [label for label in found if label >= 0]
    return len(known) == len(set(known))


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(str(label) for label in labels[:6])
    return shown + (", …" if len(labels) > 6 else "")
