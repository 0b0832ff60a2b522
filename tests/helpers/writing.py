"""How tests run the engine on models that write, and what a plain loop of transformers writes beside it."""

from typing import Any

import numpy as np
from engine.driving import examples_of, job_for
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from verify.engine.job import Prepared
from verify.engine.kinds.sequence_to_sequence import prepare

SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3}
SUMMARIZATION = {"text": "document", "summary": "summary"}
TRANSLATION = {"source": "source", "target": "target"}
NEAR_TIE = 1e-4


def prepared(task: Any, folder: Any, data: dict[str, Any], **options: Any) -> Prepared:
    examples = examples_of(task, data)
    return prepare(job_for(task, folder, **options), examples, np.arange(len(examples)), "cpu")


def plain_loop(folder: Any, texts: list[str], words: Any = None, **settings: Any) -> list[str]:
    """What a script would do: tokenise, generate and decode one text at a time."""
    model, words = AutoModelForSeq2SeqLM.from_pretrained(folder), words or AutoTokenizer.from_pretrained(folder)
    written = []
    for text in texts:
        inputs = words(text, return_tensors="pt", truncation=settings.get("max_length") is not None, **settings)
        inputs.pop("token_type_ids", None)
        written += words.batch_decode(model.generate(**inputs, do_sample=False), skip_special_tokens=True)
    return written


def equal_but_for_near_ties(columns: dict[str, Any], expected: list[str]) -> None:
    differ = [i for i, text in enumerate(columns["texts"]) if text != expected[i]]
    assert all(columns["row_margins"][i] < NEAR_TIE for i in differ), [
        (columns["texts"][i], expected[i]) for i in differ
    ]
    assert len(differ) <= len(expected) // 20
