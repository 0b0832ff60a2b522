"""Windows against the loop of the transformers documentation, and counts of words and bytes against plain Python."""

import numpy as np
import pytest
from helpers.builders import sentences, tokenizer
from helpers.language_models import byte_pairs
from hypothesis import given
from hypothesis import strategies as st

from verify.engine.inputs.windows import Window, last_window, sliding, tokenise
from verify.errors import EngineError

sizes = st.tuples(st.integers(0, 60), st.integers(2, 20)).flatmap(
    lambda drawn: st.tuples(st.just(drawn[0]), st.just(drawn[1]), st.integers(1, drawn[1]))
)


def scored_by_the_documentation(length, context, stride):
    """For each scored token the first token that its window holds, by the rule of the documentation on perplexity:
    labels of tokens seen before are ignored, and shifting the labels drops the first one of each window.
    """
    scored, before = {}, 0
    for begin in range(0, length, stride):
        end = min(begin + context, length)
        labels = list(range(begin, end))
        new = labels[-(end - before) :] if end > before else []
        scored |= {token: begin for token in new if token in labels[1:]}
        before = end
        if end == length:
            break
    return scored


@given(sizes)
def test_causal_windows_are_those_of_the_documentation(drawn):
    windows = sliding(*drawn)
    found = {token: window.begin for window in windows for token in range(window.first, window.end)}
    assert found == scored_by_the_documentation(*drawn)
    assert len(found) == sum(window.end - window.first for window in windows)
    assert all(window.end - window.begin <= drawn[1] for window in windows)


@given(sizes)
def test_windows_that_look_both_ways_score_every_token_once(drawn):
    length, context, stride = drawn
    tokens = [token for window in sliding(*drawn, before=0) for token in range(window.first, window.end)]
    assert tokens == list(range(length))
    assert all(
        window.begin <= window.first < window.end <= window.begin + context for window in sliding(*drawn, before=0)
    )
    assert stride <= context


@given(st.integers(2, 60), st.integers(2, 20))
def test_a_stride_of_one_less_than_the_context_leaves_out_the_first_token_alone(length, context):
    tokens = [token for window in sliding(length, context, context - 1) for token in range(window.first, window.end)]
    assert tokens == list(range(1, length))


def test_a_prefix_is_read_and_not_scored():
    assert sliding(10, 6, 5, prefix=2) == [Window(0, 2, 6), Window(5, 6, 10)]
    assert sliding(2, 6, 5, prefix=2) == []


def test_the_last_tokens_keep_what_fits_before_them():
    assert last_window(10, 20, 3) == Window(0, 7, 10)
    assert last_window(10, 4, 3) == Window(6, 7, 10)
    assert last_window(10, 3, 5) == Window(7, 8, 10)
    assert last_window(10, 4, 3).moved(100) == Window(106, 107, 110)


WORDS = tokenizer(sentences(30))
PAIRS = byte_pairs(sentences(30))
BEGUN = byte_pairs(sentences(30), begin="<s>", end="</s>")


@given(st.lists(st.text(), max_size=4), st.booleans())
def test_words_and_bytes_are_all_counted_once(texts, with_prefix):
    for words in (PAIRS, BEGUN):
        tokens = tokenise(words, texts, with_prefix=with_prefix)
        for place, text in enumerate(texts):
            begin, end = tokens.starts[place], tokens.starts[place + 1]
            assert tokens.words[end] - tokens.words[begin] == len(text.split())
            assert tokens.bytes[end] - tokens.bytes[begin] == len(text.encode())
            own = words(text, add_special_tokens=False)["input_ids"]
            assert tokens.ids[begin:end].tolist() == [*(tokens.prefix.tolist() if with_prefix else []), *own]


def test_a_token_owns_the_characters_up_to_the_next_one():
    tokens = tokenise(WORDS, ["The film, a joy"], with_prefix=False)
    assert WORDS.convert_ids_to_tokens(tokens.ids.tolist())[0] == "the"
    assert np.diff(tokens.bytes)[0] == len("The ")
    assert np.diff(tokens.words)[:2].tolist() == [1, 1]
    assert tokens.chars[:2].tolist() == [0, 4]
    assert WORDS.convert_ids_to_tokens([*tokens.prefix, *tokens.suffix]) == ["[CLS]", "[SEP]"]


def test_text_that_looks_like_a_special_token_is_text():
    tokens = tokenise(BEGUN, ["a <s> joy"], with_prefix=True)
    assert tokens.ids.tolist().count(BEGUN.bos_token_id) == 2
    assert tokens.words[-1] == 3


def test_a_tokeniser_without_places_is_an_error():
    class Slow:
        is_fast = False

    with pytest.raises(EngineError, match="Slow does not say where in a text its tokens stand"):
        tokenise(Slow(), ["a"], with_prefix=False)
