"""Alarms and dashboard for a monitor of another stack, without a reference to it."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import (
    BusinessUnit,
    DriftAlarms,
    IModelMonitor,
    ModelEndpoint,
    ModelMonitor,
    MonitorTables,
    ValidationError,
)
from mlops_constructs._arguments import is_of
from mlops_constructs.compliance.harness import check


class Second:
    """A stack that imports unit, endpoint and monitor."""

    def __init__(self) -> None:
        self.app = cdk.App(context={"aws:cdk:enable-path-metadata": True})
        self.stack = cdk.Stack(self.app, "Alarms")
        unit = BusinessUnit.from_name(self.stack, "Unit", name="demand")
        endpoint = ModelEndpoint.from_endpoint_name(
            self.stack, "Endpoint", endpoint_name="demand-forecast", business_unit=unit
        )
        self.monitor = ModelMonitor.from_monitor_attributes(
            self.stack,
            "Monitor",
            endpoint=endpoint,
            function_name="decide",
            window=cdk.Duration.days(7),
            interval=cdk.Duration.days(1),
        )


@pytest.fixture(scope="module")
def alarms() -> Second:
    """The stack with alarms."""
    second = Second()
    DriftAlarms(second.stack, "Alarms", monitor=second.monitor)
    return second


def test_alarms_watch_the_metrics_that_the_monitors_own_would(alarms: Second, demand: Any) -> None:
    """Names, dimensions, limits and periods are equal; the heartbeat is that of the named function."""

    def watched(template: Mapping[str, Any]) -> dict[str, Any]:
        found = {name[:-8]: r["Properties"] for name, r in template["Resources"].items() if "MetricName" in str(r)}
        kept = ("MetricName", "Namespace", "Dimensions", "Threshold", "Period", "EvaluationPeriods")
        return {
            name: {key: each.get(key) for key in kept}
            for name, each in found.items()
            if name.startswith("Alarms") and "Threshold" in each and name not in ("AlarmsHeartbeat", "AlarmsTraffic")
        }

    template = Template.from_stack(alarms.stack).to_json()
    (heartbeat,) = (r for name, r in template["Resources"].items() if name.startswith("AlarmsHeartbeat"))
    assert len(watched(template)) > 5
    assert watched(template) == watched(demand.template)
    assert ":function:decide" in str(heartbeat)


def test_nothing_of_the_stack_is_left_to_ask(alarms: Second) -> None:
    """Topic and bus are the owner's, which must admit the rules; the dead-letter queue is the stack's own."""
    (stack,) = check(alarms.app).stacks
    assert stack.findings == ()
    requested = Match.string_like_regexp(r"needs unit.admit_rules\(\) in the stack")
    assert len(Annotations.from_stack(alarms.stack).find_warning("*", requested)) == 1
    Template.from_stack(alarms.stack).resource_count_is("AWS::Lambda::Function", 0)


def test_an_imported_monitor_has_the_interface() -> None:
    """Alarms and dashboards accept it."""
    assert is_of(Second().monitor, IModelMonitor)


def test_tables_are_refused_where_captures_are_not_known() -> None:
    """Tables read captures and must be defined beside the monitor."""
    second = Second()
    with pytest.raises(ValidationError, match="got an imported one; define the tables in the monitor's stack"):
        MonitorTables(second.stack, "Tables", monitor=second.monitor)
