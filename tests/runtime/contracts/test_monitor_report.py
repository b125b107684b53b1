"""The report of a run: nullable fields, rejected documents, and monitors with a state."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import BiasResult, MonitorReport, MonitorResult, monitor_states


def test_a_report_of_silence_names_no_baseline(example: Callable[..., Any]) -> None:
    """The two nullable fields are written as null, the state says why."""
    silent = example(
        "MonitorReport", **{"baseline_sha256": None, "model_package_arn": None, "drift.state": "NO_TRAFFIC", "rows": 0}
    )

    report = from_dict(MonitorReport, silent)

    assert report.drift.state is MonitorState.NO_TRAFFIC
    assert (report.baseline_sha256, report.model_package_arn) == (None, None)
    assert to_dict(report) == silent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline_sha256": ...}, "$.baseline_sha256 is missing"),
        (
            {"drift.features.0.drifted": "true"},
            "$.drift.features[0].drifted must be a boolean, got 'true'",
        ),
        (
            {"quality.state": "QUIET"},
            "$.quality.state must be one of 'NOT_YET_DEPLOYED', 'NO_TRAFFIC', 'NO_CAPTURE', 'NO_LABELS_YET', "
            "'BASELINE_OLDER_THAN_MODEL', 'MONITOR_NOT_RUN', 'INSUFFICIENT_DATA', 'OK', 'VIOLATION', got 'QUIET'",
        ),
    ],
)
def test_fails_on_a_report_that_says_nothing(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """A partly read verdict would look complete."""
    assert refusal(MonitorReport, example("MonitorReport", **changes)) == f"not a valid MonitorReport: {message}"


def test_a_monitor_has_a_state_where_it_has_a_result(example: Callable[..., Any]) -> None:
    """An unrequested monitor has neither; one without a decided state did not run, which is never OK."""
    document = example("MonitorReport") | {"bias": to_dict(BiasResult())}
    assert MonitorResult().state is MonitorState.MONITOR_NOT_RUN
    assert monitor_states(from_dict(MonitorReport, document)) == {
        "drift": MonitorState.VIOLATION,
        "quality": MonitorState.NO_LABELS_YET,
        "bias": MonitorState.MONITOR_NOT_RUN,
    }
