import textwrap

import pytest

from verify.claims.extract import read_claims
from verify.types import Source, Unit


def numbers(card, model="org/model"):
    claims = read_claims({"README.md": textwrap.dedent(card)}, model).claims
    return [(claim.metric, claim.literal, claim.dataset, claim.split) for claim in claims]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "This model achieves an F1 score of 92.15 on the test split of the FUNSD dataset.",
            [("f1", "92.15", "FUNSD", "test")],
        ),
        (
            "It has a top-1 accuracy of 70.6 and a top-5 accuracy of 92.6 on the test set of Something-Something-v2.",
            [
                ("accuracy", "70.6", "Something-Something-v2", "test"),
                ("top5_accuracy", "92.6", "Something-Something-v2", "test"),
            ],
        ),
        (
            "Our model obtains 85.3 F1 and 79.1 EM on SQuAD v1.1 dev.",
            [("f1", "85.3", "SQuAD v1.1", "validation"), ("exact_match", "79.1", "SQuAD v1.1", "validation")],
        ),
        (
            "Precision, recall and F1 were 0.92, 0.90 and 0.91 respectively.",
            [("precision", "0.92", None, None), ("recall", "0.90", None, None), ("f1", "0.91", None, None)],
        ),
        (
            "It reaches an accuracy of 91.3 on the dev set (for comparison, bert-base reaches an accuracy of 92.7).",
            [("accuracy", "91.3", None, "validation")],
        ),
        ("Final perplexity reached was 49.56, train loss: 3.336", [("perplexity", "49.56", None, None)]),
        ("This model achieves an AP (average precision) of **43.5** on COCO.", [("map", "43.5", "COCO", None)]),
    ],
)
def test_sentences(sentence, expected):
    assert numbers(f"## Evaluation\n\n{sentence}\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "It outperforms the baseline by 3.2% accuracy.",
        "BERT-base reaches 92.3% accuracy.",
        "An improvement of 7.8 BLEU over the original.",
        "The learning rate was 2e-05, and we used a threshold of 0.5.",
        "It was trained for 3 epochs on 120,000 tweets, 80% for training and 20% for testing.",
        "Accuracy is over 60%.",
        "We use SQuAD 2.0 and GPT-3.5 with 7.5 GB of memory; the loss function is described in [2].",
    ],
)
def test_sentences_that_claim_nothing(text):
    assert numbers(f"## Notes\n\n{text}\n") == []


def test_a_heading_names_the_metric():
    assert numbers("### Accuracy:\nWe reach 83.82% for validation dataset, and 84.42% for test dataset.\n") == [
        ("accuracy", "83.82", None, "validation"),
        ("accuracy", "84.42", None, "test"),
    ]
    assert numbers("### Perplexity\nScore: 17.54\n") == [("perplexity", "17.54", None, None)]


def test_lines_of_label_and_number():
    assert numbers("""\
        ## Performance
        - Accuracy on the test set: 0.8932
        - Test F1 (macro): 0.88
        - Validation accuracy = 91.2%
        - Training accuracy: 0.99
        - Inference time: 23 ms
        - **Test Result(wer)**: 19.30 %
        """) == [
        ("accuracy", "0.8932", None, "test"),
        ("f1_macro", "0.88", None, "test"),
        ("accuracy", "91.2", None, "validation"),
        ("wer", "19.30", None, "test"),
    ]


def test_a_line_that_opens_a_group():
    claims = read_claims(
        {"README.md": "## Eval\nPrimary outcomes:\n\nPrecision: 92.22\n\nSecondary outcomes:\n\nPrecision: 91.43\n"},
        "m",
    ).claims
    assert [(claim.literal, claim.config) for claim in claims] == [
        ("92.22", "Primary outcomes"),
        ("91.43", "Secondary outcomes"),
    ]


def test_results_in_a_code_block_are_claims_and_settings_are_not():
    card = """\
        ## Performance
        Evaluated on the SQuAD 2.0 dev set with the official script.
        ```
        "exact": 78.4974,
        "f1": 81.7309
        ```
        ## Hyperparameters
        ```
        batch_size = 50
        learning_rate = 3e-5
        ```
        ```python
        pipe("x")  # [{'label': 'POS', 'score': 0.998}]
        print(accuracy) # 0.91
        ```
        """
    assert numbers(card) == [
        ("exact_match", "78.4974", "SQuAD 2.0", "validation"),
        ("f1", "81.7309", "SQuAD 2.0", "validation"),
    ]


def test_a_decimal_comma():
    (claim,) = read_claims({"README.md": "F1-Score: **94,36** (corrected CoNLL-03)\n"}, "m").claims
    assert (claim.literal, claim.value, claim.unit) == ("94,36", 94.36, Unit.PERCENT)
    assert claim.evidence[0].source is Source.PROSE
