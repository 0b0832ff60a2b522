"""Batches of windows against windows written out one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from verify.engine.inputs.windows import Tokenised
from verify.engine.kinds.likelihood_units import CausalUnits, MaskedUnits, Units, in_chunks

PAD, MASK = 0, 99


@st.composite
def windows(draw):
    """Up to five windows over 40 tokens, each with something to score that is not its first token."""
    rows = []
    for owner in range(draw(st.integers(0, 5))):
        begin = draw(st.integers(0, 30))
        end = draw(st.integers(begin + 2, 40))
        first = draw(st.integers(begin + 1, end - 1))
        rows.append((owner, begin, end, first, end))
    return Units(*np.array(rows, dtype=np.int64).reshape(-1, 5).T)


IDS = np.arange(100, 140)
EMPTY = np.empty(0, dtype=np.int64)
TOKENS = Tokenised(IDS, np.array([0, 40]), IDS, IDS, IDS, prefix=np.array([1]), suffix=np.array([2, 3]))


@given(windows())
def test_a_causal_batch_reads_all_but_the_last_token_and_predicts_what_is_scored(units):
    work = CausalUnits(units, IDS, PAD)
    batch = work.collate(list(range(len(units.owner))))
    place = 0
    for row in range(len(units.owner)):
        begin, first, last = units.begin[row], units.first[row], units.last[row]
        read = batch["input_ids"][row].tolist()
        assert read == [*IDS[begin : last - 1], *[PAD] * (len(read) - (last - 1 - begin))]
        assert work.lengths[row] == last - 1 - begin
        for target in range(first, last):
            assert batch["rows"][place] == row
            assert batch["columns"][place] == target - 1 - begin
            assert batch["targets"][place] == IDS[target]
            place += 1
    assert place == len(batch["targets"]) == batch["scored"].sum()


@given(windows(), st.integers(0, 3))
def test_a_masked_batch_has_a_copy_for_each_scored_token(units, special):
    tokens = TOKENS if special else Tokenised(IDS, np.array([0, 40]), IDS, IDS, IDS, EMPTY, EMPTY)
    work = MaskedUnits(units, tokens, PAD, MASK)
    batch = work.collate(list(range(len(units.owner))))
    copy = 0
    for row in range(len(units.owner)):
        own = [*tokens.prefix, *IDS[units.begin[row] : units.end[row]], *tokens.suffix]
        assert work.lengths[row] == len(own) * (units.last[row] - units.first[row])
        for target in range(units.first[row], units.last[row]):
            column = len(tokens.prefix) + target - units.begin[row]
            ids, seen = batch["input_ids"][copy], batch["attention_mask"][copy].tolist()
            assert seen == [1] * len(own) + [0] * (len(ids) - len(own))
            assert ids[: len(own)].tolist() == [*own[:column], MASK, *own[column + 1 :]]
            assert (int(batch["rows"][copy]), int(batch["columns"][copy])) == (copy, column)
            assert batch["targets"][copy] == IDS[target]
            copy += 1
    assert copy == len(batch["input_ids"]) == batch["scored"].sum()


@given(windows(), st.integers(0, 2000))
def test_chunks_score_each_token_once_and_see_the_whole_window(units, special):
    chunks = in_chunks(units, special)
    found = [
        (chunks.owner[i], chunks.begin[i], chunks.end[i], token)
        for i in range(len(chunks.owner))
        for token in range(chunks.first[i], chunks.last[i])
    ]
    assert found == [
        (units.owner[i], units.begin[i], units.end[i], token)
        for i in range(len(units.owner))
        for token in range(units.first[i], units.last[i])
    ]
    width = chunks.end - chunks.begin + special
    assert ((chunks.scored * width <= 2048) | (chunks.scored == 1)).all()
    assert (chunks.scored > 0).all()
