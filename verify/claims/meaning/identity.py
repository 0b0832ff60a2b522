"""Whose number it is: which label of a table names this model, and which name others.

Names are compared by tokens, size and variant: ``7B`` is not ``72B``, ``-Instruct`` is not the base model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from verify.claims.meaning.vocabulary import key
from verify.claims.meaning.words import words as word_list

_WORDS = re.compile(r"\d+(?:\.\d+)+|[^\W\d_]+|\d+")
_SIZE = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])|(?<=[a-z-])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE
)
_HUB = re.compile(r"(?:huggingface\.co|hf\.co)/(?!datasets/|spaces/|papers?/|docs/|blog/)([\w.-]{1,96}/[\w.-]{1,96})")
_LOADED = re.compile(
    r"(?:from_pretrained|from_hparams|load_model|pipeline|SentenceTransformer|model_name|model_id|model_path|model)\s*"
    r"(?:\(|=)[^\n\"']{0,80}[\"']([\w.-]{1,96}/[\w.-]{1,96})[\"']"
)
_OURS = re.compile(
    r"(?:^|[\s(\[])(?:ours?|this (?:model|work|repo|checkpoint|one)|our (?:model|work|method|approach)"
    r"|my model)(?:$|[\s)\],*:])",
    re.IGNORECASE,
)
_PARAMETERS = word_list("parameters")
SIZES = word_list("sizes")
VARIANTS = word_list("variants")
_STAGES = ("sft", "dpo", "ppo", "rl", "rlhf")
FAMILIES = word_list("families")
_GENERIC = word_list("generic")


_GREEK = str.maketrans({"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta"})
_ABBREVIATED = {"ins": "instruct", "inst": "instruct", "inst.": "instruct", "instr": "instruct", "ft": "finetuned"}


_PRECISIONS = word_list("precisions")


class Owner(StrEnum):
    """Whose numbers stand under a label."""

    OWN = "own"
    OTHER = "other"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Identity:
    """The names of this model: ``names`` in squashed form; ``words`` and ``sizes`` of its principal name."""

    names: frozenset[str]
    principal: str
    words: frozenset[str]
    sizes: frozenset[str]
    other_names: frozenset[str] = field(default_factory=frozenset)


def identify(
    model: str, index_names: Iterable[str], title: str, text: str, base_models: Iterable[str] = ()
) -> Identity:
    """Collect what this model is called: its id, its metadata's name, its title, and the ids that its own code loads.

    Where the id given is only a folder's name, the id that the code of the card loads and that shares most words with
    it is the fuller form.
    """
    base = model.rsplit("/", 1)[-1]
    names = {key(base), key(model.replace("/", "-"))}
    loaded = dict.fromkeys(_LOADED.findall(text[:200_000]))
    linked = dict.fromkeys(_HUB.findall(text[:200_000]))
    own_words = set(words(model))
    for found in (loaded, linked):
        best = max(found, key=lambda candidate: (_share(own_words, candidate), -len(candidate)), default="")
        if best and (key(best) == key(model) or (_share(own_words, best) >= 0.75 and _compatible_size(model, best))):
            names |= {key(best.rsplit("/", 1)[-1]), key(best.replace("/", "-"))}
            base = best.rsplit("/", 1)[-1]
            break
    for name in index_names:
        last = name.rsplit("/", 1)[-1]
        if _share(own_words, last) >= 0.5 or key(last) in names:
            names.add(key(last))
    heading = title.strip()
    if heading and len(heading) < 80 and _compatible_size(base, heading):
        shared = set(words(heading)) & (own_words | set(words(base))) - _GENERIC
        if shared:
            names.add(key(heading.split(":")[0]))
    others = frozenset(key(name.rsplit("/", 1)[-1]) for name in (*loaded, *linked, *base_models)) - names
    named = set(words(base)) | (set(words(model)) if "/" not in model else set())
    return Identity(
        frozenset(filter(None, names)), base, frozenset(named), frozenset(sizes(base) or sizes(model)), others
    )


def _share(own: set[str], candidate: str) -> float:
    """The part of the words of ``candidate`` that ``own`` has, weighed with the part of ``own`` that it has."""
    theirs = set(words(candidate))
    if not theirs or not own:
        return 0.0
    common = len(theirs & own)
    return common / min(len(theirs), len(own)) if (theirs & own) - _GENERIC else 0.0


def words(name: str) -> list[str]:
    """The lower-case words and numbers of a name: "OpenLLaMA 13B" gives openllama and 13b; 3.3 stays one word."""
    found: list[str] = []
    name = name.translate(_GREEK)
    for part in re.split(r"[\s/_,:;()\[\]|+-]+", name.casefold()):
        if part:
            found.append(part.strip(".*'\"`"))
    return [_ABBREVIATED.get(part, part) for part in found if part]


def sizes(name: str) -> list[str]:
    """Parameter counts in a name, as "7b" or "350m"."""
    return [f"{float(found[0] or found[2]):g}{(found[1] or found[3]).casefold()}" for found in _SIZE.findall(name)]


def _compatible_size(one: str, other: str) -> bool:
    first, second = set(sizes(one)), set(sizes(other))
    return not first or not second or bool(first & second)


def is_precision(label: str) -> bool:
    """True for "INT8" or "FP32": the same model in another arithmetic."""
    return bool(label) and set(words(label)) <= _PRECISIONS


def looks_like_model(label: str) -> bool:
    """True for a label that reads as the name of a model rather than of a data set, a metric or a language."""
    if not label or len(label) > 120:
        return False
    if _OURS.search(label) or sizes(label):
        return True
    parts = words(label)
    if any(part in FAMILIES or part.rstrip("0123456789.v") in FAMILIES for part in parts):
        return True
    if re.fullmatch(r"[\w.-]+/[\w.-]+", label.strip()) and not label.strip().replace("/", "").isdigit():
        return not re.fullmatch(r"[\w.-]+/(?:acc|acc_norm|em|f1|mc1|mc2|ppl|bleu|rouge\w*)", label.strip())
    return any(len(part) > 4 and _COMPOUND.match(part) for part in parts)


_LONG = "|".join(sorted((re.escape(family) for family in FAMILIES if len(family) >= 4), key=len, reverse=True))
_COMPOUND = re.compile(rf"(?:{_LONG})|.{{1,40}}(?:{_LONG})$")


def owners(labels: Sequence[str], identity: Identity, targets: Sequence[str | None] = ()) -> list[Owner]:
    """For the labels of one axis (rows or columns), whose each one is.

    ``targets`` are the addresses that the labels link to. Labels are judged together: what tells this model from its
    siblings depends on which siblings stand beside it.
    """
    verdicts = [_alone(label, identity) for label in labels]
    for position, target in enumerate(targets):
        found = _HUB.search(target) if target else None
        if found:
            linked = key(found.group(1).rsplit("/", 1)[-1])
            if linked in identity.names:
                verdicts[position] = Owner.OWN
            elif verdicts[position] is not Owner.OWN:
                verdicts[position] = Owner.UNDECIDED if extends(labels[position], identity) else Owner.OTHER
    if Owner.OWN in verdicts:
        return [verdict if verdict is Owner.OWN else Owner.OTHER for verdict in verdicts]
    near = [position for position, verdict in enumerate(verdicts) if verdict is Owner.UNDECIDED]
    chosen = _nearest([labels[position] for position in near], identity) if near else None
    if chosen is not None:
        verdicts = [Owner.OTHER] * len(labels)
        verdicts[near[chosen]] = Owner.OWN
    return verdicts


def _alone(label: str, identity: Identity) -> Owner:
    label = label.translate(_GREEK)
    if identity.sizes and (their_sizes := set(sizes(label))) and not their_sizes & identity.sizes:
        return Owner.OTHER
    if _OURS.search(label):
        return Owner.OWN
    if is_precision(label) and (own := _PRECISIONS & identity.words):
        return Owner.OWN if own & set(words(label)) else Owner.OTHER
    squashed = key(label)
    bare = key(re.sub(r"\([^()]*\)", "", label))
    if squashed in identity.names or (bare in identity.names and bare == squashed):
        return Owner.OWN
    if squashed in identity.other_names and not extends(label, identity):
        # The base model's name, where a fine-tuned model's name only adds what it was tuned on.
        return Owner.UNDECIDED if key(identity.principal).startswith(squashed) else Owner.OTHER
    their_sizes = set(sizes(label))
    if their_sizes and identity.sizes and set(words(label)) <= their_sizes | _PARAMETERS | {"b", "m"}:
        return Owner.OWN
    return Owner.UNDECIDED if extends(label, identity) or _abridges(label, identity) else Owner.OTHER


def extends(label: str, identity: Identity) -> bool:
    """True if the label holds the whole of one of this model's names."""
    squashed = key(label)
    return any(len(name) >= 4 and name in squashed for name in identity.names)


