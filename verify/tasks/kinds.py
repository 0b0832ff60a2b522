"""The kinds of task: what each asks of a task file, and the settings that it understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from verify.types import Setting


@dataclass(frozen=True)
class SettingSpec:
    """One setting of a kind: its type, the values allowed (none named: any), and what holds where a task is silent.

    ``is_scoring`` marks one that changes how predictions are read or compared, and not the predictions;
    ``may_be_empty`` a text that may be "". ``added_later`` marks one that results stored before it know nothing of: it
    belongs to what identifies a result only where it differs from its default.
    """

    type: type[bool] | type[int] | type[float] | type[str]
    summary: str
    allowed: tuple[str, ...] = ()
    default: Setting = None
    is_scoring: bool = False
    may_be_empty: bool = False
    added_later: bool = False


@dataclass(frozen=True)
class Kind:
    """What a kind of task asks of its file: column roles, and the metrics measured when the file names none."""

    name: str
    summary: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    metrics: tuple[str, ...]
    settings: Mapping[str, SettingSpec] = field(default_factory=dict)


_MAX_INPUT = SettingSpec(int, "tokens of the input, the rest is cut; else as many as the model takes")
_LOWERCASE = SettingSpec(bool, "whether the input is put in lower case first", default=False, added_later=True)
_GENERATION: Mapping[str, SettingSpec] = {
    "prefix": SettingSpec(str, "text before every input; else that of the model's configuration", may_be_empty=True),
    "max_input_tokens": _MAX_INPUT,
    "max_new_tokens": SettingSpec(int, "the most tokens to generate; else as the model's configuration says"),
    "min_new_tokens": SettingSpec(int, "the fewest tokens to generate; else as the model's configuration says"),
    "num_beams": SettingSpec(int, "beams, 1 for greedy search; else as the model's configuration says"),
    "length_penalty": SettingSpec(float, "of beam search; else as the model's configuration says"),
    "no_repeat_ngram_size": SettingSpec(int, "n-grams that may occur once; else as the model's configuration says"),
}

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "sequence-classification",
            "a text, or a pair of texts, to one class, to several (a label column of lists), or to a number",
            ("text", "label"),
            ("text_pair",),
            ("accuracy",),
            {
                "threshold": SettingSpec(
                    float, "of a class's sigmoid, where there may be several classes", (), 0.5, is_scoring=True
                ),
                "truncation_side": SettingSpec(
                    str,
                    "where a text that is too long is cut; else as the tokeniser says",
                    ("right", "left"),
                    added_later=True,
                ),
                "lowercase_input": _LOWERCASE,
            },
        ),
        Kind(
            "token-classification",
            "a tag for every word: entities, parts of speech",
            ("tokens", "tags"),
            (),
            ("f1",),
            {
                "scheme": SettingSpec(
                    str,
                    "how tags mark entities; auto: read off the tags",
                    ("auto", "IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU", "none"),
                    "auto",
                ),
                "subword": SettingSpec(
                    str, "the part of a word whose logits give its tag", ("first", "last", "mean", "max"), "first"
                ),
                "lowercase_input": _LOWERCASE,
            },
        ),
        Kind(
            "question-answering",
            "a span of a context that answers a question, or no answer",
            ("question", "context", "answers"),
            (),
            ("exact_match", "f1"),
            {
                "max_input_tokens": SettingSpec(int, "tokens of a window, question included", default=384),
                "stride": SettingSpec(int, "tokens that neighbouring windows share", default=128),
                "max_answer_tokens": SettingSpec(int, "the longest answer", default=30),
                "n_best": SettingSpec(int, "candidates for start and end in each window", default=20),
                "no_answer": SettingSpec(
                    str,
                    'whether "no answer" is an answer; auto: where some reference has none',
                    ("auto", "yes", "no"),
                    "auto",
                ),
                "no_answer_threshold": SettingSpec(
                    float, 'how far "no answer" must score above the best span', default=0.0
                ),
                "lowercase_input": _LOWERCASE,
            },
        ),
        Kind(
            "summarization",
            "a text to a summary",
            ("text", "summary"),
            (),
            ("rouge1", "rouge2", "rougeL", "rougeLsum"),
            {
                **_GENERATION,
                "use_stemmer": SettingSpec(bool, "whether ROUGE compares stems", (), True, is_scoring=True),
                "sentences": SettingSpec(
                    str,
                    "how rougeLsum finds sentences: by a rule, or the text's own lines",
                    ("rule", "lines"),
                    "rule",
                    is_scoring=True,
                ),
            },
        ),
        Kind(
            "translation",
            "a text in one language to a text in another",
            ("source", "target"),
            (),
            ("bleu", "chrf"),
            {
                **_GENERATION,
                "source_language": SettingSpec(str, "the source language as the model's tokeniser names it"),
                "target_language": SettingSpec(str, "the target language as the model's tokeniser names it"),
                "tokenize": SettingSpec(
                    str, "sacreBLEU's tokeniser", ("13a", "intl", "zh", "char", "none"), "13a", is_scoring=True
                ),
                "lowercase": SettingSpec(bool, "whether BLEU ignores case", default=False, is_scoring=True),
            },
        ),
        Kind(
            "automatic-speech-recognition",
            "speech to text",
            ("audio", "text"),
            (),
            ("wer", "cer"),
            {
                "language": SettingSpec(str, "the language, for a multilingual model that must be told"),
                "normalizer": SettingSpec(
                    str,
                    "what is done to both texts before they are compared",
                    ("none", "lower", "no_punctuation", "whisper_basic", "whisper_english"),
                    "none",
                    is_scoring=True,
                ),
                "max_new_tokens": _GENERATION["max_new_tokens"],
                "num_beams": _GENERATION["num_beams"],
            },
        ),
        Kind(
            "image-classification",
            "an image to one class",
            ("image", "label"),
            (),
            ("accuracy",),
            {
                "interpolation": SettingSpec(
                    str,
                    "the filter that resizes; else as the checkpoint's processor says",
                    ("nearest", "bilinear", "bicubic"),
                    added_later=True,
                ),
                "resize": SettingSpec(
                    str,
                    "which edges get a given length: the shorter one, or both; else as the checkpoint's processor says",
                    ("shortest_edge", "exact"),
                    added_later=True,
                ),
                "crop_pct": SettingSpec(
                    float,
                    "the share of the resized edge that is kept, around the middle; else as the checkpoint's processor "
                    "says",
                    added_later=True,
                ),
            },
        ),
        Kind(
            "audio-classification",
            "a recording to one class",
            ("audio", "label"),
            (),
            ("accuracy",),
            {"max_seconds": SettingSpec(float, "of a recording, the rest is cut; else the whole is used")},
        ),
        Kind(
            "sentence-similarity",
            "how close in meaning two texts are, from their embeddings",
            ("text", "text_pair", "score"),
            (),
            ("spearman", "pearson"),
            {
                "pooling": SettingSpec(
                    str,
                    "tokens to one embedding; auto: as the repository's sentence-transformers files say, else the mean",
                    ("auto", "mean", "cls", "max", "mean_sqrt_len", "last"),
                    "auto",
                ),
                "normalize": SettingSpec(
                    str,
                    "whether embeddings get length 1; auto: as the repository's sentence-transformers files say",
                    ("auto", "yes", "no"),
                    "auto",
                ),
                "prefix": SettingSpec(str, "text before every input", may_be_empty=True),
                "max_input_tokens": _MAX_INPUT,
            },
        ),
        Kind(
            "perplexity",
            "how likely texts are under a language model, causal or masked",
            ("text",),
            (),
            ("perplexity",),
            {
                "objective": SettingSpec(
                    str,
                    "auto: as the checkpoint's architecture says",
                    ("auto", "causal", "masked"),
                    "auto",
                ),
                "join": SettingSpec(
                    str,
                    "what stands between the rows where they are read as one text (\\n for a line break); without it "
                    "each row is a text of its own",
                ),
                "context": SettingSpec(int, "tokens of a window; else as many as the model takes"),
                "stride": SettingSpec(int, "tokens by which the window moves; else the whole window"),
                "target": SettingSpec(str, "what is scored of each text", ("all", "last_word"), "all"),
            },
        ),
    )
}


def settings_of(kind: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Every setting of a kind: what the task gives, else the default."""
    return {name: given.get(name, spec.default) for name, spec in KINDS[kind].settings.items()}


def inference_settings(kind: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings that can change a prediction, but for those added later that have their default."""
    specs = KINDS[kind].settings
    return {
        name: value
        for name, value in settings_of(kind, given).items()
        if not specs[name].is_scoring and not (specs[name].added_later and value == specs[name].default)
    }


def scoring_settings(kind: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings that change only how predictions are scored."""
    specs = KINDS[kind].settings
    return {name: value for name, value in settings_of(kind, given).items() if specs[name].is_scoring}
