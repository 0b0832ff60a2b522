"""Greedy and beam search over the decoder of an encoder-decoder model, in which finished rows leave the batch.

They are the decoding loops of `transformers`' ``generate``, which computes every row of a batch until the longest is
done; here the finished ones are dropped from the cache, the encoder's outputs and the masks, and the tokens are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from verify.errors import EngineError

RETIRE_SHARE = 1 / 8
"""The finished share of the rows at which they leave: dropping them copies the cache, so not every row at once."""

_ROW_WISE = frozenset(
    {
        "MinLengthLogitsProcessor",
        "MinNewTokensLengthLogitsProcessor",
        "NoRepeatNGramLogitsProcessor",
        "NoBadWordsLogitsProcessor",
        "SequenceBiasLogitsProcessor",
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "SuppressTokensLogitsProcessor",
        "SuppressTokensAtBeginLogitsProcessor",
        "ExponentialDecayLengthPenalty",
        "InfNanRemoveLogitsProcessor",
        "RepetitionPenaltyLogitsProcessor",
        "LogitNormalization",
        "WhisperTimeStampLogitsProcessor",
    }
)
"""Logits processors that look at one row at a time and remember nothing of the batch."""

_NEVER = -1e9  # added to the score of what cannot be chosen; finite, so that differences stay numbers

_PER_ROW = ("attention_mask", "decoder_attention_mask", "decoder_position_ids", "global_attention_mask")


@dataclass(frozen=True)
class GenerationOutput:
    """What was generated for each row of a batch.

    ``tokens`` are the ids that `generate` returns for the row alone: the decoder's prompt, what was generated, and the
    end-of-sequence token where there is one, without padding. ``margins`` say how close the row came to another text.
    In greedy search it is the smallest gap, over the steps, between the largest and the second largest logit after the
    logits processors (infinite where no other token was allowed); logits that move by less than half of it leave the
    text as it is. In beam search it is the gap between the scores of the best and the second-best finished sequence
    (sums of log-probabilities over length to the power of ``length_penalty``): it ranks rows, but does not bound what
    pruning on the way may change. It is 0 where it is not known.
    """

    tokens: list[list[int]]
    margins: list[float]


class _Decoder:
    """The model over the rows that are still being written: one step at a time, and fewer rows once some are done.

    ``inputs`` are those that `generate` prepared for every step. Rows can leave only if everything in them that belongs
    to a row is known, and if no logits processor remembers the batch.
    """

    def __init__(self, model: Any, inputs: dict[str, Any], processors: Sequence[Any]) -> None:
        import torch

        self.model, self.inputs, self.is_first = model, inputs, True
        unknown = [
            name
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor) and value.ndim and name not in _PER_ROW
        ]
        row_wise = all(
            type(processor).__name__ in _ROW_WISE and getattr(processor, "prompt_ignore_length", None) is None
            for processor in processors
        )
        self.can_shrink = row_wise and not unknown and _is_dynamic(inputs.get("past_key_values"))

    def logits(self, tokens: Any) -> Any:
        """The next token's logits, float32 [rows, vocabulary], after ``tokens`` [rows, length]."""
        import torch

        step = self.model.prepare_inputs_for_generation(
            tokens,
            next_sequence_length=None if self.is_first or not self.inputs["use_cache"] else 1,
            is_first_iteration=self.is_first,
            **self.inputs,
        )
        outputs = self.model(**step, return_dict=True)
        self.is_first = False
        self.inputs = self.model._update_model_kwargs_for_generation(outputs, self.inputs, is_encoder_decoder=True)
        return outputs.logits[:, -1].to(torch.float32, copy=True)

    def keep(self, rows: Any) -> None:
        """Go on with ``rows`` [n] alone, indices among the present ones."""
        for name in _PER_ROW:
            if self.inputs.get(name) is not None:
                self.inputs[name] = self.inputs[name][rows]
        encoded = self.inputs["encoder_outputs"]
        self.inputs["encoder_outputs"] = type(encoded)(**{name: _select(encoded[name], rows) for name in encoded})
        self.inputs["past_key_values"].batch_select_indices(rows)

    def follow(self, rows: Any) -> None:
        """Let the beams go on from ``rows`` [n]: each beam stays with its example, so the encoder's side is unmoved."""
        cache: Any = self.inputs.get("past_key_values")
        if _is_dynamic(cache):
            cache.self_attention_cache.reorder_cache(rows)
        elif hasattr(self.model, "_reorder_cache"):
            self.inputs["past_key_values"] = self.model._reorder_cache(cache, rows)
        elif cache is not None:
            cache.reorder_cache(rows)


