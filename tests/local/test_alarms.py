"""Alarms of the embedded cloud, from a metric to the topic, the bus and the composite alarm."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud


def alarm(cloud: Cloud, name: str, **changes: Any) -> None:
    """Make an alarm on the errors of variant ``v`` of the endpoint with the alarm's name."""
    arguments = {
        "AlarmName": name,
        "AlarmDescription": "Errors",
        "Namespace": "Test",
        "MetricName": "Errors",
        "Dimensions": [{"Name": "Endpoint", "Value": name}, {"Name": "Variant", "Value": "v"}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        **changes,
    }
    cloud.client("cloudwatch").put_metric_alarm(**{key: value for key, value in arguments.items() if value is not None})


def put(cloud: Cloud, endpoint: str, value: float, **dimensions: str) -> None:
    """Publish one value without a timestamp."""
    named = [
        {"Name": name, "Value": text} for name, text in {"Endpoint": endpoint, "Variant": "v", **dimensions}.items()
    ]
    cloud.client("cloudwatch").put_metric_data(
        Namespace="Test", MetricData=[{"MetricName": "Errors", "Dimensions": named, "Value": value}]
    )


def state(cloud: Cloud, name: str) -> str:
    """Return an alarm's state."""
    found = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return str((found["MetricAlarms"] + found["CompositeAlarms"])[0]["StateValue"])


def test_sees_its_own_series_only(cloud: Cloud) -> None:
    """A metric with other or more dimensions is another metric."""
    alarm(cloud, "own-series")
    put(cloud, "another", 5.0)
    put(cloud, "own-series", 5.0, Monitor="m")
    cloud.clock_jump(by=timedelta(minutes=2))
    assert state(cloud, "own-series") == "OK"
    put(cloud, "own-series", 1.0)
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "own-series") == "ALARM"


def test_recovers_when_the_data_have_left_its_periods(cloud: Cloud) -> None:
    """A jump evaluates every minute on the way: the history has ALARM and OK, each at its own time."""
    alarm(cloud, "recovers")
    put(cloud, "recovers", 1.0)
    before = cloud.clock()["epoch"]
    cloud.clock_jump(by=timedelta(days=1))
    assert state(cloud, "recovers") == "OK"
    history = cloud.client("cloudwatch").describe_alarm_history(AlarmName="recovers", HistoryItemType="StateUpdate")[
        "AlarmHistoryItems"
    ]
    changes = {item["HistorySummary"]: item["Timestamp"].timestamp() - before for item in history}
    assert 0 <= changes["Alarm updated from OK to ALARM"] <= 60
    assert (
        changes["Alarm updated from ALARM to OK"] - changes["Alarm updated from OK to ALARM"] == 180
    )  # range of 1 + 2 periods


def test_silence_alarms_where_missing_data_breach(cloud: Cloud) -> None:
    """A heartbeat that stops is an alarm once the evaluation range is empty."""
    alarm(cloud, "heartbeat", TreatMissingData="breaching", ComparisonOperator="LessThanThreshold")
    put(cloud, "heartbeat", 1.0)
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "heartbeat") == "OK"
    cloud.clock_jump(by=timedelta(minutes=10))
    assert state(cloud, "heartbeat") == "ALARM"


