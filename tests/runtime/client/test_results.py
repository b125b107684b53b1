"""Display of the client's results in a notebook."""

from dataclasses import replace

import pytest
from tests.runtime.client.world import EXAMPLES

from mlops_runtime.client.results import Comparison, Live, Predictions, Report, RunSummary, RunTable, Shown, Summary
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.retraining import Decision, TrainingMetrics, Trigger
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.retraining.run_comparison import RunComparison, SegmentComparison
from mlops_runtime.retraining.run_history import Run, RunDetails

RUN = Run(
    id="20170820-one",
    pipeline="demand-forecast",
    at="2017-08-20T07:00:00Z",
    outcome="REGISTERED",
    trigger=Trigger.MANUAL,
    requested_by="AROA:ann",
    metric="wape",
    metrics={"candidate": 0.2, "naive": 0.3},
    package="arn:aws:sagemaker:us-east-1:1:model-package/demand-forecast/7",
)
REFUSED = Run(id="e1", pipeline="p", at="2017-08-20T08:00:00Z", outcome="REFUSED", decision=Decision.BUSY)


def test_runs_are_a_table() -> None:
    """With a column for each rival, and pandas takes it."""
    table = RunTable((REFUSED, RUN))
    assert (len(table), table[1], [run.id for run in table]) == (2, RUN, ["e1", "20170820-one"])
    frame = table.to_pandas()
    assert list(frame["outcome"]) == ["REFUSED BUSY", "REGISTERED"]
    assert (frame.loc[1, "loss"], frame.loc[1, "loss of naive"], frame.loc[1, "version"]) == (0.2, 0.3, 7)
    assert frame.loc[1, "requested by"] == "ann"


def test_a_table_is_shown_with_what_is_in_it_as_text() -> None:
    """Markup of a foreign text is text; long tables are cut, and it is said; an empty one is empty."""
    shown = Summary({"reason": "<script>", "loss": 0.123456789, "none": None})._repr_html_()
    assert "<td>&lt;script&gt;</td>" in shown
    assert "<td>0.123457</td>" in shown
    assert "<td>none</td><td></td>" in shown
    assert RunTable(())._repr_html_() == "<table><tr></tr></table>"
    assert Predictions(tuple(range(25)))._repr_html_().endswith("<p>5 more</p>")


def test_predictions_are_a_sequence() -> None:
    """With their ids where they were sent."""
    plain, named = Predictions((1.0, 2.0)), Predictions((1.0,), ("a",))
    assert (len(plain), list(plain), plain[1]) == (2, [1.0, 2.0], 2.0)
    assert plain.records() == [{"prediction": 1.0}, {"prediction": 2.0}]
    assert named.records() == [{"id": "a", "prediction": 1.0}]
    assert repr(named) == "Predictions\nid: a  prediction: 1"
    assert repr(Predictions(tuple(range(25)))).endswith("prediction: 19\n5 more")


def test_a_run_is_facts_and_curves() -> None:
    """Those that there are."""
    training = TrainingMetrics(metrics={"rmse": 1.5}, step="epoch", steps=(1.0, 2.0), curves={"loss": (3.0, None)})
    found = RunSummary(RunDetails(run=RUN, hyperparameters={"depth": "3"}, training=training))
    facts = {row["what"]: row["value"] for row in found.records()}
    assert (facts["outcome"], facts["wape of naive"], facts["hyperparameter depth"]) == ("REGISTERED", 0.3, "3")
    assert facts["training rmse"] == 1.5
    assert found.curves() == [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": None}]
    assert RunSummary(RunDetails(run=RUN)).curves() == []


def test_a_comparison_has_a_row_for_all_and_each_segment() -> None:
    """With the verdict."""
    made = RunComparison(
        first="a", second="b", metric="wape", rows=200, first_loss=0.2, second_loss=0.1, difference=-0.5, low=-0.6,
        high=-0.4, confidence=0.95, rivals={}, segments=(SegmentComparison(segment="s=1", rows=9, first=0.2, second=0.1),),
        hyperparameters={}, training={},
    )  # fmt: skip
    found = Comparison(made)
    assert found.verdict == "b is better"
    assert [(row["rows of"], row["rows"], row["b"]) for row in found.records()] == [("all", 200, 0.1), ("s=1", 9, 0.1)]


def test_live_and_report_are_told_in_rows() -> None:
    """As their contracts' examples have them."""
    live = Live(from_json(LivePointer, (EXAMPLES / "LivePointer.json").read_bytes()))
    assert live.version == int(live.pointer.model_package_arn.rpartition("/")[2])
    assert {row["what"] for row in live.records()} == {"endpoint", "version", "since", "training set", "model"}
    report = from_json(MonitorReport, (EXAMPLES / "MonitorReport.json").read_bytes())
    found = Report(replace(report, verdict="fine"))
    assert found.verdict == "fine"
    assert all(row["state"] for row in found.records())


def test_what_has_no_rows_says_so() -> None:
    """A result of another kind must define them."""
    with pytest.raises(TypeError, match="records"):
        Shown()  # type: ignore[abstract]
