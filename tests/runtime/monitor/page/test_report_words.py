"""States in words, the order of evidence, what to do."""

from dataclasses import replace

import pytest
from tests.runtime.monitor import reports

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import MONITORS, Measured
from mlops_runtime.monitor import wording
from mlops_runtime.monitor.monitors.drift.rules import Rule
from mlops_runtime.monitor.page import report_words


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("state", MonitorState)
def test_every_state_has_its_words(monitor: str, state: MonitorState) -> None:
    """OK is good and nothing else is; what is no news asks for something."""
    said = report_words.state_text(monitor, state)

    assert (said.tone == "good") == (state is MonitorState.OK)
    assert said.tone == report_words.TONES[state]
    assert said.means
    assert bool(said.do) == (state is not MonitorState.OK)
    assert not said.means.endswith(".")


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_says_what_to_do(rule: Rule) -> None:
    """What alarms asks for a retraining where the world has changed; what is suspect waits for the next windows."""
    found = reports.drift("price", 0.2, 1e-9, rule=rule.value)

    retrains = "no training helps" if rule is Rule.TYPE else "if the world has changed, retrain"
    assert report_words.what_to_do(found).endswith(retrains)
    assert report_words.what_to_do(replace(found, persistent=False)).endswith("it alarms if the next windows agree")


def test_rows_that_cannot_be_read_have_neither_a_psi_nor_a_training() -> None:
    """Callers changed something; and a window in which nothing could be compared says what is missing."""
    found = replace(reports.drift("unreadable_rows", 0.0, 1e-9, rule="unreadable"), persistent=True)
    assert report_words.psi_text(found) == ""
    assert report_words.what_to_do(found).endswith("columns of the model's inputs; no training helps")
    report = reports.report_of(8, (reports.drift("price", untested="50 values are too few"),))
    silent = replace(report, drift=replace(report.drift, state=MonitorState.INSUFFICIENT_DATA))
    assert (
        report_words.said(silent, "drift").means
        == "no feature could be tested in 1,000 rows, price: 50 values are too few"
    )


def test_what_holds_or_was_not_tested_asks_for_nothing() -> None:
    """And says why."""
    assert report_words.what_to_do(reports.drift("price")) == "nothing: it holds"
    assert report_words.what_to_do(reports.drift("price", untested="all null")) == "nothing can be said: all null"


def test_features_are_ranked_by_evidence() -> None:
    """Persistent drift, drift of this window, then the smallest p-values; untested ones last."""
    ranked = [feature.name for feature in report_words.ranked(reports.MOVED)]

    assert ranked == ["price", "price x stock", "store", "forecast", "stock", "null_patterns"]


def test_a_report_without_a_verdict_gets_one() -> None:
    """Made of what drifted and of the states."""
    report = reports.report_of(8, reports.MOVED)
    silent = reports.silent().report

    assert report_words.verdict(report) == (
        "3 of 6 features drifted: price, price x stock, store; quality holds; latency holds"
    )
    assert report_words.verdict(silent).startswith(
        "drift unknown, nobody called the endpoint in the window; quality unknown"
    )
    assert report_words.verdict(reports.drifting().report).startswith("drift in 2 of 3 windows")
    assert report_words.verdict(reports.wide().report).startswith("20 of 200 features drifted: feature_number_0, ")
    assert "and 17 more" in report_words.verdict(reports.wide().report)


def test_the_worst_monitor_gives_the_tone() -> None:
    """Nothing tested is unknown, not good."""
    assert report_words.tone(reports.quiet().report) == "good"
    assert report_words.tone(reports.drifting().report) == "bad"
    assert report_words.tone(reports.classifier().report) == "bad"
    assert report_words.tone(reports.silent().report) == "unknown"
    assert report_words.tone(reports.empty().report) == "unknown"


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (Measured(name="null_rate", value=0.021, low=0.014, high=0.031), "2.1 % (1.4 % to 3.1 %)"),
        (Measured(name="auc", value=0.7), "0.7"),
        (Measured(name="r2", value=None), "not defined"),
        (Measured(name="DI", value=float("inf")), "infinite"),
    ],
)
def test_numbers_are_written_as_people_know_them(measured: Measured, text: str) -> None:
    """Rates in percent, intervals in brackets."""
    assert wording.interval_text(measured) == text


def test_what_counted_is_said() -> None:
    """And that AWS's image did not run, where ours stood in for it."""
    report = reports.report_of(8, (), engine="SAGEMAKER_MODEL_MONITOR")

    assert report_words.engine_text(report) == "SageMaker Model Monitor"
    assert report_words.engine_text(replace(report, analyzer="mlops_runtime")).endswith("in place of AWS's image")
    assert report_words.engine_text(replace(report, engine=None)) == ""


def test_model_monitor_gives_no_psi() -> None:
    """A zero would look like one."""
    assert report_words.psi_text(reports.drift("price", 0.0, rule="model_monitor")) == ""


def test_verdicts_of_a_feature() -> None:
    """Drift of enough windows, of this one, of earlier ones, of none."""
    drifted = reports.drift("price", 0.2, 1e-9)
    words = [
        report_words.drift_word(feature)[1]
        for feature in (
            drifted,
            replace(drifted, persistent=True),
            replace(drifted, persistent=False),
            reports.drift("price", persistent=True),
            reports.drift("price"),
        )
    ]

    assert words == ["drifted", "drifted", "in this window", "in earlier windows", "holds"]


def test_a_window_has_its_hours() -> None:
    """Whole days are days."""
    report = reports.report_of(8, ())

    assert wording.hours_text(wording.window_hours(report)) == "1 day"
    assert wording.moment("soon") == "soon"
