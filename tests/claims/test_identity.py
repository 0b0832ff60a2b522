import pytest

from verify.claims.meaning.identity import Owner, identify, looks_like_model, owners, sizes


def judged(model, labels, **fields):
    return [
        str(owner)
        for owner in owners(
            labels, identify(model, fields.pop("names", ()), fields.pop("title", ""), fields.pop("text", ""))
        )
    ]


def test_sizes_are_read_as_numbers():
    assert sizes("Llama-2-7b") == ["7b"]
    assert sizes("OPT 1.3B") == ["1.3b"]
    assert sizes("bert-base") == []


def test_a_size_is_not_another_size():
    assert judged("org/qwen-7b", ["Qwen 7B", "Qwen 72B"]) == ["own", "other"]
    assert judged("google/gemma-7b", ["2B Params", "7B Params"]) == ["other", "own"]


def test_a_variant_is_not_the_base():
    assert judged("org/foo-7b", ["Foo-7B", "Foo-7B-Instruct"]) == ["own", "other"]
    assert judged("org/foo-7b-instruct", ["Foo-7B", "Foo-7B-Inst"]) == ["other", "own"]


def test_the_last_stage_of_training_is_the_model():
    labels = ["DeepSeek-V2 Chat (SFT)", "DeepSeek-V2 Chat (RL)", "LLaMA3 70B Instruct"]
    assert judged("x/deepseek-v2-chat", labels) == ["other", "own", "other"]


def test_the_code_of_a_card_says_the_full_name():
    text = 'AutoModel.from_pretrained("Voicelab/sbert-base-cased-pl")'
    labels = ["sbert-large-cased-pl", "sbert-base-cased-pl"]
    assert judged("voicelab-sbert-pl", labels, text=text) == ["other", "own"]


def test_several_siblings_and_no_own_are_undecided():
    assert set(judged("org/tiny", ["tiny-chat-v1", "tiny-chat-v2"])) == {"undecided"}


def test_links_decide():
    identity = identify("o/reward-deberta", (), "", "")
    targets = ["https://huggingface.co/o/reward-electra", "https://huggingface.co/o/reward-deberta"]
    assert owners(["electra", "deberta"], identity, targets) == [Owner.OTHER, Owner.OWN]


@pytest.mark.parametrize("label", ["BERT-base", "Llama 2 7B", "org/some-model", "GPT-4", "RoBERTa-wwm-ext", "ours"])
def test_names_that_read_as_models(label):
    assert looks_like_model(label)


@pytest.mark.parametrize("label", ["MMLU", "accuracy", "test", "English", "arc_challenge/acc", "F1"])
def test_names_that_do_not(label):
    assert not looks_like_model(label)
