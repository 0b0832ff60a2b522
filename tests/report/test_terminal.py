import io

import pytest
from helpers.claim_making import claim, measurement
from rich.console import Console

from verify.judging.compare import judge
from verify.report.terminal import show_verdicts, summary
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.types import Evidence, Score, Source, Unit, Verdict, VerdictKind

MATCH = Match(load_registry()["sst2"], "validation", notes=("the card does not name the split",))


def verdicts():
    scores = measurement({"accuracy": 0.91062, "loss": 0.3123}, notes=("one note for both",))
    return [
        judge(claim("91.1", unit=Unit.PERCENT, dataset="glue", config="sst2", split="validation"), MATCH, scores),
        judge(claim("0.25", "loss", Unit.RAW, dataset="glue", config="sst2"), MATCH, scores),
        Verdict(VerdictKind.UNDERSPECIFIED, claim("0.5", "f1"), "no split", "Nobody knows.", "Ask the author."),
    ]


def shown(found, width=140, **fields):
    stream = io.StringIO()
    show_verdicts(Console(file=stream, width=width, highlight=False), "org/model", found, **fields)
    return stream.getvalue()


def words(text):
    """The words of a table, whatever lines they were folded into."""
    return "".join(character for character in text if character not in "│┃ \n─━┏┓┗┛┳┻┡┩╇╈└┘┴├┤┼")


def test_a_row_shows_claim_place_measured_difference_and_verdict():
    text = shown(verdicts())
    heads = [name.strip() for name in text.splitlines()[2].split("┃")[2:-1]]
    assert heads == ["claim", "where", "measured", "difference", "verdict", "split run", "why"]
    row = next(line for line in text.splitlines() if "accuracy" in line)
    for cell in ("1", "91.1%", "README.md:7", "91.06%", "-0.04 pt", "reproduced", "100%"):
        assert cell in row
    assert "glue/sst2 validation" in text
    loss = next(line for line in text.splitlines() if "loss 0.25" in line)
    for cell in ("0.3123", "+0.0623", "overstated"):
        assert cell in loss
    assert "–" in next(line for line in text.splitlines() if "f1 0.5" in line)
    assert "(no data set)" in text


def test_reasons_stand_below_and_next_steps_where_something_is_open():
    text = shown(verdicts())
    assert "1. reproduced: All 1000 examples" in text
    assert "2. overstated: The card says 0.25" in text
    assert "3. underspecified: Nobody knows." in text
    assert "→ Ask the author." in text
    assert text.count("→") == 2


def test_a_note_stands_once_with_the_claims_that_it_is_about():
    text = shown(verdicts())
    assert text.count("one note for both") == 1
    assert "one note for both (1, 2)" in text


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 200])
def test_a_narrow_terminal_loses_no_verdict(width):
    text = shown(verdicts(), width)
    for kind in ("reproduced", "overstated", "underspecified"):
        assert kind in words(text)
    assert max(map(len, text.splitlines())) <= width


def test_a_narrow_terminal_gets_a_list_that_says_as_much():
    text = " ".join(shown(verdicts(), 60).split())
    assert "1. accuracy 91.1%, glue/sst2 validation (README.md:7)" in text
    assert "reproduced (91.06%, -0.04 pt, 100% of the split run): All 1000 examples" in text
    assert "overstated (0.3123, +0.0623, 100% of the split run): The card says 0.25" in text
    assert "underspecified: Nobody knows. → Ask the author." in text


@pytest.mark.parametrize(
    ("n", "population", "share"),
    [
        (872, 872, "100%"),
        (871, 872, "99%"),
        (100, 1000, "10%"),
        (64, 872, "7.3%"),
        (1, 100_000, "0.1%"),
        (None, None, "–"),
    ],
)
def test_the_share_of_the_split_that_a_verdict_cost(n, population, share):
    made = Verdict(
        VerdictKind.CONSISTENT, claim(), "rule", "Reason.", measured=0.9, delta=0.0, n=n, population=population
    )
    row = next(line for line in shown([made]).splitlines() if "accuracy 0.91" in line)
    assert row.split("│")[7].strip() == share