def test_tells_topic_bus_and_composite_alarm(cloud: Cloud, wait_for: Callable[..., Any]) -> None:
    """Notification and event have AWS's format; a rule matches the event, and a composite alarm follows.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """
    sqs, sns, events = cloud.client("sqs"), cloud.client("sns"), cloud.client("events")
    urls = {kind: sqs.create_queue(QueueName=f"tells-{kind}")["QueueUrl"] for kind in ("topic", "bus")}
    arns = {kind: f"arn:aws:sqs:us-east-1:000000000000:tells-{kind}" for kind in urls}
    for kind, service in {"topic": "sns.amazonaws.com", "bus": "events.amazonaws.com"}.items():
        allow(sqs, urls[kind], arns[kind], service)
    topic = sns.create_topic(Name="tells")["TopicArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["topic"])
    pattern = {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"alarmName": ["tells"]},
    }
    events.put_rule(
        Name="tells",
        EventPattern=json.dumps({**pattern, "detail": {**pattern["detail"], "state": {"value": ["ALARM"]}}}),
    )
    events.put_targets(Rule="tells", Targets=[{"Id": "q", "Arn": arns["bus"]}])

    alarm(cloud, "tells", AlarmActions=[topic])
    cloud.client("cloudwatch").put_composite_alarm(AlarmName="tells-any", AlarmRule="ALARM(tells)")
    put(cloud, "tells", 3.0)
    cloud.clock_jump(by=timedelta(minutes=1))

    notification = json.loads(wait_for(lambda: receive(sqs, urls["topic"]))["Message"])
    assert (notification["AlarmName"], notification["NewStateValue"], notification["OldStateValue"]) == (
        "tells",
        "ALARM",
        "OK",
    )
    event = wait_for(lambda: receive(sqs, urls["bus"]))
    arn = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:tells"
    assert (event["source"], event["resources"], event["account"]) == ("aws.cloudwatch", [arn], "000000000000")
    detail = event["detail"]
    assert set(detail) == {"alarmName", "configuration", "previousState", "state"}
    (metric,) = detail["configuration"]["metrics"]
    assert metric["metricStat"] == {
        "metric": {"namespace": "Test", "name": "Errors", "dimensions": {"Endpoint": "tells", "Variant": "v"}},
        "period": 60,
        "stat": "Sum",
    }
    assert detail["configuration"]["description"] == "Errors"
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("OK", "ALARM")
    assert json.loads(detail["state"]["reasonData"])["recentDatapoints"] == [3.0]
    assert detail["state"]["reason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [3.0 (")
    assert state(cloud, "tells-any") == "ALARM"


def test_may_not_publish_where_the_topics_policy_does_not_let_it(cloud: Cloud) -> None:
    """A topic without a statement for CloudWatch gets nothing, as on AWS, and the log says so."""
    topic = cloud.client("sns").create_topic(Name="closed")["TopicArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    cloud.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    alarm(cloud, "closed", AlarmActions=[topic])
    put(cloud, "closed", 1.0)
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "closed") == "ALARM"
    assert (
        f"alarm closed: action refused: no resource-based policy of {topic} allows sns:Publish"
        in cloud.log_path.read_text()
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"Metrics": [{"Id": "e", "Expression": "1 + 1", "ReturnData": True}]},
            "Metrics must have at least one metric, and all of one period",
        ),
        (
            {"Metrics": [{"Id": "e", "Expression": "SEARCH('a', 'Sum')", "ReturnData": True}]},
            "function SEARCH in expression .* is not in the embedded cloud; it has IF, FILL",
        ),
        ({"ThresholdMetricId": "e"}, "alarms on anomaly detection are not in the embedded cloud"),
        ({"Statistic": None, "ExtendedStatistic": "tm99"}, "ExtendedStatistic must be a percentile such as p99"),
        (
            {"EvaluateLowSampleCountPercentile": "ignore"},
            "EvaluateLowSampleCountPercentile=ignore is not in the embedded cloud",
        ),
    ],
)
def test_fails_on_what_it_cannot_evaluate(cloud: Cloud, changes: dict[str, Any], problem: str) -> None:
    """Unsupported settings are rejected by name instead of being ignored."""
    base: dict[str, Any] = {
        "AlarmName": "refused",
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 1.0,
    }
    if "Metrics" not in changes:
        base |= {"Namespace": "Test", "MetricName": "Errors", "Period": 60, "Statistic": "Sum"}
    requested = {name: value for name, value in {**base, **changes}.items() if value is not None}
    with pytest.raises(ClientError, match=problem):
        cloud.client("cloudwatch").put_metric_alarm(**requested)


