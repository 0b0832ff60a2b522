"""The built-in tasks: what each file states, which names lead to it, and the real data where they lie beside us."""

import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from helpers.builders import SHARED
from helpers.claim_making import claim

from verify.engine.inputs.pictures import picture
from verify.metrics.names import METRICS
from verify.tasks.data import load_examples
from verify.tasks.kinds import KINDS
from verify.tasks.match import match_claim
from verify.tasks.registry import load_registry

TASKS = load_registry()

# Files that differ from the Hub's: a sample of 20,000, and three of six speakers. Their features are the same.
OTHER_ROWS = {("mnist", "train"), ("fsdd", "train"), ("fsdd", "test")}
FOLDERS = {"free-spoken-digit-dataset": "fsdd"}


def plain(name):
    return re.sub(r"[\W_]+", "", name.casefold())


def own_names(task):
    return {plain(name) for name in (task.name, *task.aliases)}


def data_names(task):
    """The data set as a card's metadata would name it: with its config, or with its organisation."""
    base = task.dataset.path.rsplit("/", 1)[-1]
    return {plain(f"{base}/{task.dataset.name}")} if task.dataset.name else {plain(base), plain(task.dataset.path)}


def scored_column(task):
    roles = [role for role in ("label", "tags", "target") if role in task.columns]
    return task.columns[roles[0]] if roles else None


def test_there_are_tasks_of_every_kind():
    assert len(TASKS) >= 80
    kinds = Counter(task.kind for task in TASKS.values())
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 5


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_file_states_all_that_a_run_needs(task):
    assert len(task.description) > 20
    assert set(task.metrics) <= set(METRICS)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", task.dataset.path), "the Hub's present ids have an organisation"
    assert task.dataset.split in task.rows
    assert task.dataset.split not in task.unlabelled
    assert set(task.unlabelled) <= set(task.rows)
    assert set(task.split_aliases.values()) <= set(task.rows)
    assert set(task.label_aliases) <= set(task.labels or ())
    assert task.dataset.revision in (None, "refs/convert/parquet")


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_names_of_a_tasks_classes_are_told_apart(task):
    """Two classes that share a name, letter case and punctuation aside, could be swapped unnoticed."""
    owners = {}
    for label in task.labels or ():
        for name in (label, *task.label_aliases.get(label, ())):
            assert owners.setdefault(plain(name), label) == label


def test_tags_come_in_pairs_that_start_and_go_on():
    for task in TASKS.values():
        if task.kind == "token-classification" and task.settings.get("scheme") != "none" and task.labels:
            assert task.labels[0] == "O"
            starts, rest = task.labels[1::2], task.labels[2::2]
            assert [tag.removeprefix("B-") for tag in starts] == [tag.removeprefix("I-") for tag in rest], task.name


def test_no_name_belongs_to_two_tasks():
    owners = {}
    for task in TASKS.values():
        for name in own_names(task):
            assert owners.setdefault(name, task.name) == task.name


def test_a_tasks_own_names_are_no_other_data_sets():
    by_data = defaultdict(set)
    for task in TASKS.values():
        for name in data_names(task):
            by_data[name].add(task.name)
    for task in TASKS.values():
        for name in own_names(task):
            assert by_data.get(name, {task.name}) >= {task.name}, (task.name, name)


def test_tasks_share_a_data_set_only_with_another_column_or_split_to_score():
    shared = defaultdict(list)
    for task in TASKS.values():
        shared[task.dataset.path, task.dataset.name].append(task)
    several = {key: tasks for key, tasks in shared.items() if len(tasks) > 1}
    assert {"facebook/anli", "CogComp/trec", "eriktks/conll2003", "wmt/wmt16"} <= {path for path, _ in several}
    for tasks in several.values():
        assert len({(scored_column(task), task.dataset.split) for task in tasks}) == len(tasks)


