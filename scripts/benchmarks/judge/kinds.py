"""The kind of task that predictions of each family are taken to be from, where they are made up."""

from __future__ import annotations

from collections.abc import Mapping

from verify.store.predictions import Family

KINDS_OF: Mapping[Family, str] = {
    Family.CLASSIFICATION: "sequence-classification",
    Family.REGRESSION: "sequence-classification",
    Family.MULTI_LABEL: "sequence-classification",
    Family.TAGGING: "token-classification",
    Family.ANSWERS: "question-answering",
    Family.SUMMARIES: "summarization",
    Family.TRANSLATIONS: "translation",
    Family.TRANSCRIPTS: "automatic-speech-recognition",
    Family.SIMILARITY: "sentence-similarity",
    Family.LIKELIHOOD: "perplexity",
}