def greedy_search(
    model: Any,
    input_ids: Any,
    logits_processor: Any,
    stopping_criteria: Callable[..., Any],
    generation_config: Any,
    **inputs: Any,
) -> GenerationOutput:
    import torch

    decoder = _Decoder(model, inputs, logits_processor)
    padding = padding_of(generation_config)
    collected = _Collected(len(input_ids))
    tokens, count = input_ids, len(input_ids)
    device = tokens.device
    row = torch.arange(count, device=device)
    length = torch.zeros(count, dtype=torch.long, device=device)
    margin = torch.full((count,), torch.inf, device=device)
    done = torch.zeros(count, dtype=torch.bool, device=device)
    while True:
        scores = logits_processor(tokens, decoder.logits(tokens))
        chosen = scores.argmax(dim=-1)
        best = scores.gather(1, chosen[:, None])[:, 0]
        gap = _gap(best, scores.scatter(1, chosen[:, None], -torch.inf).amax(dim=1))
        margin = torch.where(done, margin, torch.minimum(margin, gap))
        tokens = torch.cat([tokens, torch.where(done, padding, chosen)[:, None]], dim=1)
        ended = stopping_criteria(tokens, None) & ~done
        length[ended] = tokens.shape[1]
        done |= ended
        finished = int(done.sum())
        if finished == len(done):
            collected.add(row, tokens, length, margin)
            return collected.output()
        if decoder.can_shrink and finished >= max(1.0, RETIRE_SHARE * len(done)):
            collected.add(row[done], tokens[done], length[done], margin[done])
            live = (~done).nonzero()[:, 0]
            decoder.keep(live)
            row, tokens, length, margin, done = row[live], tokens[live], length[live], margin[live], done[live]


def beam_search(
    model: Any,
    input_ids: Any,
    logits_processor: Any,
    stopping_criteria: Callable[..., Any],
    generation_config: Any,
    **inputs: Any,
) -> GenerationOutput:
    """Beam search as `transformers` defines it, each example by itself [R rows, K beams].

    A step weighs enough continuations that K of them go on even if every beam could end. One that ends among the best K
    becomes a finished sequence, scored by its log-probability over its length to the power of the length penalty, and
    the K best of those are kept. An example is done when no running beam can beat its worst finished sequence any more
    (by the bound that ``early_stopping`` names), or, with ``early_stopping`` true, once it has K of them.
    """
    import torch

    beams = generation_config.num_beams
    early, penalty = generation_config.early_stopping, generation_config.length_penalty
    ends = generation_config.eos_token_id
    continuations = beams * max(2, 1 + (0 if ends is None else len(ends) if isinstance(ends, list) else 1))
    prompt, device = input_ids.shape[1], input_ids.device
    decoder = _Decoder(model, inputs, logits_processor)
    search = _Beams.start(input_ids, beams)
    row = torch.arange(len(search.scores), device=device)
    collected = _Collected(len(row))
    among_best = torch.arange(continuations, device=device) < beams
    while True:
        flat = search.tokens.flatten(0, 1)
        log_probabilities = logits_processor(flat, decoder.logits(flat).log_softmax(dim=-1))
        vocabulary = log_probabilities.shape[-1]
        totals = (log_probabilities.view(len(row), beams, vocabulary) + search.scores[:, :, None]).flatten(1)
        best, index = totals.topk(continuations, dim=1)
        beam = index // vocabulary
        tokens = torch.cat([_pick(search.tokens, beam), (index % vocabulary)[:, :, None]], dim=2)
        ended = stopping_criteria(tokens.flatten(0, 1), None).view(len(row), continuations)
        written = tokens.shape[2] - prompt
        has_ended = ended & among_best
        scores = best / written**penalty + search.is_closed(early)[:, None] * _NEVER + ~has_ended * _NEVER
        search.finish(tokens, scores, has_ended)
        running = best + ended * _NEVER
        going = running.topk(beams, dim=1).indices
        search.scores, search.tokens = _pick(running, going), _pick(tokens, going)
        source = _pick(beam, going)
        hopeful = generation_config.max_length - prompt if early == "never" and penalty > 0 else written
        search.bound(search.scores[:, :1] / hopeful**penalty)
        done = search.is_closed(early) | ended.all(dim=1)
        finished = int(done.sum())
        if finished == len(done):
            collected.add(row, *search.best())
            return collected.output()
        origin = source + torch.arange(len(row), device=device)[:, None] * beams
        if decoder.can_shrink and finished >= max(1.0, RETIRE_SHARE * len(done)):
            collected.add(row[done], *search.keep(done).best())
            live = (~done).nonzero()[:, 0]
            row, search = row[live], search.keep(live)
            decoder.keep(origin[live].flatten())
        else:
            decoder.follow(origin.flatten())