@pytest.mark.parametrize(
    ("dataset", "config", "expected"),
    [
        ("wikiann", "de", "wikiann_de"),
        ("unimelb-nlp/wikiann", "de", "wikiann_de"),
        ("xtreme", "PAN-X.de", "panx_de"),
        ("google/xtreme", "PAN-X.fr", "panx_fr"),
        ("wnut_17", "wnut_17", "wnut_17"),
        ("ncbi_disease", "ncbi_disease", "ncbi_disease"),
        ("conll2002", "es", "conll2002_es"),
        ("tweet_eval", "emotion", "tweet_eval_emotion"),
        ("cardiffnlp/tweet_eval", "sentiment", "tweet_eval_sentiment"),
        ("emotion", "split", "emotion"),
        ("clinc_oos", "plus", "clinc_oos_plus"),
        ("go_emotions", "simplified", "go_emotions"),
        ("go_emotions", None, "go_emotions"),
        ("xnli", "fr", "xnli_fr"),
        ("paws-x", "de", "pawsx_de"),
        ("anli_r2", None, "anli_r2"),
        ("anli", "r3", "anli_r3"),
        ("super_glue", "boolq", "boolq"),
        ("super_glue", "cb", "cb"),
        ("super_glue", "rte", "rte"),
        ("snli", "plain_text", "snli"),
        ("yelp_review_full", "yelp_review_full", "yelp_review_full"),
        ("yelp_polarity", "plain_text", "yelp_polarity"),
        ("dbpedia_14", "dbpedia_14", "dbpedia_14"),
        ("banking77", "default", "banking77"),
        ("AmazonScience/massive", "de-DE", "massive_de"),
        ("squad", "plain_text", "squad"),
        ("SQuAD v1.1", None, "squad"),
        ("squad_v2", "squad_v2", "squad_v2"),
        ("SQuAD 2.0", None, "squad_v2"),
        ("adversarial_qa", "adversarialQA", "adversarial_qa"),
        ("xquad", "xquad.de", "xquad_de"),
        ("cnn_dailymail", "3.0.0", "cnn_dailymail"),
        ("cnn_dailymail", None, "cnn_dailymail"),
        ("CNN/DailyMail", None, "cnn_dailymail"),
        ("xsum", "default", "xsum"),
        ("samsum", "samsum", "samsum"),
        ("wmt16", "en-ro", "wmt16_en_to_ro"),
        ("librispeech_asr", "clean", "librispeech_clean"),
        ("LibriSpeech (other)", None, "librispeech_other"),
        ("mozilla-foundation/common_voice_11_0", "tr", "common_voice_11_tr"),
        ("google/fleurs", "en_us", "fleurs_en"),
        ("superb", "ks", "superb_ks"),
        ("speech_commands", "v0.02", "speech_commands"),
        ("minds14", "en-US", "minds14_en_us"),
        ("imagenet-1k", None, "imagenet_1k"),
        ("ImageNet", None, "imagenet_1k"),
        ("cifar100", "cifar100", "cifar100"),
        ("food101", "default", "food101"),
        ("mteb/stsbenchmark-sts", "default", "stsbenchmark"),
        ("stsb", "en", None),
        ("glue", "stsb", "stsb"),
        ("mteb/sts16-sts", "default", "sts16"),
        ("mteb/sickr-sts", "default", "sick_r"),
        ("wikitext", "wikitext-2-raw-v1", "wikitext_2_raw"),
        ("WikiText-103", None, "wikitext_103"),
        ("lambada", None, "lambada"),
        ("universal_dependencies", "en_ewt", "ud_en_ewt"),
    ],
)
def test_the_names_that_cards_use_lead_to_their_task(dataset, config, expected):
    found = match_claim(claim(dataset=dataset, config=config), TASKS).task
    assert (found and found.name) == expected


@pytest.mark.parametrize(
    "dataset", ["wikiann", "tweet_eval", "xnli", "fleurs", "clinc_oos", "massive", "wmt16", "glue"]
)
def test_a_data_set_of_many_configs_needs_one(dataset):
    found = match_claim(claim(dataset=dataset), TASKS)
    assert found.task is None
    assert "which has several tasks" in found.reason


