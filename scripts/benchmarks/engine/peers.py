"""The engine's peers in its benchmark: other ways from the same inputs to the same predictions, as their authors show.

The model, its tokeniser or processor and the data are loaded before anything is timed, as they are for the engine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.engine.models import SPLIT, Subject
from benchmarks.engine.sides import quiet

Run = Callable[[Any], list[Any]]
"""From a `datasets.Dataset` to a prediction for each row."""

TOKENS = 2048
WINDOW, STRIDE, BEST, LONGEST = 384, 128, 20, 30


@dataclass(frozen=True)
class Peer:
    """A peer by its name, with the settings to choose from and the one that it has by default, if any."""

    name: str
    settings: dict[str, Run]
    default: str | None


class Peers:
    """All peers of one subject after the other."""

    def __init__(self, device: str, threads: int) -> None:
        import datasets
        import torch

        quiet()
        datasets.disable_caching()
        torch.set_num_threads(threads)
        self._device = device

    def open(self, subject: Subject) -> list[tuple[str, list[str], str | None]]:
        """Load a subject; the name, the settings and the default setting of each of its peers."""
        import datasets

        self._data = datasets.load_dataset("parquet", data_files={SPLIT: subject.data}, split=SPLIT)
        self._peers = {peer.name: peer for peer in _PEERS[subject.kind](subject, self._device)}
        return [(peer.name, list(peer.settings), peer.default) for peer in self._peers.values()]

    def run(self, peer: str, setting: str, share: float = 1.0) -> tuple[float, list[Any]]:
        """Seconds from the examples, or the first ``share`` of them, to the predictions, and these."""
        data = self._data
        if share < 1:
            data = data.select(range(max(1, round(share * len(data)))))
        run = self._peers[peer].settings[setting]
        started = time.perf_counter()
        found = run(data)
        return time.perf_counter() - started, found


def _text_classifiers(subject: Subject, device: str) -> list[Peer]:
    from transformers import AutoModelForSequenceClassification

    model, tokenizer = _loaded(AutoModelForSequenceClassification, subject, device)
    pipe = _pipeline("text-classification", model, device, tokenizer=tokenizer)

    def piped(size: int) -> Run:
        return lambda data: [one["label"] for one in pipe(list(data["text"]), batch_size=size)]

    def by_length(data: Any) -> list[Any]:
        return _token_budget_loop(model, tokenizer, list(data["text"]))

    def evaluated(data: Any) -> list[Any]:
        ids = {label: i for i, label in enumerate(subject.labels or ())}
        found = _evaluated("text-classification", pipe, data, label_mapping=ids)
        return [(subject.labels or ())[label] for label in found]

    return [
        _batched("transformers.pipeline", (1, 8, 32, 128), piped),
        _shipped(evaluated),
        Peer("a plain loop sorted by length", {f"batches of {TOKENS} tokens": by_length}, None),
    ]


def _taggers(subject: Subject, device: str) -> list[Peer]:
    from transformers import AutoModelForTokenClassification

    model, tokenizer = _loaded(AutoModelForTokenClassification, subject, device)
    pipe = _pipeline("token-classification", model, device, tokenizer=tokenizer, ignore_labels=[])

    def piped(size: int) -> Run:
        def run(data: Any) -> list[Any]:
            sentences = list(data["tokens"])
            found = pipe([" ".join(words) for words in sentences], batch_size=size)
            return [_word_tags(words, tokens) for words, tokens in zip(sentences, found, strict=True)]

        return run

    def evaluated(data: Any) -> list[Any]:
        return _evaluated("token-classification", pipe, data, input_column="tokens", label_column="tags")

    return [_batched("transformers.pipeline", (1, 8, 32), piped), _shipped(evaluated)]


def _word_tags(words: Sequence[str], tokens: Iterable[dict[str, Any]]) -> list[str]:
    """The tag of each word's first token, where the pipeline says which character a token begins at."""
    tag_at = {token["start"]: token["entity"] for token in tokens}
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    return [tag_at[start] for start in starts.tolist()]


