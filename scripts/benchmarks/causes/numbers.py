"""What other packages make of predictions: the numbers that the benchmark of causes prints on its cards.

Nothing of the package is used here. Scores are fractions, or raw numbers where the metric has no scale.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.causes.data import Data
from benchmarks.causes.models import collated, encoded, pixels, tagged
from numpy.typing import NDArray

Numbers = dict[str, float]

AVERAGES = ("macro", "weighted", "micro")


def classified(logits: NDArray[Any], reference: NDArray[Any], average: str, positive: int = 1) -> Numbers:
    """Accuracy, and F1, precision and recall by one average, under the names that leave it out."""
    return of_labels(logits.argmax(axis=1), reference, average, positive)


def of_labels(predicted: NDArray[Any], reference: NDArray[Any], average: str, positive: int = 1) -> Numbers:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    found = precision_recall_fscore_support(reference, predicted, average=average, pos_label=positive, zero_division=0)
    names = ("precision", "recall", "f1")
    return {
        "accuracy": float(accuracy_score(reference, predicted)),
        **{name: float(value) for name, value in zip(names, found, strict=False)},
    }


def label_sets(predicted: NDArray[Any], reference: NDArray[Any]) -> Numbers:
    """Exact matches, and F1 by every average."""
    from sklearn.metrics import accuracy_score, f1_score

    averages = {
        f"f1_{average}": float(f1_score(reference, predicted, average=average, zero_division=0))
        for average in (*AVERAGES, "samples")
    }
    return {"accuracy": float(accuracy_score(reference, predicted)), **averages}


def entities(
    tags: Sequence[Sequence[str]], reference: Sequence[Sequence[str]], average: str = "micro", *, strict: bool = False
) -> Numbers:
    """What seqeval says: by default it makes something of every tag, in its strict mode it reads IOB2."""
    from seqeval import metrics
    from seqeval.scheme import IOB2

    more = {"mode": "strict", "scheme": IOB2} if strict else {}
    actual, predicted = [list(row) for row in reference], [list(row) for row in tags]
    scorers = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}
    found = {
        name: float(score(actual, predicted, average=average, zero_division=0, **more))
        for name, score in scorers.items()
    }
    return {**found, "accuracy": float(metrics.accuracy_score(actual, predicted))}


def words(
    tags: Sequence[Sequence[str]], reference: Sequence[Sequence[str]], average: str, *, all_tags: bool
) -> Numbers:
    """What scikit-learn says of the flattened tags, with or without the tag of words outside of entities."""
    from sklearn.metrics import precision_recall_fscore_support

    predicted, actual = [tag for row in tags for tag in row], [tag for row in reference for tag in row]
    names = sorted({*predicted, *actual} - (set() if all_tags else {"O"}))
    found = precision_recall_fscore_support(actual, predicted, labels=names, average=average, zero_division=0)
    return {name: float(value) for name, value in zip(("precision", "recall", "f1"), found, strict=False)}


def answers(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Numbers:
    """SQuAD's two scores, each with the best of a question's references (Rajpurkar et al. 2016, section 6.1)."""
    pairs = list(zip(texts, references, strict=True))
    return {
        "exact_match": float(np.mean([max(_plain(one) == _plain(text) for one in wanted) for text, wanted in pairs])),
        "f1": float(np.mean([max(_shared(_plain(text), _plain(one)) for one in wanted) for text, wanted in pairs])),
    }


def _plain(text: str) -> list[str]:
    """Words in lower case, without punctuation and articles."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def _shared(said: list[str], wanted: list[str]) -> float:
    """F1 of the words that two texts share."""
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted)) if common else float(said == wanted)


ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def rouge(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, stemmer: bool, lines: bool, measure: str = "fmeasure"
) -> Numbers:
    """Means of rouge-score's values; rougeLsum takes lines as sentences, or puts each sentence on a line first."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=stemmer)
    split = str if lines else _on_lines
    found = [scorer.score(split(one[0]), split(text)) for text, one in zip(texts, references, strict=True)]
    return {name: float(np.mean([getattr(row[name], measure) for row in found])) for name in ROUGE}


def _on_lines(text: str) -> str:
    """A line break after every full stop, exclamation and question mark that white space follows, as scripts do."""
    return re.sub(r"(?<=[.!?])\s+", "\n", text)


def translated(texts: Sequence[str], references: Sequence[Sequence[str]], **settings: Any) -> Numbers:
    """SacreBLEU's scores as fractions: BLEU of the corpus, and the mean of sentences', chrF and chrF++."""
    from sacrebleu import corpus_bleu, corpus_chrf, sentence_bleu

    first = [[row[0] for row in references]]
    return {
        "bleu": corpus_bleu(list(texts), first, **settings).score / 100,
        "sentences": float(
            np.mean([sentence_bleu(text, row, **settings).score for text, row in zip(texts, references, strict=True)])
        )
        / 100,
        "chrf": corpus_chrf(list(texts), first).score / 100,
        "chrf++": corpus_chrf(list(texts), first, word_order=2).score / 100,
    }


def rates(texts: Sequence[str], spoken: Sequence[str]) -> Numbers:
    """Jiwer's word and character error rates of transcripts."""
    import jiwer

    said, wanted = list(texts), list(spoken)
    return {"wer": float(jiwer.wer(wanted, said)), "cer": float(jiwer.cer(wanted, said))}