def shared_files():
    """Every split of a task that lies in ``../shared/data/<data set>/<config>/<split>.parquet``."""
    for task in TASKS.values():
        base = task.dataset.path.rsplit("/", 1)[-1]
        folder = SHARED / "data" / FOLDERS.get(base, base) / (task.dataset.name or "default")
        for split in task.rows:
            if (file := folder / f"{split}.parquet").is_file():
                yield pytest.param(task, split, file, id=f"{task.name}-{split}")


def load_shared(task, split, file):
    source = replace(task.dataset, path="parquet", name=None, revision=None, data_files={split: str(file)})
    return load_examples(replace(task, dataset=source), split)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")


def test_real_data_are_compared_where_there_are_any():
    if not SHARED.is_dir():
        pytest.skip("no real data beside the repository")
    compared = {param.values[0].name for param in shared_files()}
    assert {"sst2", "mnli", "ag_news", "banking77", "mnist", "fsdd", "broad_twitter_corpus", "ud_en_ewt"} <= compared
    assert {"xquad_de", "multi30k_en_to_de", "sick_r", "sts16", "wikitext_2", "lambada"} <= compared


@pytest.mark.parametrize(("task", "split", "file"), list(shared_files()))
def test_a_task_agrees_with_the_real_data(task, split, file):
    examples = load_shared(task, split, file)
    if (task.name, split) not in OTHER_ROWS:
        assert examples.notes == ()
        assert len(examples) == task.rows[split]
    if task.labels is not None:
        assert examples.labels == task.labels
    CHECKS[task.kind](task, examples)


def _classes(task, examples):
    references = examples.references()
    assert not examples.is_regression
    assert not examples.is_multi_label
    assert set(references) == set(range(len(examples.labels)))
    assert all(isinstance(text, str) for text in examples.column("text"))


def _tags(task, examples):
    words, tags = examples.column("tokens"), examples.column("tags")
    assert [len(sentence) for sentence in words] == [len(sentence) for sentence in tags]
    assert {tag for sentence in tags for tag in sentence} <= set(range(len(examples.labels)))
    assert all(isinstance(word, str) for sentence in words for word in sentence)


def _answers(task, examples):
    for context, answers in zip(examples.column("context"), examples.column("answers"), strict=True):
        assert len(answers["text"]) == len(answers["answer_start"]) > 0
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert context[start : start + len(text)] == text


def _texts(*roles):
    def check(task, examples):
        for role in roles:
            assert all(isinstance(text, str) for text in examples.column(role))

    return check


def _scores(task, examples):
    scores = examples.column("score")
    assert all(isinstance(score, float) for score in scores)
    assert 0 <= min(scores) < max(scores) <= 5
    _texts("text", "text_pair")(task, examples)


def _pictures(task, examples):
    assert set(examples.references()) == set(range(len(examples.labels)))
    assert {picture(value, None, "here").size for value in examples.column("image", range(20))} == {(28, 28)}


def _sounds(task, examples):
    from datasets import Audio

    assert set(examples.references()) == set(range(len(examples.labels)))
    assert isinstance(examples.table.features[task.columns["audio"]], Audio)


CHECKS = {
    "sequence-classification": _classes,
    "token-classification": _tags,
    "question-answering": _answers,
    "translation": _texts("source", "target"),
    "sentence-similarity": _scores,
    "perplexity": _texts("text"),
    "image-classification": _pictures,
    "audio-classification": _sounds,
}


def test_the_other_direction_reads_the_other_column(tmp_path):
    """The two tasks on one language pair are mirror images, and a dotted column is a part of a nested one."""
    from helpers.builders import write_parquet

    file = write_parquet(tmp_path / "test.parquet", {"translation": [{"ro": "casa", "en": "house"}]})
    there, back = (
        load_shared(replace(TASKS[name], rows={}), "test", file) for name in ("wmt16_en_to_ro", "wmt16_ro_to_en")
    )
    assert (there.column("source"), there.column("target")) == (["house"], ["casa"])
    assert (back.column("source"), back.column("target")) == (["casa"], ["house"])
