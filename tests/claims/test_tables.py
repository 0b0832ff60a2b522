import textwrap

import pytest

from verify.claims.extract import read_claims
from verify.types import Source, Unit


def read(card, model="org/model"):
    return read_claims({"README.md": textwrap.dedent(card)}, model)


def numbers(card, model="org/model"):
    return [(claim.metric, claim.literal, claim.dataset, claim.split) for claim in read(card, model).claims]


def test_metrics_in_the_header_and_data_sets_in_the_rows():
    assert numbers("""\
        ## Results
        | Dataset | Split | Accuracy | Macro F1 | #examples |
        |---|---|---|---|---|
        | IMDB | test | 93.2 | 93.1 | 25000 |
        | Yelp | dev | 95.1 | 95.0 | 3800 |
        """) == [
        ("accuracy", "93.2", "IMDB", "test"),
        ("f1_macro", "93.1", "IMDB", "test"),
        ("accuracy", "95.1", "Yelp", "validation"),
        ("f1_macro", "95.0", "Yelp", "validation"),
    ]


def test_the_place_of_a_cell():
    (claim,) = read("# Results\n\n| F1 |\n|---|\n| **0.91** |\n").claims
    (place,) = claim.evidence
    assert (place.source, place.line, place.literal, place.quote) == (Source.TABLE, 5, "0.91", "**0.91**")


SIZES = """\
    # Foo-7B-Instruct
    ## Benchmarks
    | Benchmark | Foo-7B | Foo-7B-Instruct | Foo-72B-Instruct | Llama-2-7b-chat |
    |---|---|---|---|---|
    | MMLU | 60.1 | 61.2 | 80.3 | 45.1 |
    | GSM8K (8-shot, CoT) | 50.0 | 71.4 | 92.0 | 26.3 |
    | MT-Bench | - | 7.9 | 9.0 | 6.3 |
    """


@pytest.mark.parametrize(
    ("model", "literals"),
    [
        ("org/Foo-7B-Instruct", ["61.2", "71.4", "7.9"]),
        ("org/Foo-7B", ["60.1", "50.0"]),
        ("org/Foo-72B-Instruct", ["80.3", "92.0", "9.0"]),
    ],
)
def test_only_the_column_of_this_size_and_variant_is_claimed(model, literals):
    card = SIZES.replace("# Foo-7B-Instruct", "# Foo")
    assert [claim.literal for claim in read(card, model).claims] == literals


def test_settings_stand_with_the_number_and_ratings_are_never_scaled():
    by_name = {claim.dataset: claim for claim in read(SIZES, "org/Foo-7B-Instruct").claims}
    assert by_name["GSM8K"].settings == {"num_fewshot": 8, "chain_of_thought": True}
    assert by_name["MT-Bench"].unit is Unit.RAW
    assert by_name["MMLU"].unit is Unit.PERCENT


def test_an_undecidable_column_is_a_candidate():
    extraction = read(
        """\
        # Results
        | Task | foo-large-v2 | bert-base |
        |---|---|---|
        | MNLI | 84.1 | 80.0 |
        """,
        "org/foo-large",
    )
    assert extraction.claims == ()
    assert [(claim.literal, claim.subject) for claim in extraction.candidates] == [("84.1", "foo-large-v2")]


def test_a_size_in_a_column_of_its_own_is_part_of_the_name():
    card = """\
        |Model|Size|Math|MMLU|
        |---|---|---|---|
        |Llama 1|7B|6.95|35.1|
        |Llama 2|7B|14.6|45.3|
        |Llama 2|13B|28.7|54.8|
        """
    assert [claim.literal for claim in read(card, "meta-llama/Llama-2-7b-hf").claims] == ["14.6", "45.3"]


def test_greek_letters_and_ratings():
    mt_bench, alpaca = read(
        """\
        ## Performance
        | Model | Size | MT-Bench (score) | AlpacaEval (win rate %) |
        |---|---|---|---|
        | **Zephyr-7b-β** | 7B | **7.34** | **90.60** |
        | Claude 2 | - | 8.06 | 91.36 |
        """,
        "HuggingFaceH4/zephyr-7b-beta",
    ).claims
    assert (mt_bench.literal, mt_bench.unit, mt_bench.dataset) == ("7.34", Unit.RAW, "MT-Bench")
    assert (alpaca.metric, alpaca.literal, alpaca.unit) == ("win_rate", "90.60", Unit.PERCENT)


