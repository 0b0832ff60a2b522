import textwrap

from hypothesis import given
from hypothesis import strategies as st

from verify.claims.extract import read_claims
from verify.types import Source, Unit


def read(card):
    return read_claims({"README.md": textwrap.dedent(card)}, "org/model").claims


CURRENT = """\
    ---
    model-index:
    - name: mine
      results:
      - task: {type: text-classification, name: Text Classification}
        dataset:
          name: GLUE MRPC
          type: glue
          config: mrpc
          split: validation
          args: mrpc
        metrics:
        - name: Accuracy
          type: accuracy
          value: 0.8774509803921569
          verified: true
          verifyToken: abc.def
        - name: F1
          type: f1
          value: 0.910
    ---
    # mine
    """


def test_the_current_layout():
    accuracy, f1 = read(CURRENT)
    assert (accuracy.metric, accuracy.literal, accuracy.unit) == ("accuracy", "0.8774509803921569", Unit.FRACTION)
    assert (accuracy.dataset, accuracy.config, accuracy.split) == ("glue", "mrpc", "validation")
    assert accuracy.dataset_name == "GLUE MRPC"
    assert accuracy.task == "text-classification"
    assert accuracy.verified
    assert accuracy.verify_token == "abc.def"
    (place,) = accuracy.evidence
    assert (place.source, place.file, place.line, place.quote) == (
        Source.MODEL_INDEX,
        "README.md",
        15,
        "value: 0.8774509803921569",
    )
    assert (f1.literal, f1.interval.low, f1.interval.high) == ("0.910", 0.9095, 0.9105)
    assert not f1.verified


def test_older_args_stand_for_the_config():
    (claim,) = read("""\
        ---
        model-index:
        - results:
          - dataset: {name: GLUE, type: glue, args: sst2}
            metrics: [{type: accuracy, value: 0.91}]
        ---
        """)
    assert (claim.config, claim.split) == ("sst2", None)


def test_free_text_args_give_config_and_split():
    first, second = read("""\
        ---
        model-index:
        - results:
          - dataset: {type: common_voice, args: "config: it, split: test"}
            metrics: [{type: wer, value: 0.2}]
          - dataset: {type: flores_101, args: eng por devtest}
            metrics: [{type: bleu, value: 50.4}]
        ---
        """)
    assert (first.config, first.split) == ("it", "test")
    assert (second.config, second.split) == ("eng por", "test")


def test_the_name_wins_over_the_type():
    names = [
        claim.metric
        for claim in read("""\
        ---
        model-index:
        - results:
          - metrics:
            - {type: rouge, name: Rouge1, value: 40.1}
            - {type: f1, name: F1 Macro, value: 0.7}
            - {type: precision, name: "mAP@0.5", value: 0.92}
            - {type: accuracy, args: {average: macro}, name: "", value: 0.6}
            - {type: recall, args: {average: macro}, value: 0.5}
        ---
        """)
    ]
    assert names == ["rouge1", "f1_macro", "map@0.5", "accuracy", "recall_macro"]


def test_values_that_are_no_number_are_left_out():
    claims = read("""\
        ---
        model-index:
        - results:
          - metrics:
            - {type: accuracy, value: .nan}
            - {type: accuracy, value: true}
            - {type: accuracy, value: }
            - {type: accuracy, value: "72%"}
            - {type: f1, value: "0,912"}
            - {type: mean_reward, value: 665.50 +/- 272.96}
        ---
        """)
    assert [(claim.literal, claim.value, claim.unit) for claim in claims] == [
        ("72", 72.0, Unit.PERCENT),
        ("0,912", 0.912, Unit.FRACTION),
        ("665.50", 665.5, Unit.RAW),
    ]


def test_one_broken_entry_costs_only_itself():
    extraction = read_claims(
        {
            "README.md": textwrap.dedent("""\
                ---
                tags: [a
                model-index:
                - name: mine
                  results:
                  - task: {type: a}
                    metrics:
                    - type: accuracy
                      value: 0.91
                  - metrics:
                    - type: f1
                      value: "0.92
                  - dataset: {type: imdb}
                    metrics:
                    - type: recall
                      value: 0.93
                ---
                """)
        },
        "m",
    )
    assert {claim.metric for claim in extraction.claims} >= {"accuracy", "recall"}
    assert [finding.kind for finding in extraction.findings] == ["broken-metadata"]


def test_entries_without_data_set_or_with_a_mapping_for_a_list_are_read():
    assert [
        claim.metric
        for claim in read("""\
        ---
        model-index:
          mine:
            results:
              metrics: {type: accuracy, value: 1.0}
        ---
        """)
    ] == ["accuracy"]


def test_a_tab_is_no_obstacle_and_a_missing_closing_line_neither():
    (claim,) = read(
        '---\nwidget:\n- text: "a"\t \nmodel-index:\n- results:\n  - metrics:\n    - type: wer\n      value: 19.30%\n'
        "\n<!-- generated -->\n# Title\n"
    )
    assert (claim.literal, claim.unit, claim.evidence[0].line) == ("19.30", Unit.PERCENT, 8)


def test_deeply_nested_yaml_is_refused_and_does_no_harm():
    for text in ("[[" * 50_000, "- " * 50_000 + "a"):
        assert read_claims({"README.md": f"---\na: b\nmodel-index: {text}\n---\n{text}"}, "m").claims == ()


def test_aliases_do_not_multiply_claims():
    card = (
        "---\nx: &x {metrics: [{type: accuracy, value: 0.9}]}\nmodel-index:\n- results: [" + "*x, " * 500 + "*x]\n---\n"
    )
    assert len(read(card)) == 1


@given(st.lists(st.sampled_from(CURRENT.split("\n")), max_size=30), st.text(max_size=80))
def test_shuffled_front_matter_never_raises(lines, extra):
    card = "---\n" + "\n".join([*lines, extra])
    for claim in read_claims({"README.md": card}, "m").claims:
        for place in claim.evidence:
            normal = card.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            assert place.literal in "\n".join(normal[place.line - 1 : place.end_line])
