from verify.claims.extract import read_claims
from verify.types import Source, Unit

TRAINER = """\
---
tags:
- generated_from_trainer
model-index:
- name: mine
  results:
  - task: {name: Text Classification, type: text-classification}
    dataset: {name: imdb, type: imdb, config: plain_text, split: train, args: plain_text}
    metrics:
    - name: Accuracy
      type: accuracy
      value: 0.92896
---

This model is a fine-tuned version of [base](https://example.org/base) on the DATA dataset.
It achieves the following results on the evaluation set:
- Loss: 0.2873
- Accuracy: 0.9290
- Gen Len: 19.7

### Training hyperparameters
- learning_rate: 2e-05
- seed: 42
"""


def read(card):
    return read_claims({"README.md": card}, "org/mine").claims


def test_the_trainer_list_and_the_metadata_are_one_claim():
    accuracy, loss = read(TRAINER.replace("DATA", "imdb"))
    assert accuracy.literal == "0.92896"
    assert [(place.source, place.line, place.literal) for place in accuracy.evidence] == [
        (Source.MODEL_INDEX, 12, "0.92896"),
        (Source.EVAL_LIST, 18, "0.9290"),
    ]
    assert (accuracy.dataset, accuracy.config, accuracy.split) == ("imdb", "plain_text", "train")
    assert any("Trainer" in note for note in accuracy.notes)
    assert (loss.metric, loss.unit, loss.dataset, loss.split) == ("loss", Unit.RAW, "imdb", None)


def test_a_list_that_names_no_data_set_takes_the_only_one_of_the_metadata():
    loss = next(claim for claim in read(TRAINER.replace("the DATA", "an unknown")) if claim.metric == "loss")
    assert (loss.dataset, loss.config) == ("imdb", "plain_text")
    assert any("metadata" in note for note in loss.notes)


def test_a_list_about_other_data_keeps_its_own():
    loss = next(claim for claim in read(TRAINER.replace("DATA", "rotten_tomatoes")) if claim.metric == "loss")
    assert (loss.dataset, loss.config) == ("rotten_tomatoes", None)


def test_training_quantities_are_no_claims():
    card = TRAINER.replace("DATA", "imdb").replace(
        "- Loss", "- Train Loss: 0.1\n- Epoch: 3\n- eval_runtime: 100.7\n- eval_loss"
    )
    assert [claim.metric for claim in read(card)] == ["accuracy", "loss"]


def test_keras_prints_the_validation_loss():
    card = (
        "---\ntags: [generated_from_keras_callback]\n---\n"
        "This model is a fine-tuned version of [b](c) on an unknown dataset.\n"
        "It achieves the following results on the evaluation set:\n"
        "- Train Loss: 4.4181\n- Validation Loss: 4.2370\n- Epoch: 0\n"
    )
    (loss,) = read(card)
    assert (loss.metric, loss.literal, loss.split, loss.dataset) == ("loss", "4.2370", "validation", None)


def test_autotrain_reports_its_validation_data():
    card = (
        "---\ndatasets:\n- me/autotrain-data-trial\n---\n# Model Trained Using AutoTrain\n\n"
        "- CO2 Emissions (in grams): 0.0098\n\n## Validation Metrics\n\n- Loss: 0.082\n- Accuracy: 0.980\n"
    )
    loss, accuracy = read(card)
    assert (loss.unit, accuracy.unit) == (Unit.RAW, Unit.FRACTION)
    assert (accuracy.dataset, accuracy.split, accuracy.literal) == ("me/autotrain-data-trial", "validation", "0.980")


def test_an_accuracy_of_one_among_percentages_is_a_percentage():
    card = "It achieves the following results on the evaluation set:\n- Accuracy: 1.0\n- F1: 98.2\n"
    assert {claim.unit for claim in read(card)} == {Unit.PERCENT}


def test_an_empty_list_claims_nothing():
    assert read("It achieves the following results on the evaluation set:\n\n\n## Training\n\n- lr: 0.1\n") == ()