@dataclass
class _Beams:
    """The state of a beam search over R examples with K beams: what runs [R, K], and what is finished [R, K].

    ``tokens`` [R, K, length] and ``scores`` (sums of log-probabilities) run. ``ended_tokens`` [R, K, length],
    ``ended_lengths``, ``ended_scores`` (length-penalised) and ``is_ended`` are the finished sequences, best first.
    ``can_improve`` [R] is whether a running beam may still beat one of them.
    """

    tokens: Any
    scores: Any
    ended_tokens: Any
    ended_lengths: Any
    ended_scores: Any
    is_ended: Any
    can_improve: Any

    @staticmethod
    def start(input_ids: Any, beams: int) -> _Beams:
        """From prompts that are repeated for each beam [R · K, length]: only the first beam counts at first."""
        import torch

        tokens = input_ids.view(-1, beams, input_ids.shape[1])
        scores = torch.zeros(tokens.shape[:2], device=tokens.device)
        scores[:, 1:] = _NEVER
        return _Beams(
            tokens=tokens,
            scores=scores,
            ended_tokens=tokens.clone(),
            ended_lengths=torch.full_like(tokens[:, :, 0], tokens.shape[2]),
            ended_scores=torch.full_like(scores, _NEVER),
            is_ended=torch.zeros_like(scores, dtype=torch.bool),
            can_improve=torch.ones_like(scores[:, 0], dtype=torch.bool),
        )

    def is_closed(self, early_stopping: bool | str | None) -> Any:
        """Whether an example's finished sequences are final [R]."""
        return ~self.can_improve | (self.is_ended.all(dim=1) & (early_stopping is True))

    def finish(self, tokens: Any, scores: Any, has_ended: Any) -> None:
        """Merge the continuations [R, M, length] into the finished sequences and keep the best K."""
        import torch

        grown = torch.nn.functional.pad(self.ended_tokens, (0, 1))
        lengths = torch.full_like(has_ended, tokens.shape[2], dtype=torch.long)
        self.ended_scores, kept = torch.cat([self.ended_scores, scores], 1).topk(self.scores.shape[1], dim=1)
        self.ended_tokens = _pick(torch.cat([grown, tokens], 1), kept)
        self.ended_lengths = _pick(torch.cat([self.ended_lengths, lengths], 1), kept)
        self.is_ended = _pick(torch.cat([self.is_ended, has_ended], 1), kept)

    def bound(self, best_possible: Any) -> None:
        """Note which examples could still improve, given the best score [R, 1] that a running beam may reach."""
        import torch

        worst = torch.where(self.is_ended, self.ended_scores.amin(dim=1, keepdim=True), _NEVER)
        self.can_improve = self.can_improve & (best_possible > worst).any(dim=1)

    def keep(self, rows: Any) -> _Beams:
        return _Beams(**{name: value[rows] for name, value in vars(self).items()})

    def best(self) -> tuple[Any, Any, Any]:
        """The best finished sequence of each example: tokens [R, length], lengths [R] and margins [R]."""
        return self.ended_tokens[:, 0], self.ended_lengths[:, 0], _gap(*self.ended_scores[:, :2].unbind(dim=1))


@dataclass
class _Collected:
    """Rows of a batch as they are finished, in any order."""

    count: int
    tokens: dict[int, list[int]] = field(default_factory=dict)
    margins: dict[int, float] = field(default_factory=dict)

    def add(self, rows: Any, tokens: Any, lengths: Any, margins: Any) -> None:
        for row, ids, length, margin in zip(
            rows.tolist(), tokens.tolist(), lengths.tolist(), margins.tolist(), strict=True
        ):
            self.tokens[row], self.margins[row] = ids[:length], margin

    def output(self) -> GenerationOutput:
        rows = range(self.count)
        if any(math.isnan(margin) for margin in self.margins.values()):
            raise EngineError(
                "The model's outputs are not finite for some examples, so what it writes means nothing. Use "
                "engine.dtype=float32, or check the weights."
            )
        return GenerationOutput([self.tokens[row] for row in rows], [self.margins[row] for row in rows])


def _gap(best: Any, second: Any) -> Any:
    """The difference, which is 0 between two that cannot be chosen, and not a number only where a score is none."""
    import torch

    return torch.where(best.isneginf(), 0.0, best - second)


def _pick(values: Any, index: Any) -> Any:
    """From ``values`` [R, A, …], the entries ``index`` [R, B] of each row: [R, B, …]."""
    shape = index.shape + values.shape[2:]
    return values.gather(1, index.view(*index.shape, *[1] * (values.ndim - 2)).expand(shape))


def _select(value: Any, rows: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_select(part, rows) for part in value)
    return None if value is None else value[rows]


def _is_dynamic(cache: Any) -> bool:
    from transformers import DynamicCache, EncoderDecoderCache

    return isinstance(cache, EncoderDecoderCache) and all(
        isinstance(part, DynamicCache) for part in (cache.self_attention_cache, cache.cross_attention_cache)
    )


def padding_of(configuration: Any) -> int:
    """The token that fills up finished rows: `generate` takes the end-of-sequence token where there is none."""
    ends = configuration.eos_token_id
    candidates = (configuration.pad_token_id, ends[0] if isinstance(ends, list) else ends, 0)
    return next(int(token) for token in candidates if token is not None)
