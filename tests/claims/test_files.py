from verify.claims.extract import read_claims
from verify.types import Source, Unit

ENTRIES = """\
- dataset: {id: cais/mmlu, task_id: mmlu}
  value: 61.20
  verifyToken: abc
  date: "2026-01-02"
- dataset: {id: some/unheard_of, task_id: x}
  value: 0.412
- dataset: {id: openai/gsm8k}
  value: not a number
- data:
    dataset: {id: openai/gsm8k}
    value: 0.71
"""


def test_eval_results_files():
    extraction = read_claims({".eval_results/mine.yaml": ENTRIES}, "m")
    mmlu, gsm8k = extraction.claims
    assert (mmlu.metric, mmlu.literal, mmlu.unit, mmlu.dataset) == ("accuracy", "61.20", Unit.PERCENT, "cais/mmlu")
    assert (mmlu.verify_token, mmlu.date) == ("abc", "2026-01-02")
    assert (mmlu.evidence[0].source, mmlu.evidence[0].file, mmlu.evidence[0].line) == (
        Source.EVAL_RESULTS,
        ".eval_results/mine.yaml",
        2,
    )
    assert (gsm8k.literal, gsm8k.unit) == ("0.71", Unit.FRACTION)
    (unknown,) = extraction.candidates
    assert (unknown.dataset, unknown.literal) == ("some/unheard_of", "0.412")


def test_results_files_of_the_trainer():
    text = (
        '{\n  "epoch": 3.0,\n  "eval_accuracy": 0.8774509803921569,\n  "eval_runtime": 1.2,\n'
        '  "train_loss": 0.1,\n  "test_f1": 0.9\n}\n'
    )
    claims = read_claims({"all_results.json": text, "train_results.json": text}, "m").claims
    assert [(claim.metric, claim.literal, claim.split) for claim in claims] == [
        ("accuracy", "0.8774509803921569", None),
        ("f1", "0.9", "test"),
    ]
    assert claims[0].evidence[0].line == 3


def test_a_results_file_and_the_card_are_one_claim():
    card = (
        "---\nmodel-index:\n- results:\n  - dataset: {type: glue, args: mrpc}\n"
        "    metrics: [{type: accuracy, value: 0.8775}]\n---\n"
    )
    (claim,) = read_claims(
        {"README.md": card, "eval_results.json": '{\n"eval_accuracy": 0.8774509803921569\n}'}, "m"
    ).claims
    assert claim.literal == "0.8774509803921569"
    assert (claim.dataset, claim.config, len(claim.evidence)) == ("glue", "mrpc", 2)
