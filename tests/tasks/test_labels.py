import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import NotComparableError
from verify.tasks.labels import align_labels

NAMES = ["entailment", "not entailment", "World", "Sci/Tech", "very positive", "E.U. news", "Straße", "情感", "1,000"]
SPELLINGS = [str, str.upper, str.title, str.casefold]
SEPARATORS = [" ", "_", "-", "/", ""]


@given(st.data())
def test_any_order_case_and_separator_keeps_the_meaning_of_each_logit(data):
    labels = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    order = data.draw(st.permutations(range(len(labels))))

    def respelled(name):
        for separator in " /.,":
            name = name.replace(separator, data.draw(st.sampled_from(SEPARATORS)))
        return data.draw(st.sampled_from(SPELLINGS))(name)

    found = align_labels([respelled(labels[i]) for i in order], labels)
    assert found.label_of_logit == tuple(order)
    assert found.by_name
    assert ("orders them differently" in found.how) == (list(order) != sorted(order))


PLAIN = st.text("aA1._- ", min_size=1, max_size=3)


@given(
    st.lists(PLAIN, min_size=1, max_size=6, unique=True).flatmap(
        lambda names: st.tuples(st.just(names), st.permutations(names))
    )
)
def test_exactly_equal_names_are_never_mixed_up(both):
    """Also names that differ in case or punctuation alone, as - and _, or 1.0 and 10."""
    labels, reordered = both
    assert [labels[i] for i in align_labels(reordered, labels).label_of_logit] == reordered


def test_generic_names_fall_back_to_order_and_say_so():
    found = align_labels(["LABEL_0", "LABEL_1"], ["negative", "positive"])
    assert found.label_of_logit == (0, 1)
    assert not found.by_name
    assert "by order" in found.how
    assert "LABEL_0" in found.how
    assert "negative" in found.how


def test_data_without_names_take_the_models_order():
    found = align_labels(["b", "a", "c"], None)
    assert (found.label_of_logit, found.by_name) == ((0, 1, 2), False)
    assert "order" in found.how


def test_aliases_bridge_two_vocabularies_and_never_beat_a_real_name():
    aliases = {"neg": ["negative", "pos"], "pos": ["positive"]}
    assert align_labels(["POSITIVE", "NEGATIVE"], ["neg", "pos"], aliases).label_of_logit == (1, 0)
    assert align_labels(["pos", "neg"], ["neg", "pos"], aliases).label_of_logit == (1, 0)


def test_a_model_with_more_classes_keeps_the_ones_that_occur():
    found = align_labels(["negative", "neutral", "positive"], ["negative", "positive"])
    assert found.label_of_logit == (0, -1, 1)
    assert found.by_name
    assert "do not occur in the data" in found.how


def test_the_last_class_is_found_by_elimination():
    found = align_labels(["good", "negative"], ["negative", "positive"])
    assert found.label_of_logit == (1, 0)
    assert "elimination" in found.how


def test_some_names_in_the_same_order_leave_the_order():
    found = align_labels(["world", "LABEL_1", "LABEL_2"], ["World", "Sports", "Business"])
    assert (found.label_of_logit, found.by_name) == ((0, 1, 2), False)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (["entailment", "neutral", "contradiction"], ["entailment", "not_entailment"]),
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["negative", "positive"]),
        (["negative"], ["negative", "positive"]),
        (["sports", "LABEL_1", "LABEL_2"], ["World", "Sports", "Business"]),
        (["positive", "positive", "x"], ["positive", "negative", "neutral"]),
    ],
)
def test_what_neither_names_nor_order_can_settle_is_refused_with_a_remedy(model, data):
    with pytest.raises(NotComparableError, match="label_aliases") as caught:
        align_labels(model, data)
    assert model[0] in str(caught.value)
    assert data[0] in str(caught.value)


def test_long_lists_are_cut_in_the_message():
    with pytest.raises(NotComparableError) as caught:
        align_labels([f"class {i}" for i in range(1000)], ["a", "b"])
    assert "1000 classes" in str(caught.value)
    assert len(str(caught.value)) < 500