def test_an_explanation_is_told_with_its_setting_and_the_chance():
    found = {"hypothesis": "label order", "setting": "[no] and yes exchanged", "value": 0.91, "fits": True}
    explanation = {"found": found, "certain": True, "chance": 0.0031, "tried": [found]}
    made = Verdict(
        VerdictKind.EXPLAINED, claim(), "explained by label order", "It differs.", "Ask.", explanation=explanation
    )
    text = shown([made], 200)
    assert "explained by label order: [no] and yes exchanged (chance of a coincidence 0.31%)" in " ".join(
        text.replace("│", " ").split()
    )
    assert "→ Ask." in text


def test_the_flip_budget_of_every_metric_is_shown_those_of_the_claims_first():
    scores = {
        "loss": Score(0.3123, 1000, budget=0.00042),
        "f1_macro": Score(0.9, 1000, budget=0.00231),
        "accuracy": Score(0.91062, 1000, budget=0.0022),
        "f1_micro": Score(0.9, 1000, budget=0.00001),
        "pr_auc": Score(0.9, 1000),
    }
    text = " ".join(
        shown([judge(claim("0.9", "f1_macro"), MATCH, run := measurement(scores))], 300, measurements=[run]).split()
    )
    moved = "f1_macro 0.23 pt, loss 0.00042, accuracy 0.22 pt, f1_micro 0.001 pt, pr_auc 0.00 pt"
    assert f"So much may such flips move a score of sst2 validation: {moved}." in text
    assert "flips move" not in shown([], measurements=[measurement(scores, probed=0)])


def test_several_places_of_a_claim_are_all_named():
    one = claim("0.91")
    other = Evidence(Source.TABLE, "docs/results.md", 120, 120, "| 0.91 |", "0.91")
    made = Verdict(VerdictKind.ERROR, claim("0.91"), "failed", "It failed.")
    both = type(one)(**{**vars(one), "evidence": (*one.evidence, other)})
    assert "docs/results.md:120" in shown([type(made)(**{**vars(made), "claim": both})])


def test_a_long_literal_is_cut_and_marked():
    assert "0.891284…" in shown([judge(claim("0.8912844036697247"), MATCH, measurement({"accuracy": 0.9}))])


HOSTILE = "[red]x[/red] [/nothing] [link=http://a]b \\"


def test_markup_in_what_a_card_says_is_shown_as_it_stands():
    made = Verdict(
        VerdictKind.ERROR,
        claim("0.5", "f1[bold]", dataset=HOSTILE, notes=(HOSTILE,)),
        f"rule {HOSTILE}",
        f"reason {HOSTILE}",
        f"step {HOSTILE}",
    )
    other = measurement({"metric[red]": 0.5}, task="task[red]", split="[/x]")
    stream = io.StringIO()
    show_verdicts(Console(file=stream, width=300), f"org/{HOSTILE}", [made], [other])
    text = stream.getvalue()
    for start in ("", "rule ", "reason ", "step ", "org/"):
        assert start + HOSTILE in text
    for part in ("f1[bold]", "metric[red]", "task[red] [/x]: 1000 of 1000"):
        assert part in text


def test_scores_that_no_claim_is_about():
    text = shown([], measurements=[measurement({"accuracy": 0.91}, n=200, population=872)])
    assert "org/model: the card makes no claim that could be read." in text
    assert "Measured on sst2, validation, 200 of 872 examples (no claim)" in " ".join(text.split())
    assert "0.9100" in text


def test_what_was_run_is_said_in_one_line_and_claimed_scores_are_not_repeated():
    run = measurement(
        {"accuracy": 0.91062},
        n=872,
        flips=1,
        provenance={
            "preprocessing": {"max_length": 128},
            "dtype": "float32",
            "device": "cpu",
            "model_revision": "0123456789abcdef",
        },
        result="results/there.json",
    )
    text = " ".join(shown(verdicts(), 300, measurements=[run]).split())
    assert "sst2 validation: 872 of 872 examples were run; 1 of the 87 that ran a second time in another" in text
    assert "dtype float32, device cpu, max_length 128, revision 0123456789ab; results/there.json" in text
    assert "(no claim)" not in text


def test_the_summary_counts_what_does_not_hold_first():
    assert summary(verdicts()) == "3 claims: 1 overstated, 1 reproduced, 1 underspecified (2 attempted, 1 flagged)"
    assert summary([]) == "no claims"
