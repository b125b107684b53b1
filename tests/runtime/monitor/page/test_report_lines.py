"""The text lines of a report."""

from tests.runtime.monitor import reports

from mlops_runtime.monitor.page.report_lines import feature_lines, report_lines


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