def ratio(endpoint: str) -> list[dict[str, Any]]:
    """Return metrics of an error rate that is zero without calls."""

    def metric(name: str) -> dict[str, Any]:
        dimensions = [{"Name": "Endpoint", "Value": endpoint}, {"Name": "Variant", "Value": "v"}]
        return {
            "Metric": {"Namespace": "Test", "MetricName": name, "Dimensions": dimensions},
            "Period": 60,
            "Stat": "Sum",
        }

    return [
        {"Id": "rate", "Expression": "IF(calls > 0, 100 * errors / calls, 0)", "Label": "error rate"},
        {"Id": "errors", "MetricStat": metric("Errors"), "ReturnData": False},
        {"Id": "calls", "MetricStat": metric("Calls"), "ReturnData": False},
    ]


def put_calls(cloud: Cloud, endpoint: str, errors: float, calls: float) -> None:
    """Publish a minute's calls and errors."""
    named = [{"Name": "Endpoint", "Value": endpoint}, {"Name": "Variant", "Value": "v"}]
    data = [
        {"MetricName": name, "Dimensions": named, "Value": value}
        for name, value in {"Errors": errors, "Calls": calls}.items()
    ]
    cloud.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=data)


def math_alarm(name: str, **changes: Any) -> dict[str, Any]:
    """Return the arguments of an alarm on an error rate of at least five percent."""
    return {
        "AlarmName": name,
        "Metrics": ratio(name),
        "EvaluationPeriods": 1,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    } | changes


def test_watches_metric_math(cloud: Cloud, wait_for: Callable[..., Any]) -> None:
    """The expression's value is compared; Describe, the reason's data and the event show metrics as AWS does.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html and, for the event of an alarm on
    metric math, https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """
    sqs, events, client = cloud.client("sqs"), cloud.client("events"), cloud.client("cloudwatch")
    url = sqs.create_queue(QueueName="math")["QueueUrl"]
    allow(sqs, url, "arn:aws:sqs:us-east-1:000000000000:math", "events.amazonaws.com")
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": ["math"], "state": {"value": ["ALARM"]}}}
    events.put_rule(Name="math", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="math", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:math"}])
    client.put_metric_alarm(**math_alarm("math"))
    put_calls(cloud, "math", errors=1, calls=100)
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "math") == "OK"
    put_calls(cloud, "math", errors=6, calls=100)
    cloud.clock_jump(by=timedelta(minutes=1))
    found = client.describe_alarms(AlarmNames=["math"])["MetricAlarms"][0]
    assert (found["StateValue"], found["Metrics"]) == ("ALARM", ratio("math"))
    assert not {"MetricName", "Namespace", "Period", "Statistic"} & set(found)
    assert json.loads(found["StateReasonData"])["recentDatapoints"] == [6.0]
    (rate, errors, _) = wait_for(lambda: receive(sqs, url))["detail"]["configuration"]["metrics"]
    assert rate == {"id": "rate", "expression": ratio("")[0]["Expression"], "label": "error rate", "returnData": True}
    assert errors["metricStat"]["metric"]["name"] == "Errors"
    cloud.clock_jump(by=timedelta(hours=1))
    assert state(cloud, "math") == "OK"