def correlated(values: NDArray[Any], ratings: NDArray[Any]) -> Numbers:
    from scipy.stats import kendalltau, pearsonr, spearmanr

    return {
        "pearson": float(pearsonr(values, ratings).statistic),
        "spearman": float(spearmanr(values, ratings).statistic),
        "kendall": float(kendalltau(values, ratings).statistic),
    }


def errors(values: NDArray[Any], ratings: NDArray[Any]) -> Numbers:
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    return {"mse": float(mean_squared_error(ratings, values)), "mae": float(mean_absolute_error(ratings, values))}


def logits(
    state: Path, data: Data, part: str, *, longest: int | None = None, lower: bool = False, size: int = 64
) -> list[NDArray[np.float32]]:
    """What a saved model gives for each example of a part, in a plain loop over padded batches; without padding."""
    import torch
    import transformers

    auto = {
        "image-classification": transformers.AutoModelForImageClassification,
        "token-classification": transformers.AutoModelForTokenClassification,
    }.get(data.kind, transformers.AutoModelForSequenceClassification)
    model = auto.from_pretrained(state).eval()
    if data.kind == "image-classification":
        processor = transformers.AutoImageProcessor.from_pretrained(state)
        examples = [{"pixel_values": one} for one in pixels(data.column(part, "image"), processor)]
    else:
        made = tagged if data.kind == "token-classification" else encoded
        more = {} if longest is None else {"longest": longest}
        examples = made(data, part, transformers.AutoTokenizer.from_pretrained(state), lower=lower, **more)
        examples = [{name: row[name] for name in row if name != "labels"} for row in examples]
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in range(0, len(examples), size):
            batch = examples[start : start + size]
            given = model(**collated(batch)).logits.numpy()
            lengths = [len(one["input_ids"]) if given.ndim == 3 else None for one in batch]
            found += [row[:length] for row, length in zip(given, lengths, strict=True)]
    return found


def tags_of(state: Path, data: Data, part: str, *, lower: bool = False) -> tuple[list[list[str]], list[list[str]]]:
    """The tags of a saved model and the true ones, those of each word's first token."""
    import transformers

    examples = tagged(data, part, transformers.AutoTokenizer.from_pretrained(state), lower=lower)
    names = data.labels or ()
    said, true = [], []
    for example, given in zip(examples, logits(state, data, part, lower=lower), strict=True):
        kept = [place for place, label in enumerate(example["labels"]) if label >= 0]
        said.append([names[int(given[place].argmax())] for place in kept])
        true.append([names[example["labels"][place]] for place in kept])
    return said, true


def cosines(state: Path, data: Data, part: str, pooling: str, longest: int | None = None) -> NDArray[np.float64]:
    """Cosines of the pooled embeddings of two texts: the mean, the first token or the maximum."""
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(state).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(state)
    sides = []
    with torch.inference_mode():
        for role in ("text", "text_pair"):
            texts, pooled = data.column(part, role), []
            for start in range(0, len(texts), 64):
                batch = tokenizer(
                    texts[start : start + 64], padding=True, truncation=True, max_length=longest, return_tensors="pt"
                )
                hidden, mask = model(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
                pooled.append(
                    {
                        "cls": lambda hidden=hidden: hidden[:, 0],
                        "mean": lambda hidden=hidden, mask=mask: (hidden * mask).sum(1) / mask.sum(1),
                        "max": lambda hidden=hidden, mask=mask: hidden.masked_fill(mask == 0, -1e9).max(1).values,
                    }[pooling]()
                )
            sides.append(torch.cat(pooled).double())
    return np.asarray(torch.nn.functional.cosine_similarity(*sides))


def written(state: Path, data: Data, part: str, settings: Mapping[str, Any]) -> list[str]:
    """What a saved model writes for each text of a part, by transformers' ``generate``."""
    import torch
    import transformers

    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(state).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(state)
    given = data.column(part, "source" if data.kind == "translation" else "text")
    found: list[str] = []
    with torch.inference_mode():
        for start in range(0, len(given), 128):
            batch = tokenizer(given[start : start + 128], padding=True, truncation=True, return_tensors="pt")
            batch.pop("token_type_ids", None)
            made = model.generate(**batch, do_sample=False, **settings)
            found += tokenizer.batch_decode(made, skip_special_tokens=True)
    return found