def _image_classifiers(subject: Subject, device: str) -> list[Peer]:
    from transformers import AutoImageProcessor, AutoModelForImageClassification
    from transformers.pipelines.pt_utils import KeyDataset

    model = AutoModelForImageClassification.from_pretrained(subject.model).eval().to(device)
    processor = AutoImageProcessor.from_pretrained(subject.model)
    pipe = _pipeline("image-classification", model, device, image_processor=processor)

    def piped(size: int) -> Run:
        return lambda data: [one[0]["label"] for one in pipe(KeyDataset(data, "image"), batch_size=size, top_k=1)]

    def evaluated(data: Any) -> list[Any]:
        ids = {label: i for i, label in enumerate(subject.labels or ())}
        found = _evaluated("image-classification", pipe, data, label_mapping=ids)
        return [(subject.labels or ())[label] for label in found]

    return [_batched("transformers.pipeline", (1, 8, 32), piped), _shipped(evaluated)]


def _answerers(subject: Subject, device: str) -> list[Peer]:
    from transformers import AutoModelForQuestionAnswering

    model, tokenizer = _loaded(AutoModelForQuestionAnswering, subject, device)

    def trained(size: int) -> Run:
        return lambda data: _windowed_answers(model, tokenizer, data, size, subject.model)

    return [_batched("Trainer.predict on padded windows", (8, 32), trained)]


def _summarisers(subject: Subject, device: str) -> list[Peer]:
    from transformers import AutoModelForSeq2SeqLM

    model, tokenizer = _loaded(AutoModelForSeq2SeqLM, subject, device)

    def generated(size: int) -> Run:
        def run(data: Any) -> list[Any]:
            texts, found = list(data["text"]), []
            for begin in range(0, len(texts), size):
                inputs = tokenizer(
                    texts[begin : begin + size],
                    padding=True,
                    truncation=True,
                    return_tensors="pt",
                    return_token_type_ids=False,
                ).to(device)
                written = model.generate(**inputs, **subject.settings)
                found += tokenizer.batch_decode(written, skip_special_tokens=True)
            return found

        return run

    return [_batched("model.generate in order of arrival", (16, 32), generated, has_default=False)]


_PEERS: dict[str, Callable[[Subject, str], list[Peer]]] = {
    "sequence-classification": _text_classifiers,
    "token-classification": _taggers,
    "image-classification": _image_classifiers,
    "question-answering": _answerers,
    "summarization": _summarisers,
}


def _batched(name: str, sizes: Sequence[int], run: Callable[[int], Run], *, has_default: bool = True) -> Peer:
    """A peer with several batch sizes, of which the first is its default."""
    settings = {f"batch {size}": run(size) for size in sizes}
    return Peer(name, settings, next(iter(settings)) if has_default else None)


def _shipped(run: Run) -> Peer:
    return Peer("evaluate.evaluator", {"as shipped": run}, "as shipped")


