"""Disabled and deleted rules, with EventBridge in process."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.promotion.stopped_rules import StoppedRule, stopped_line, stopped_rules
from mlops_runtime.registry.package_approval import BusRules

NOW = datetime(2017, 8, 1, 9, tzinfo=UTC)


@pytest.fixture
def events() -> Iterator[Any]:
    """Return a client of EventBridge with three rules."""
    with mock_aws():
        client = boto3.client("events", region_name="eu-west-1")
        client.create_event_bus(Name="inbox")
        options: dict[str, Any] = {"EventPattern": '{"source": ["mlops.demand"]}', "Description": "Offers"}
        client.put_rule(Name="works", State="ENABLED", **options)
        client.put_rule(Name="rests", State="DISABLED", **options)
        client.put_rule(Name="offers", State="DISABLED", EventBusName="inbox", **options)
        yield client


def test_disabled_and_deleted_rules_are_found(events: Any) -> None:
    """On the default bus or another."""
    rules = (BusRules(names=("works", "rests", "gone")), BusRules(bus="inbox", names=("offers",)))

    assert list(stopped_rules(events, rules)) == [
        StoppedRule(name="rests", state="DISABLED", description="Offers"),
        StoppedRule(name="gone", state="DELETED"),
        StoppedRule(name="offers", state="DISABLED", bus="inbox", description="Offers"),
    ]


@pytest.mark.parametrize("names", [(), ("rests", "gone")])
def test_their_number_is_a_metric(names: tuple[str, ...]) -> None:
    """Also 0, since silence means that no check runs."""
    stopped = [StoppedRule(name=name, state="DISABLED") for name in names]

    line = json.loads(stopped_line(stopped, unit="demand", group="demand-forecast", now=NOW))

    assert (line["RulesStopped"], line["rules"], line["ModelPackageGroup"]) == (
        len(names),
        list(names),
        "demand-forecast",
    )
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("MLOps/demand", [["ModelPackageGroup"]])
    assert directive["Metrics"] == [{"Name": "RulesStopped", "Unit": "Count"}]
    assert line["_aws"]["Timestamp"] == int(NOW.timestamp() * 1000)
