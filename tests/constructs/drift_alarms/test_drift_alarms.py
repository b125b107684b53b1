"""Drift alarms in a template."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Annotations, Match

from mlops_constructs import ValidationError
from mlops_constructs._warnings import NO_HEARTBEAT_ALARM


@pytest.mark.parametrize(
    ("name", "missing", "rule"),
    [
        ("AlarmsFeatures", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsQuality", "ignore", (1.25, "GreaterThanThreshold", 1)),
        ("AlarmsHeartbeat", "breaching", (1, "LessThanThreshold", 48)),
    ],
)
def test_missing_data_breach_only_for_the_heartbeat(demand: Any, name: str, missing: str, rule: tuple[float, str, int]):
    """Between two runs drift and quality keep their state; a silent monitor rings after two runs."""
    alarm = demand.one("AWS::CloudWatch::Alarm", name)
    assert alarm["TreatMissingData"] == missing
    assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["EvaluationPeriods"]) == rule
    assert len(alarm["AlarmActions"]) == 1


def test_a_weekly_monitor_gets_no_heartbeat_alarm_and_says_so(define: Callable[..., Any]):
    """CloudWatch cannot look back two weeks; the warning names the way out."""
    made = define(monitor={"schedule": cdk.Duration.days(7)})
    assert set(made.alarms.alarms) == {"features", "quality"}
    Annotations.from_stack(made.stack).has_warning(
        "/Demand/Alarms", Match.string_like_regexp(f".*{NO_HEARTBEAT_ALARM.id}.*")
    )


def test_the_limit_of_quality_can_be_given(define: Callable[..., Any]):
    """An explicit ratio wins over the monitor's."""
    assert define(alarms={"wape_ratio": 1.1}).one("AWS::CloudWatch::Alarm", "AlarmsQuality")["Threshold"] == 1.1


def test_fails_when_the_limit_is_not_possible(define: Callable[..., Any]):
    """A ratio of zero would always ring."""
    with pytest.raises(ValidationError, match=r"wape_ratio must be from 0.01 to 100, got 0"):
        define(alarms={"wape_ratio": 0})