def test_ours_is_this_model_but_not_in_another_size():
    card = """\
        # Results
        | | Llama 7B | **OLMo 7B** (ours) |
        |---|---|---|
        | boolq | 73.1 | 73.4 |

        | | Pythia 1B | **OLMo 1B** (ours) |
        |---|---|---|
        | boolq | 61.8 | 60.7 |
        """
    assert [claim.literal for claim in read(card, "allenai/OLMo-7B").claims] == ["73.4"]


def test_a_linked_row_names_this_model():
    assert numbers(
        """\
        # Performance
        Validation split accuracy

        | Model | [WebGPT](https://huggingface.co/datasets/openai/webgpt_comparisons) |
        |---|---|
        | [electra-large](https://huggingface.co/o/reward-electra-large) | 59.30 |
        | [deberta-v3-large](https://huggingface.co/o/reward-deberta-v3-large) | 61.13 |
        """,
        "o/reward-deberta-v3-large",
    ) == [("accuracy", "61.13", "openai/webgpt_comparisons", "validation")]


def test_the_last_epoch_is_the_claim_only_if_there_is_nothing_else():
    curve = """\
        | Epoch | Training Loss | Validation Loss | Accuracy |
        |---|---|---|---|
        | 1 | 1.3 | 1.0 | 0.62 |
        | 2 | 0.8 | 0.9 | 0.66 |
        """
    assert numbers(curve) == [("loss", "0.9", None, "validation"), ("accuracy", "0.66", None, "validation")]
    listed = "It achieves the following results on the evaluation set:\n- Accuracy: 0.66\n\n" + textwrap.dedent(curve)
    assert [claim[:2] for claim in numbers(listed)] == [("accuracy", "0.66")]


def test_the_best_epoch_is_reported_as_a_finding():
    extraction = read_claims(
        {
            "README.md": "It achieves the following results on the evaluation set:\n- Accuracy: 0.70\n\n"
            "| Epoch | Validation Loss | Accuracy |\n|---|---|---|\n| 1 | 0.5 | 0.70 |\n| 2 | 0.6 | 0.68 |\n"
        },
        "m",
    )
    assert [finding.kind for finding in extraction.findings] == ["best-epoch"]


def test_the_table_of_epochs_is_kept_by_metric_with_percentages_as_fractions():
    curve = (
        "| Epoch | Training Loss | Validation Loss | Accuracy | F1 |\n|---|---|---|---|---|\n"
        "| 1 | 1.3 | 1.05 | 62.5 | 0.61 |\n| 2 | 0.8 | 0.94 | 66.0 | 0.65 |\n"
    )
    epochs = read_claims({"README.md": curve}, "m").epochs
    assert epochs == {"loss": (1.05, 0.94), "accuracy": (0.625, 0.66), "f1": (0.61, 0.65)}
    assert read_claims({"README.md": "# m\n"}, "m").epochs == {}


def test_a_classification_report_gives_its_averages():
    report = """\
        ## Results
        ```
                      precision    recall  f1-score   support

                 cat     0.9661    0.9037    0.9338      1734
                 dog     0.9484    0.9608    0.9545      1071

            accuracy                         0.8617      2805
           macro avg     0.8162    0.8273    0.8178      2805
        weighted avg     0.8639    0.8617    0.8613      2805
        ```
        """
    assert [claim[:2] for claim in numbers(report)] == [
        ("accuracy", "0.8617"),
        ("precision_macro", "0.8162"),
        ("recall_macro", "0.8273"),
        ("f1_macro", "0.8178"),
        ("precision_weighted", "0.8639"),
        ("recall_weighted", "0.8617"),
        ("f1_weighted", "0.8613"),
    ]


def test_classes_are_claims_only_without_an_average():
    table = """\
        ## Results
        | label | precision | recall | f1 |
        |---|---|---|---|
        | PER | 0.93 | 0.95 | 0.94 |
        | ORG | 0.80 | 0.82 | 0.81 |
        """
    claims = read(table).claims
    assert [claim.settings["class"] for claim in claims] == ["PER"] * 3 + ["ORG"] * 3
    assert numbers(textwrap.dedent(table) + "| overall | 0.88 | 0.89 | 0.885 |\n")[0][:2] == ("precision", "0.88")
    assert len(numbers(textwrap.dedent(table) + "| overall | 0.88 | 0.89 | 0.885 |\n")) == 3


