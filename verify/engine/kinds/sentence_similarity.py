"""Two texts to the similarity of their embeddings.

A unit is a pair. Data sets repeat their sentences (SICK-R holds each 3.3 times), so a text stands once in a batch, and
what several pairs need is remembered from batch to batch: each process embeds a text once. A batch of one pair neither
uses nor adds to what is remembered: the second configuration of a run has batches of one where the first has more, and
it must embed its texts again to be one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import Encoded, input_limit, load_tokenizer, texts, token_budget
from verify.engine.job import Job, Prepared
from verify.engine.kinds.embedder import Recipe, pool, read_recipe
from verify.engine.loading.load import model_for
from verify.errors import DataError, EngineError, NotComparableError
from verify.store.predictions import Family
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of

_ENCODER_ALONE = ("t5", "mt5", "umt5")  # of these, sentence-transformers loads the encoder without its decoder
_TINY = 1e-12  # the least length by which sentence-transformers divides


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the transformer, and encode each distinct text of the selected ``rows`` once.

    Pooling, normalisation, dense layers, prompt and longest input are those of the repository's sentence-transformers
    files, unless the task's settings say otherwise; white space at both ends is dropped, as that library does. Raises
    EngineError if they are not understood, DataError or NotComparableError if there are no ratings.
    """
    settings = settings_of(job.task.kind, job.task.settings)
    references = _ratings(examples, rows)
    recipe = read_recipe(Path(job.model_folder)).with_settings(
        pooling=str(settings["pooling"]),
        normalize=str(settings["normalize"]),
        prompt=None if settings["prefix"] is None else str(settings["prefix"]),
    )
    model = _transformer(replace(job, model_folder=str(recipe.folder)))
    recipe.fits(model.config.hidden_size)
    tokenizer = load_tokenizer(str(recipe.folder))
    asked = job.max_length or settings["max_input_tokens"] or recipe.max_tokens
    limit = input_limit(int(asked) if asked else None, tokenizer, model)

    sides = [[_as_read(text, recipe) for text in texts(examples, role, rows)] for role in ("text", "text_pair")]
    distinct, ids = np.unique(np.array([*sides[0], *sides[1]], dtype=object), return_inverse=True)
    pairs = ids.reshape(2, -1).T
    whole = tokenizer(distinct.tolist(), truncation=False, verbose=False, return_attention_mask=False)
    long = sum(len(ids) > limit for ids in whole["input_ids"]) if limit else 0
    if long:
        whole = tokenizer(
            distinct.tolist(), truncation=True, max_length=limit, verbose=False, return_attention_mask=False
        )
    encoded = Encoded.of(tokenizer, whole)
    if not encoded.lengths.all():
        empty = distinct[int(np.argmin(encoded.lengths))]
        raise DataError(
            f"The text {empty!r} gives no token at all, so it has no embedding. Take its row out of the data, or use a "
            "model whose tokeniser adds special tokens."
        )
    batches = _Pairs(pairs, encoded, skipped=0 if recipe.pool_prompt else _prompt_tokens(tokenizer, recipe))
    embedder = _Embedder(recipe, shared=np.bincount(pairs.ravel(), minlength=len(distinct)) > 1)
    return Prepared(
        family=Family.SIMILARITY,
        model=model,
        lengths=2 * encoded.lengths[pairs].max(axis=1, initial=0),
        collate=batches.collate,
        rows=lambda positions, outputs: {
            "similarity": np.stack([one[0] for one in outputs]),
            "reference": references[positions],
        },
        token_budget=token_budget(device),
        settings={
            "pooling": "+".join(recipe.pooling),
            "steps": [step.name for step in recipe.steps],
            "prompt": recipe.prompt,
            "pool_prompt": recipe.pool_prompt,
            "lower_case": recipe.lower_case,
            "max_length": limit,
            "truncated_texts": long,
            "distinct_texts": len(distinct),
            "similarity_fn_name": recipe.similarity,
            "tokenizer": type(tokenizer).__name__,
        },
        notes=_notes(recipe, settings, long, len(distinct), limit),
        forward=embedder.similarities,
    )


@dataclass(frozen=True)
class _Pairs:
    """``pairs`` [U, 2] are the numbers of the two texts of each unit; the first ``skipped`` tokens are not pooled."""

    pairs: NDArray[np.int64]
    encoded: Encoded
    skipped: int

    def collate(self, units: Sequence[int]) -> Mapping[str, Any]:
        """Each text of some pairs once, padded: ``texts`` [n] are their numbers, ``places`` [u, 2] the pairs' rows."""
        numbers, places = np.unique(self.pairs[np.asarray(units, dtype=np.int64)], return_inverse=True)
        inputs = self.encoded.padded(numbers.tolist())
        pooling_mask = inputs["attention_mask"].clone()
        pooling_mask[:, : self.skipped] = 0
        return {**inputs, "pooling_mask": pooling_mask, "texts": numbers, "places": places.reshape(-1, 2)}


