"""The wording of states, and a report in lines of text."""

from dataclasses import replace

import pytest
from tests.runtime.monitor import reports

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import Measured, Scrutiny
from mlops_runtime.monitor import wording
from mlops_runtime.monitor.monitors.monitor_table import MONITORS
from mlops_runtime.monitor.page import report_words
from mlops_runtime.monitor.page.report_words import feature_lines, report_lines


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("state", MonitorState)
def test_every_state_has_its_words(monitor: str, state: MonitorState) -> None:
    """Only OK has the good tone; unknown states recommend an action."""
    reported = report_words.state_text(monitor, state)

    assert (reported.tone == "good") == (state is MonitorState.OK)
    assert reported.tone == report_words.TONES[state]
    assert reported.means
    assert bool(reported.do) == (state is not MonitorState.OK)
    assert not reported.means.endswith(".")


def test_a_window_in_which_nothing_could_be_compared_says_what_is_missing() -> None:
    """Names how many features were not compared, which and why; the page is amber, even if the state is OK."""
    untested = reports.drift("price", untested="50 values are too few", reason="few_rows")
    report = reports.report_of(8, (untested, reports.drift("store")))
    scrutiny = Scrutiny(requested=2, untested=("price",), unknown=("price",))
    silent = replace(report, drift=replace(report.drift, state=MonitorState.INSUFFICIENT_DATA, scrutiny=scrutiny))
    reported = report_words.monitor_text(silent, "drift")
    assert reported.means == (
        "no result for 1 of 2 features, more than 20 %, in 1,000 rows; 1 not tested: too few rows for price"
    )
    allowed = replace(silent, drift=replace(silent.drift, state=MonitorState.OK))
    assert report_words.monitor_text(allowed, "drift").means == "1 not tested: too few rows for price"
    assert [report_words.tone(each) for each in (report, silent, allowed)] == ["good", "warn", "warn"]


def test_the_worst_monitor_gives_the_tone() -> None:
    """An untested monitor is unknown, not good."""
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
    """Rates are percentages, intervals are in brackets."""
    assert wording.interval_text(measured) == text


def test_what_counted_is_said() -> None:
    """Reports that our analyzer ran in place of AWS's image."""
    report = reports.report_of(8, (), engine="SAGEMAKER_MODEL_MONITOR")

    assert report_words.engine_text(report) == "SageMaker Model Monitor"
    assert report_words.engine_text(replace(report, analyzer="mlops_runtime")).endswith("in place of AWS's image")
    assert report_words.engine_text(replace(report, engine=None)) == ""


def test_a_window_has_its_hours() -> None:
    """Whole days are written as days."""
    report = reports.report_of(8, ())

    assert wording.hours_text(wording.window_hours(report)) == "1 day"
    assert wording.moment("soon") == "soon"


def test_a_person_reads_states_problems_and_what_to_do() -> None:
    """Problems are sorted by count; results held back by a rollout are listed."""
    sample = reports.drifting()
    lines = list(report_lines(sample.report))

    assert lines[1] == sample.report.verdict
    assert lines[2] == "  engine         counted by a function as captures arrived"
    assert lines[3].startswith("  drift          VIOLATION         features shifted by more than allowed")
    assert "; do: check the features that drifted" in lines[3]
    assert lines[4] == "  quality        OK                the model is within its limits"
    assert lines[-2:] == [
        "  problem        2 x row has 3 values instead of 4",
        "  problem        1 x price: text instead of a number",
    ]


def test_one_feature_in_lines() -> None:
    """Shows the effect sizes, the rule, and rates with intervals."""
    sample = reports.drifting()

    assert list(feature_lines(sample.report, sample.report.drift.features[0])) == [
        "price of demand-forecast, 2017-08-07 06:00 to 2017-08-08 06:00 UTC: drifted",
        "  mean rose 28 %, from 2.4 to 3.07",
        "  do: check units, currency and price lists at the source; if the world has changed, retrain",
        "  PSI 0.31, Jensen-Shannon 0.155, L-infinity 0.013, Wasserstein 0.05, mean moved, in sd 0.62, p-value 1e-40, "
        "by the rule mean",
        "  nulls 2.1 % (1.4 % to 3.1 %), was 2.0 %",
        "  new 0 % (0 % to 0.4 %), was 0 %",
    ]