def _loaded(auto_class: Any, subject: Subject, device: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer

    model = auto_class.from_pretrained(subject.model).eval().to(device)
    return model, AutoTokenizer.from_pretrained(subject.model)


def _pipeline(task: str, model: Any, device: str, **parts: Any) -> Any:
    from transformers import pipeline

    return pipeline(task, model=model, device=device, **parts)


def _token_budget_loop(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """Tokenise once, sort by length, fill batches up to a number of tokens: the best that is written in a few lines."""
    import torch

    ids = tokenizer(texts)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    found: list[Any] = [None] * len(ids)
    begin = 0
    with torch.inference_mode():
        while begin < len(order):
            batch = order[begin : begin + max(1, TOKENS // len(ids[order[begin]]))]
            inputs = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt").to(model.device)
            for i, label in zip(batch, model(**inputs).logits.argmax(-1).tolist(), strict=True):
                found[i] = model.config.id2label[label]
            begin += len(batch)
    return found


def _evaluated(task: str, pipe: Any, data: Any, **columns: Any) -> list[Any]:
    """What `evaluate.evaluator` computes at its default settings, with a metric that keeps the predictions."""
    import evaluate
    import evaluate.evaluator  # a package of the name of the function beside it

    # transformers 5 has no TensorFlow classes, for one of which the evaluator still asks
    base = sys.modules["evaluate.evaluator.base"]
    base.transformers.TFPreTrainedModel = type("TFPreTrainedModel", (), {})  # type: ignore[attr-defined]
    evaluate.logging.disable_progress_bar()
    metric = _keeping_metric(data.features[columns.get("label_column", "label")])
    evaluate.evaluator(task).compute(model_or_pipeline=pipe, data=data, metric=metric, **columns)
    return list(metric.seen)


def _keeping_metric(reference: Any) -> Any:
    """Accuracy as an `evaluate.Metric`, which keeps the predictions that it was given in ``seen``."""
    import datasets
    import evaluate

    tags = datasets.List(datasets.Value("string"))
    value = tags if isinstance(reference, datasets.List) else datasets.Value("int64")

    class Accuracy(evaluate.Metric):
        def _info(self) -> Any:
            features = datasets.Features({"predictions": value, "references": value})
            return evaluate.MetricInfo(description="accuracy", citation="", features=features)

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            self.seen = predictions
            right = [one == other for one, other in zip(predictions, references, strict=True)]
            return {"accuracy": sum(right) / len(right)}

    return Accuracy()


def _windowed_answers(model: Any, tokenizer: Any, data: Any, size: int, folder: str) -> list[Any]:
    """Extractive question answering as transformers' examples do it.

    Windows are padded to the full length and predicted by a Trainer; the best spans are found in Python loops.
    """
    from transformers import Trainer, TrainingArguments, default_data_collator

    def windows(rows: Any) -> Any:
        encoding = tokenizer(
            [question.lstrip() for question in rows["question"]],
            rows["context"],
            truncation="only_second",
            max_length=WINDOW,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length",
        )
        owners = encoding.pop("overflow_to_sample_mapping")
        encoding["id"] = [rows["id"][owner] for owner in owners]
        encoding["offset_mapping"] = [
            [place if part == 1 else None for place, part in zip(places, encoding.sequence_ids(i), strict=True)]
            for i, places in enumerate(encoding["offset_mapping"])
        ]
        return encoding

    features = data.map(windows, batched=True, remove_columns=data.column_names)
    arguments = TrainingArguments(
        output_dir=f"{folder}-trainer",
        per_device_eval_batch_size=size,
        use_cpu=model.device.type == "cpu",
        disable_tqdm=True,
        report_to=[],
    )
    trainer = Trainer(model=model, args=arguments, data_collator=default_data_collator)
    starts, ends = trainer.predict(features.remove_columns(["id", "offset_mapping"])).predictions
    of_example: dict[str, list[int]] = {}
    for i, owner in enumerate(features["id"]):
        of_example.setdefault(owner, []).append(i)
    places = list(features["offset_mapping"])
    # without its padding, whose logits mean nothing and would stand among the likeliest of a model made by chance
    sizes = [sum(mask) for mask in features["attention_mask"]]
    return [
        _best_span(context, [(starts[i][: sizes[i]], ends[i][: sizes[i]], places[i]) for i in of_example[name]])
        for name, context in zip(data["id"], data["context"], strict=True)
    ]


def _best_span(context: str, windows: Sequence[tuple[Any, Any, Any]]) -> str:
    """The best of the spans of a context with the largest sums of a start and an end logit, over all its windows."""
    candidates = []
    for start_logits, end_logits, places in windows:
        likely_starts = np.argsort(start_logits)[: -BEST - 1 : -1].tolist()
        likely_ends = np.argsort(end_logits)[: -BEST - 1 : -1].tolist()
        for start in likely_starts:
            for end in likely_ends:
                if places[start] is None or places[end] is None or not 0 <= end - start < LONGEST:
                    continue
                span = (places[start][0], places[end][1])
                candidates.append({"span": span, "score": start_logits[start] + end_logits[end]})
    ranked = sorted(candidates, key=lambda one: one["score"], reverse=True)[:BEST]
    weights = np.exp([one["score"] - ranked[0]["score"] for one in ranked])
    for one, probability in zip(ranked, weights / weights.sum(), strict=True):
        begin, end = one["span"]
        one |= {"text": context[begin:end], "probability": probability}
    return ranked[0]["text"] if ranked else ""