def test_two_numbers_in_a_cell():
    card = """\
        ## Results
        | Dataset | Metric | Ours |
        |---|---|---|
        | SQuAD v1.1 | EM/F1 | **90.2**/**95.4** |
        """
    assert [claim[:2] for claim in numbers(card)] == [("exact_match", "90.2"), ("f1", "95.4")]


def test_mnli_pairs_are_matched_and_mismatched():
    first, second = read("Glue test results:\n\n| Task | MNLI-(m/mm) |\n|---|---|\n| | 84.6/83.4 |\n").claims
    assert (first.literal, first.config, second.literal, second.config) == ("84.6", "matched", "83.4", "mismatched")
    assert first.split == "test"


def test_a_harness_table():
    assert numbers(
        """\
        # my-llama
        |    Task     |Version| Metric |Value |   |Stderr|
        |-------------|------:|--------|-----:|---|-----:|
        |arc_challenge|      0|acc     |0.3532|±  |0.0140|
        |             |       |acc_norm|0.3754|±  |0.0141|
        |lambada_openai|     0|ppl     |5.12  |±  |0.11  |
        """,
        "org/my-llama",
    ) == [
        ("accuracy", "0.3532", "arc_challenge", None),
        ("acc_norm", "0.3754", "arc_challenge", None),
        ("perplexity", "5.12", "lambada_openai", None),
    ]


def test_html_tables_with_merged_and_unclosed_cells():
    card = """\
        # Evaluation
        <table>
        <tr><td>Benchmark<td>GPT-3.5<td>Mini-4B
        <tr><td colspan=3>English
        <tr><td>MMLU<td>69.2<td>67.2
        <tr><td>MT-Bench<td>8.17<td>8.41
        </table>
        """
    assert [claim[1:3] for claim in numbers(card, "org/Mini-4B")] == [("67.2", "MMLU"), ("8.41", "MT-Bench")]


def test_precisions_are_other_models_unless_the_name_says_so():
    card = """\
        # INT8 model
        ### Test result
        |   |INT8|FP32|
        |---|---|---|
        | **Accuracy (eval-f1)** |0.8997|0.9042|
        | **Model size (MB)**  |120|418|
        """
    assert numbers(card, "org/bert-mrpc-int8-static") == [("f1", "0.8997", None, "test")]


def test_an_average_over_benchmarks_is_a_candidate():
    extraction = read("## Results\n| Benchmark | Score |\n|---|---|\n| MMLU | 61.1 |\n| Average | 60.2 |\n")
    assert [claim.literal for claim in extraction.claims] == ["61.1"]
    assert [claim.literal for claim in extraction.candidates] == ["60.2"]


@pytest.mark.parametrize(
    "card",
    [
        "## Hyperparameters\n| Name | Value |\n|---|---|\n| learning rate | 0.001 |\n| dropout | 0.1 |\n",
        "## Model\n| Parameters | Layers | Hidden size |\n|---|---|---|\n| 110 | 12 | 768 |\n",
        "## Training data\n| Language | Number of samples |\n|---|---|\n| English | 5,600,000 |\n",
        "## Speed\n| Device | Throughput (tokens/sec) | Latency |\n|---|---|---|\n| A100 | 71.8 | 2.4 |\n",
        "## Results\n| Model | Accuracy |\n|---|---|\n| BERT-base | 90.1 |\n| RoBERTa-large | 92.3 |\n",
        "## Results\n| | Baseline | Improvement |\n|---|---|---|\n| F1 | - | +12.3 |\n",
    ],
)
def test_tables_that_claim_nothing(card):
    assert read_claims({"README.md": card}, "org/mine").claims == ()


def test_a_word_error_rate_beside_others_is_a_percentage():
    claims = read("## WER\n| testset | WER |\n|---|---|\n| a-clean | 1.2 |\n| b-other | 14.9 |\n").claims
    assert {claim.unit for claim in claims} == {Unit.PERCENT}


def test_fifty_thousand_cells_end_soon():
    import time

    rows = "".join(
        f"|model-{row}|" + "|".join(f"{row % 90}.{column}" for column in range(49)) + "|\n" for row in range(1000)
    )
    card = "# Results\n|Model|" + "|".join(f"D{i}x" for i in range(49)) + "|\n" + "|---" * 50 + "|\n" + rows
    begun = time.perf_counter()
    assert len(read_claims({"README.md": card}, "model-5").claims) == 49
    assert time.perf_counter() - begun < 10
