"""Causes in how transcripts are compared: the normaliser, characters for words, the mean of utterances' rates.

The rates are jiwer's, and the normalisers jiwer's and those of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
from benchmarks.causes.cards import FOUR, FOUR_PERCENT, THREE, THREE_PERCENT, Injected, some
from benchmarks.causes.numbers import Numbers, rates
from benchmarks.causes.runs import Run, Runs

from verify.store.predictions import TextPredictions

STYLES = (FOUR, FOUR_PERCENT, THREE, THREE_PERCENT)


def normalisers() -> dict[str, Callable[[str], str]]:
    """What scripts do to both texts before they compare them."""
    import jiwer
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip()])
    return {
        "lower case": str.lower,
        "no punctuation": plain,
        "Whisper's basic": BasicTextNormalizer(),
        "Whisper's English": EnglishTextNormalizer({}),
    }


def transcripts(runs: Runs) -> Iterator[Injected]:
    for seed in (0, 1):
        run = runs.run("spoken_digits", seed)
        texts, spoken = _texts(run)
        for place, (words, normalise) in enumerate(normalisers().items()):
            found = rates([normalise(text) for text in texts], [normalise(text) for text in spoken])
            names = ("wer", "cer") if (place + seed) % 2 else ("wer",)
            style = STYLES[(place + seed) % 4]
            yield Injected("WER normaliser", ("normaliser",), run, some(found, *names), style, words=words)
        yield from _swapped(run, rates(texts, spoken), seed)
        yield from _means(run, texts, spoken, seed)
        part = rates(texts[:200], spoken[:200])
        yield Injected("subset as the whole", ("first_rows",), run, some(part, "wer", "cer"), FOUR, words="200 rows")


def _swapped(run: Run, own: Numbers, seed: int) -> Iterator[Injected]:
    cause, expected = "CER for WER", ("rate_mislabelled",)
    yield Injected(cause, expected, run, {"wer": own["cer"]}, STYLES[seed])
    yield Injected(cause, expected, run, {"cer": own["wer"]}, STYLES[2 + seed])
    crossed = {"wer": own["cer"], "cer": own["wer"]} if seed else {"wer": own["cer"], "cer": own["cer"]}
    yield Injected(cause, expected, run, crossed, FOUR)
    yield Injected("error rate", ("complement",), run, {"wer": 1 - own["wer"]}, STYLES[1 - seed])
    yield Injected("percent slip", ("factor_100",), run, some(own, "wer", "cer"), FOUR, slip=0.01)


def _means(run: Run, texts: Sequence[str], spoken: Sequence[str], seed: int) -> Iterator[Injected]:
    """As scripts do that call jiwer in a loop."""
    each = [rates([text], [said]) for text, said in zip(texts, spoken, strict=True)]
    found = {name: float(np.mean([one[name] for one in each])) for name in ("wer", "cer")}
    for place, names in enumerate((("wer",), ("cer",), ("wer", "cer"))):
        style = STYLES[(place + seed) % 4]
        yield Injected("mean of utterances' rates", ("mean_of_rates",), run, some(found, *names), style)


def _texts(run: Run) -> tuple[list[str], list[str]]:
    stored = cast(TextPredictions, run.predictions)
    return list(stored.texts), [several[0] for several in stored.references]
