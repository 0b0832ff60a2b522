"""What the functions return: as text, as a data frame, and as a table in a notebook."""

import pickle
from dataclasses import replace

import pytest

import verify
from verify.api.reports import ClaimsReport, Report

HOSTILE = "<script>alert(1)</script>\x1b]52;c;eA==\x07\u202e$\\href{javascript:alert(1)}{x}$"


@pytest.fixture
def hostile(report):
    verdicts = tuple(replace(one, reason=HOSTILE, task=HOSTILE) for one in report.verdicts)
    return Report(replace(report.outcome, model=HOSTILE, verdicts=verdicts), (HOSTILE,))


def test_a_report_says_in_a_line_what_became_of_the_claims(report, hostile):
    assert repr(report) == (
        "<Report on digits-vit: 6 claims: 1 overstated, 1 impossible, 3 reproduced, 1 unverifiable "
        "(5 attempted, 2 flagged)>"
    )
    assert repr(hostile).isprintable()
    assert repr(ClaimsReport((), {"model": HOSTILE, "claims": []})).isprintable()


def test_a_report_cannot_be_changed_and_can_be_kept(report):
    with pytest.raises(AttributeError):
        report.notes = ()
    report.to_dict()["verdicts"].clear()
    assert len(report.to_dict()["verdicts"]) == 6
    assert pickle.loads(pickle.dumps(report)) == report


def test_a_frame_counts_in_whole_numbers_where_some_are_missing(report):
    verdicts = (replace(report.verdicts[0], n=12_345_678), *report.verdicts[1:])
    frame = Report(replace(report.outcome, verdicts=verdicts)).to_frame()
    assert frame.n.isna().any()
    assert frame.n[0] == 12_345_678
    assert "12345678" in Report(replace(report.outcome, verdicts=verdicts))._repr_html_()


def test_a_report_of_nothing_has_the_same_columns(report):
    empty = Report(replace(report.outcome, verdicts=()))
    assert list(empty.to_frame().columns) == list(report.to_frame().columns)
    assert empty.holds is None
    assert "<table" in empty._repr_html_()


def test_a_notebook_shows_a_table_without_markup_of_others(report, hostile):
    page = hostile._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert not set(page) & {"\x1b", "\x07", "\u202e"}
    assert page.startswith('<div class="tex2jax_ignore mathjax_ignore">'), "no formula is set that others wrote"
    shown = report._repr_html_()
    for verdict in report.verdicts:
        assert verdict.claim.literal in shown
        assert str(verdict.kind) in shown


def test_claims_are_a_table_too(place):
    found = verify.read_claims("digits-vit", task_path=["tasks"])
    assert found._repr_html_().count("<tr") == 1 + len(found.to_frame())
    assert repr(found) == "<ClaimsReport on digits-vit: 6 claims>"