@dataclass
class _Embedder:
    """Embeds texts, and remembers those that several pairs share (bool [texts]) while the dtype stays the same."""

    recipe: Recipe
    shared: NDArray[np.bool_]
    _known: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    _dtype: Any = None

    def similarities(self, model: Any, inputs: Mapping[str, Any]) -> list[NDArray[np.float64]]:
        """For each pair: cosine, dot product, negative Manhattan and negative Euclidean distance, in float64 [4]."""
        inputs = dict(inputs)
        numbers, places = inputs.pop("texts"), inputs.pop("places")
        vectors = self._vectors(model, inputs, numbers, alone=len(places) == 1).astype(np.float64)
        first, second = vectors[places[:, 0]], vectors[places[:, 1]]
        lengths = [np.linalg.norm(side, axis=1).clip(min=_TINY) for side in (first, second)]
        dot = (first * second).sum(axis=1)
        manhattan = np.abs(first - second).sum(axis=1)
        euclidean = np.linalg.norm(first - second, axis=1)
        return list(np.stack([dot / lengths[0] / lengths[1], dot, -manhattan, -euclidean], axis=1))

    def _vectors(self, model: Any, inputs: dict[str, Any], numbers: NDArray[np.int64], *, alone: bool) -> Any:
        if self._dtype != model.dtype:
            self._known, self._dtype = {}, model.dtype
        known = {} if alone else self._known
        missing = [place for place, number in enumerate(numbers.tolist()) if number not in known]
        found = dict(zip(missing, self._embed(model, inputs, missing), strict=True)) if missing else {}
        if not alone:
            known |= {int(numbers[i]): vector for i, vector in found.items() if self.shared[numbers[i]]}
        return np.stack([found[i] if i in found else known[number] for i, number in enumerate(numbers.tolist())])

    def _embed(self, model: Any, inputs: Mapping[str, Any], places: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings [n, D] of some rows of a batch, which loses the columns that only padding is left in."""
        width = int(inputs["attention_mask"][places].sum(dim=1).max())
        needed = {name: value[places, :width] for name, value in inputs.items()}
        mask = needed.pop("pooling_mask")
        hidden = model(**needed).last_hidden_state
        vectors = pool(self.recipe.pooling, hidden.float(), mask.to(hidden.device))
        for step in self.recipe.steps:
            vectors = step.apply(vectors)
        numbers: NDArray[np.float32] = vectors.cpu().numpy()
        return numbers


def _transformer(job: Job) -> Any:
    """The encoder without a pooler, which no pooling of tokens uses and which many repositories therefore lack."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(
            job.model_folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise EngineError(
            f"The model's configuration could not be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error
    if config.model_type in _ENCODER_ALONE:
        return model_for(job, transformers.AutoModelForTextEncoding)
    if config.is_encoder_decoder:
        raise EngineError(
            f"A {config.model_type} model has an encoder and a decoder, and it is not known here which part of it "
            "embeds a text. Choose an encoder."
        )
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    has_pooler = inspect.isclass(kind) and "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return model_for(job, transformers.AutoModel, **({"add_pooling_layer": False} if has_pooler else {}))


def _as_read(text: str, recipe: Recipe) -> str:
    text = (recipe.prompt + text).strip()
    return text.lower() if recipe.lower_case else text


def _prompt_tokens(tokenizer: Any, recipe: Recipe) -> int:
    """How many tokens of an input are the prompt's: those of the prompt alone, but for an end token."""
    if not recipe.prompt:
        return 0
    ids = tokenizer(_as_read("", recipe))["input_ids"]
    return len(ids) - int(bool(ids) and ids[-1] in tokenizer.all_special_ids)


def _ratings(examples: Examples, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The human ratings [N] of the selected rows."""
    examples.require_references()
    column, values = examples.columns["score"], examples.column("score", rows.tolist())
    for row, value in zip(rows.tolist(), values, strict=True):
        if value is None or value != value:
            raise NotComparableError(
                f"The column {column!r} has no rating in row {row} of the split {examples.split}, so nothing can be "
                "scored on it. Choose a rated split with override.split=NAME."
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(
                f"The column {column!r} holds {type(value).__name__} in row {row}, where a number is expected. Correct "
                "columns.score in the task file."
            )
    return np.array(values, dtype=np.float64)


def _notes(recipe: Recipe, settings: Mapping[str, Any], long: int, distinct: int, limit: int | None) -> tuple[str, ...]:
    notes = []
    if not recipe.is_stated and settings["pooling"] == "auto":
        notes.append(
            "the repository has no sentence-transformers files: embeddings are the mean over all tokens, "
            + ("normalised as the task says" if recipe.steps else "not normalised")
        )
    if recipe.prompts and not recipe.prompt and settings["prefix"] is None:
        notes.append(f"the repository has prompts ({', '.join(recipe.prompts)}) and no default, so none was used")
    if long:
        notes.append(f"{long} of {distinct} distinct texts were longer than {limit} tokens and were cut")
    return tuple(notes)