def test_a_state_set_by_hand_holds_until_an_evaluation_gives_another(
    cloud: Cloud, wait_for: Callable[..., Any]
) -> None:
    """With missing data ignored it stays, else the next evaluation replaces it; both send an event to the bus.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
    """
    sqs, events, client = cloud.client("sqs"), cloud.client("events"), cloud.client("cloudwatch")
    url = sqs.create_queue(QueueName="by-hand")["QueueUrl"]
    allow(sqs, url, "arn:aws:sqs:us-east-1:000000000000:by-hand", "events.amazonaws.com")
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": ["by-hand"]}}
    events.put_rule(Name="by-hand", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="by-hand", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:by-hand"}])
    alarm(cloud, "by-hand", TreatMissingData="ignore")
    alarm(cloud, "by-hand-taken-back")
    for name in ("by-hand", "by-hand-taken-back"):
        client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="roll back now")
        assert state(cloud, name) == "ALARM"
    detail = wait_for(lambda: receive(sqs, url))["detail"]
    assert (detail["state"]["value"], detail["state"]["reason"]) == ("ALARM", "roll back now")
    assert "reasonData" not in detail["state"]
    cloud.clock_jump(by=timedelta(minutes=10))
    assert (state(cloud, "by-hand"), state(cloud, "by-hand-taken-back")) == ("ALARM", "OK")
    put(cloud, "by-hand", 0.0)
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "by-hand") == "OK"
    with pytest.raises(ClientError, match="StateValue must be one of ALARM, OK, INSUFFICIENT_DATA, got 'BAD'"):
        client.set_alarm_state(AlarmName="by-hand", StateValue="BAD", StateReason="-")


def test_watches_a_percentile(cloud: Cloud) -> None:
    """``ExtendedStatistic`` p99 of one minute's values."""
    alarm(cloud, "percentile", Statistic=None, ExtendedStatistic="p99", Threshold=98.0)
    named = [{"Name": "Endpoint", "Value": "percentile"}, {"Name": "Variant", "Value": "v"}]
    datum = {"MetricName": "Errors", "Dimensions": named, "Values": [float(value) for value in range(101)]}
    cloud.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=[datum])
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "percentile") == "ALARM"


def test_cloudformation_makes_alarms_on_metric_math(cloud: Cloud) -> None:
    """Numbers and booleans of a template may be strings; what PutMetricAlarm rejects fails the stack with its reason."""
    client = cloud.client("cloudformation")
    metrics = json.loads(json.dumps(ratio("math-stack")).replace("60", '"60"').replace("false", '"false"'))
    properties = math_alarm("math-stack", Metrics=metrics, Threshold="5")
    body = {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}}}
    client.create_stack(StackName="math-stack", TemplateBody=json.dumps(body))
    client.get_waiter("stack_create_complete").wait(StackName="math-stack", WaiterConfig={"Delay": 1})
    put_calls(cloud, "math-stack", errors=6, calls=100)
    cloud.clock_jump(by=timedelta(minutes=1))
    assert state(cloud, "math-stack") == "ALARM"
    properties["Metrics"][0]["Expression"] = "RATE(errors)"
    client.create_stack(StackName="math-bad", TemplateBody=json.dumps(body).replace("math-stack", "math-bad"))
    with pytest.raises(WaiterError):
        client.get_waiter("stack_create_complete").wait(StackName="math-bad", WaiterConfig={"Delay": 1})
    reasons = [
        row.get("ResourceStatusReason", "") for row in client.describe_stack_events(StackName="math-bad")["StackEvents"]
    ]
    assert any("function RATE in expression" in reason for reason in reasons)


def allow(sqs: Any, url: str, arn: str, service: str) -> None:
    """Let a service send to a queue."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def receive(sqs: Any, url: str) -> dict[str, Any] | None:
    """Take a message's body from a queue."""
    for message in sqs.receive_message(QueueUrl=url).get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        body: dict[str, Any] = json.loads(message["Body"])
        return body
    return None


def test_fails_on_a_suppressor_by_name(cloud: Cloud) -> None:
    """MiniStack would silently ignore it, and the composite alarm would notify when it must not.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
    """
    alarm(cloud, "suppressor")
    with pytest.raises(
        ClientError, match="ActionsSuppressor is not in the embedded cloud; put the condition into AlarmRule"
    ):
        cloud.client("cloudwatch").put_composite_alarm(
            AlarmName="suppressed",
            AlarmRule="ALARM(suppressor)",
            ActionsSuppressor="suppressor",
            ActionsSuppressorWaitPeriod=60,
            ActionsSuppressorExtensionPeriod=60,
        )
