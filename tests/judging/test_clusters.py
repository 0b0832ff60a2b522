import numpy as np
from helpers.builders import SHARED, needs_shared
from hypothesis import given
from hypothesis import strategies as st

from verify.judging.clusters import clusters_of, numbered
from verify.tasks.data import Examples


@given(st.lists(st.text(max_size=2)))
def test_values_are_equal_exactly_where_their_numbers_are(values):
    numbers = numbered(values)
    assert [a == b for a in numbers for b in numbers] == [a == b for a in values for b in values]
    assert sorted(set(numbers.tolist())) == list(range(len(set(values))))


@needs_shared
def test_questions_about_one_context_are_one_cluster():
    from datasets import Dataset

    file = next((SHARED / "data" / "xquad").glob("**/*.parquet"))
    table = Dataset.from_parquet(str(file))
    columns = {"question": "question", "context": "context", "answers": "answers"}
    examples = Examples(table, "validation", columns, None, is_regression=False, notes=())
    clusters = clusters_of("question-answering", examples)
    contexts = table["context"][:]
    assert len(clusters) == len(contexts)
    assert clusters.max() + 1 == len(set(contexts)) < len(contexts) / 3
    rows = [5, 0, 7]
    assert np.array_equal(clusters_of("question-answering", examples, rows), numbered(contexts[row] for row in rows))
    assert clusters_of("image-classification", examples) is None
