"""A summariser for the engine's benchmark whose weights are set by hand, so that its summaries have realistic lengths.

A random model repeats itself to the end or stops at once. This one writes the words of its summaries in a fixed order
and ends with the word that its text's first token, a marker, stands for: the rest of a text is noise. All other weights
are small random numbers, so every layer computes what it would compute in a trained model.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

PAD, END, UNKNOWN = 0, 1, 2
FIRST_WORD, WORDS = 4, 63
FIRST_MARKER, FIRST_NOISE = FIRST_WORD + WORDS, FIRST_WORD + 2 * WORDS
VOCABULARY, HIDDEN, LAYERS = 8000, 256, 4

IS_WORD, FOUND, IS_END = 0, 1, 2
"""Places of a hidden state: of a word of the summary or its start, of the marker's word found, of a text's end."""

CODE = slice(3, 3 + WORDS)
"""The places that tell which word it is. A marker has the code of its word."""

NOISE = slice(3 + WORDS, HIDDEN)


def documents(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts and their summaries of 10 to 60 words, log-normal; a text is about five times as long, up to 400 words."""
    chance = random.Random(seed)
    texts, summaries = [], []
    for _ in range(count):
        length = min(60, max(10, round(chance.lognormvariate(3.1, 0.5))))
        rest = min(400, max(8, round(length * chance.lognormvariate(1.6, 0.4))))
        noise = [chance.randrange(FIRST_NOISE, VOCABULARY) for _ in range(rest)]
        texts.append(_spelt([FIRST_MARKER + length - 1, *noise]))
        summaries.append(_spelt(range(FIRST_WORD, FIRST_WORD + length)))
    return texts, summaries


def _spelt(tokens: Any) -> str:
    return " ".join(f"w{token}" for token in tokens)


def save_summariser(folder: Path) -> None:
    """Make the model and its tokeniser, and save them in the folder."""
    _tokenizer().save_pretrained(folder)
    _model().save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "</s>", "<unk>"]
    names = {name: i for i, name in enumerate([*special, *(f"w{i}" for i in range(len(special), VOCABULARY))])}
    core = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _model() -> Any:
    import torch
    from torch.nn.functional import normalize
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(4)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY,
            d_model=HIDDEN,
            d_kv=64,
            d_ff=4 * HIDDEN,
            num_layers=LAYERS,
            num_heads=HIDDEN // 64,
            tie_word_embeddings=False,
            pad_token_id=PAD,
            eos_token_id=END,
            decoder_start_token_id=PAD,
        )
    ).eval()
    for name, weight in model.named_parameters():
        if "layer_norm" not in name:
            writes = name.endswith((".o.weight", ".wo.weight"))  # into the hidden states, which must stay readable
            torch.nn.init.normal_(weight, std=0.002 if writes else 0.02)

    codes = normalize(torch.randn(WORDS + 1, WORDS), dim=1)  # the last one is the start of every summary
    words = slice(FIRST_WORD, FIRST_WORD + WORDS)
    table = torch.zeros(VOCABULARY, HIDDEN)
    table[FIRST_NOISE:, NOISE] = 4 * normalize(torch.randn(VOCABULARY - FIRST_NOISE, HIDDEN - 3 - WORDS), dim=1)
    table[END, IS_END] = 4
    table[words, IS_WORD], table[words, CODE] = 1, 4 * codes[:-1]
    table[PAD, IS_WORD], table[PAD, CODE] = 1, 4 * codes[-1]
    markers = slice(FIRST_MARKER, FIRST_MARKER + WORDS)
    table[markers, FOUND], table[markers, CODE] = 4, 4 * codes[:-1]
    model.shared.weight.data = table
    for stack in (model.encoder, model.decoder):
        stack.embed_tokens.weight = model.shared.weight

    # The first head of the first cross-attention looks for the present word's marker, and rests on the text's end.
    attention = model.decoder.block[0].layer[1].EncDecAttention
    query, key, value, out = (getattr(attention, name).weight.data for name in "qkvo")
    query[:64], key[:64], value[:64], out[:, :64] = 0, 0, 0, 0
    query[:WORDS, CODE] = key[:WORDS, CODE] = 0.5 * torch.eye(WORDS)
    query[WORDS, IS_WORD], key[WORDS, IS_END] = 0.7, 0.7
    value[0, FOUND], out[FOUND, 0] = 1, 0.8

    head = 0.02 * torch.randn(VOCABULARY, HIDDEN)
    head[:, : NOISE.start] = 0
    head[FIRST_WORD, CODE], head[FIRST_WORD + 1 : words.stop, CODE] = 5 * codes[-1], 5 * codes[:-2]
    head[END, FOUND] = 10
    model.lm_head.weight = torch.nn.Parameter(head)
    model.generation_config.max_new_tokens = 70
    return model