def _abridges(label: str, identity: Identity) -> bool:
    """True if the label shares a distinctive word with this model's name and says nothing against it."""
    own = "".join(sorted(identity.names, key=len)[-1:]) + key(identity.principal)
    parts = [part for part in words(label) if part not in _GENERIC]
    if not parts:
        return False
    known = [part for part in parts if key(part) and key(part) in own]
    unknown = [part for part in parts if part not in known and part not in SIZES and part not in VARIANTS]
    distinctive = [part for part in known if len(part) >= 3 and part not in SIZES and part not in VARIANTS]
    return bool(distinctive) and len(known) > len(unknown)


def _nearest(labels: Sequence[str], identity: Identity) -> int | None:
    """The one label that is nearest to this model's name, or None if none or several are.

    A label may leave words out, and may add a size or a stage of training; of several stages the last is the model.
    """
    scores = {
        position: score for position, label in enumerate(labels) if (score := _closeness(label, identity)) is not None
    }
    if not scores:
        return None
    best = max(scores.values())
    top = [position for position, score in scores.items() if score == best]
    if best <= 0:
        return None
    if len(top) == 1:
        return top[0]
    staged = [
        max((_STAGES.index(word) for word in words(labels[position]) if word in _STAGES), default=-1)
        for position in top
    ]
    last = max(staged)
    return top[staged.index(last)] if last >= 0 and staged.count(last) == 1 else None


def _closeness(label: str, identity: Identity) -> float | None:
    """How many words the label shares with this model's name, less those that it lacks; None if it adds others."""
    own = set(identity.words)
    own_key = key(identity.principal) + " " + " ".join(identity.names)
    parts = set(words(label))
    shared = {part for part in parts if part in own or (len(key(part)) >= 3 and key(part) in own_key)}
    foreign = parts - shared
    if not foreign <= SIZES | _GENERIC | set(_STAGES):
        return None
    squashed = key(label)
    missing = [part for part in own if part in VARIANTS | SIZES and key(part) not in squashed]
    return len(shared) - 0.25 * len(foreign - set(_STAGES)) - 0.75 * len(missing)
