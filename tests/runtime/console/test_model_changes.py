"""The last day's alarms among a model's changes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_local.cloud import Cloud
from mlops_runtime.console.model_changes import alarm_changes

Ask = Callable[..., tuple[int, dict[str, Any]]]


def _watch(cloud: Cloud, name: str, endpoint: str, *, is_expression: bool = False) -> None:
    stat = {"Namespace": "MLOps/x", "MetricName": "MaxPsi", "Dimensions": [{"Name": "Endpoint", "Value": endpoint}]}
    metric: dict[str, Any] = {**stat, "Statistic": "Maximum", "Period": 60}
    if is_expression:
        query = {"Id": "m", "MetricStat": {"Metric": stat, "Period": 60, "Stat": "Maximum"}, "ReturnData": False}
        metric = {"Metrics": [query, {"Id": "e", "Expression": "m * 2", "ReturnData": True}]}
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        AlarmDescription=f"{endpoint}: WARNING: price drifts",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Threshold=1,
        TreatMissingData="ignore",  # a state that a test sets stays when the alarm is evaluated
        **metric,
    )


@pytest.fixture
def alarmed(unit: DeployedUnit) -> DeployedUnit:
    """Two alarms about its endpoint fire, one of which ends; one of another endpoint fires too."""
    cloudwatch = unit.cloud.client("cloudwatch")
    names = [f"{unit.name}-{number}" for number in range(3)]
    _watch(unit.cloud, names[0], unit.endpoint)
    _watch(unit.cloud, names[1], unit.endpoint, is_expression=True)
    _watch(unit.cloud, names[2], f"{unit.endpoint}-other")
    for name in names:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    cloudwatch.set_alarm_state(AlarmName=names[1], StateValue="OK", StateReason="test")
    return unit


def test_alarms_are_among_the_changes_of_a_model(ask: Ask, alarmed: DeployedUnit) -> None:
    """Of its own metrics alone, and of expressions over them."""
    status, found = ask("GET", f"/units/{alarmed.name}/endpoints/{alarmed.endpoint}")

    changes = [(each["kind"], each["is_bad"], each["summary"]) for each in found["changes"]]
    assert status == 200
    assert sorted(changes) == [
        ("alarm", True, "WARNING: price drifts"),
        ("alarm", True, "WARNING: price drifts"),
        ("alarm ended", False, "no longer: WARNING: price drifts"),
    ]
    assert not any(each.startswith("alarms") for each in found["unread"])


def test_an_alarm_of_a_rollout_is_known_by_its_name_after_its_deletion(alarmed: DeployedUnit) -> None:
    """Its fleet's alarms go with the rollout."""
    cloudwatch, name = alarmed.cloud.client("cloudwatch"), f"{alarmed.endpoint}-rollout-00000001-errors"
    _watch(alarmed.cloud, name, alarmed.endpoint)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    cloudwatch.delete_alarms(AlarmNames=[name])

    found = list(alarm_changes(cloudwatch, alarmed.endpoint, datetime.now(UTC) - timedelta(days=1)))

    assert (True, name) in [(is_fired, message) for _, is_fired, message in found]


def test_what_was_before_is_not_shown(alarmed: DeployedUnit) -> None:
    """The history has older changes too."""
    later = datetime.now(UTC) + timedelta(days=400)

    assert list(alarm_changes(alarmed.cloud.client("cloudwatch"), alarmed.endpoint, later)) == []
