"""Ages of feature tables: measurement and alarms."""

import json
from datetime import timedelta
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import ValidationError

DAY = timedelta(days=1)


def test_without_freshness_nothing_is_measured(define_store: Any, group: Any, resources: Any) -> None:
    """Groups without an alarm have no metric, as each costs money."""
    store = define_store(group("stock"))

    assert store.freshness_function is None
    assert store.freshness_alarms == {}
    assert not [name for name in resources(store, "AWS::Lambda::Function") if "Freshness" in name]


def test_one_function_measures_the_groups_that_declare_it(define_store: Any, group: Any, resources: Any) -> None:
    """Runs every hour for the declared groups."""
    store = define_store(group("stock", freshness=DAY), group("sales"), group("price", freshness=2 * DAY))

    (function,) = (p for name, p in resources(store, "AWS::Lambda::Function").items() if "Freshness" in name)
    variables = function["Environment"]["Variables"]
    assert (variables["UNIT"], variables["DATABASE"]) == ("demand", "demand_features")
    assert json.loads(variables["TABLES"]) == ["stock_v1", "price_v1"]
    (rule,) = (p for name, p in resources(store, "AWS::Events::Rule").items() if "Freshness" in name)
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    assert sorted(store.freshness_alarms) == ["price_v1", "stock_v1"]


def test_the_function_reads_metadata_alone(define_store: Any, group: Any, resources: Any) -> None:
    """Reads no row, other table or other namespace."""
    store = define_store(group("stock", freshness=DAY), group("sales"))

    (policy,) = (p for name, p in resources(store, "AWS::IAM::ManagedPolicy").items() if "FreshnessRolePolicy" in name)
    statements = {str(s["Action"]): s for s in policy["PolicyDocument"]["Statement"]}
    assert str(statements["s3:GetObject"]["Resource"]).endswith("'/demand_features/stock_v1/metadata/*']]}")
    assert "sales_v1" not in str(statements["glue:GetTable"]["Resource"])
    assert statements["cloudwatch:PutMetricData"]["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": "MLOps/demand"}
    }
    assert [a for a in statements if a.startswith(("s3:", "glue:"))] == ["glue:GetTable", "s3:GetObject"]


@pytest.mark.parametrize(
    ("hours", "period", "periods"), [(1, 3600, 2), (6, 21600, 2), (24, 86400, 2), (36, 86400, 3), (84, 86400, 7)]
)
def test_an_alarm_looks_back_two_runs(
    define_store: Any, group: Any, resources: Any, hours: int, period: int, periods: int
) -> None:
    """Evaluates at most seven days, as CloudWatch allows; one old datapoint raises the alarm.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    store = define_store(group("stock", freshness=7 * DAY), freshness_interval=cdk.Duration.hours(hours))

    (alarm,) = (a for a in resources(store, "AWS::CloudWatch::Alarm").values() if a.get("MetricName") == "FeatureAge")
    assert alarm["Namespace"] == "MLOps/demand"
    assert alarm["Dimensions"] == [{"Name": "FeatureGroup", "Value": "stock_v1"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (604800, "GreaterThanThreshold")
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (period, periods, 1)
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 7 * 86400


def test_silence_is_told_but_a_table_without_rows_rings_for_nobody(
    define_store: Any, group: Any, resources: Any
) -> None:
    """A new alarm has INSUFFICIENT_DATA without a transition; only alarms that had data return to it."""
    store = define_store(group("stock", freshness=DAY))

    (alarm,) = (a for a in resources(store, "AWS::CloudWatch::Alarm").values() if a.get("MetricName") == "FeatureAge")
    assert alarm["TreatMissingData"] == "missing"
    assert alarm["AlarmActions"] == alarm["InsufficientDataActions"]
    assert "UnitTopic" in str(alarm["AlarmActions"])
    assert alarm["AlarmDescription"].startswith("stock_v1: the newest event is older than 1 day, 0:00:00, or")
    assert "ask logistics for the data feed" in alarm["AlarmDescription"]


def test_the_metric_is_the_alarms(define_store: Any, group: Any) -> None:
    """The metric can be used in other dashboards."""
    stock, sales = group("stock", freshness=DAY), group("sales")
    store = define_store(stock, sales)

    metric = store.metric_feature_age(stock)

    assert (metric.namespace, metric.metric_name, metric.dimensions) == (
        "MLOps/demand",
        "FeatureAge",
        {"FeatureGroup": "stock_v1"},
    )
    with pytest.raises(ValidationError, match="AgeNotMeasured: group 'sales' has no freshness"):
        store.metric_feature_age(sales)


@pytest.mark.parametrize(
    ("freshness", "schedule", "message"),
    [
        (
            timedelta(minutes=30),
            None,
            "freshness of group 'stock' must be at least the interval of its measurement, 1 hour",
        ),
        (DAY, cdk.Duration.minutes(59), "freshness_interval must be from 1 hour to 3 days 12 hours, got 59 minutes"),
        (7 * DAY, cdk.Duration.hours(85), "freshness_interval must be from 1 hour to 3 days 12 hours"),
        (
            DAY,
            cdk.Duration.hours(25),
            "must be at least the interval of its measurement, 1 day 1 hour, got 1 day, 0:00:00",
        ),
        (None, cdk.Duration.hours(2), "applies to groups with freshness=, and no group declares it; remove it"),
    ],
)
def test_fails_on_ages_that_cannot_be_watched(
    define_store: Any, group: Any, freshness: timedelta | None, schedule: cdk.Duration | None, message: str
) -> None:
    """Rejects ages below an hour, and those longer than an alarm can evaluate."""
    with pytest.raises(ValidationError, match=message):
        define_store(group("stock", freshness=freshness), freshness_interval=schedule)
