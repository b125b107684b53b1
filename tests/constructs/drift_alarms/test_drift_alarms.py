"""Drift alarms in a template."""

import json
import re
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Annotations, Match

from mlops_constructs import (
    DriftAlarms,
    ExpectedTraffic,
    ModelImage,
    MonitorEngine,
    Severity,
    ValidationError,
)
from mlops_constructs._warnings import NO_HEARTBEAT_ALARM, NO_TRAFFIC_ALARM
from mlops_runtime.monitor.spec import MonitorSpec

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
HEARTBEATS = {"AlarmsHeartbeat", "AlarmsTraffic"}


def _children(made: Any) -> dict[str, dict[str, Any]]:
    """Return the construct's alarms, by logical id without its hash."""
    found = made.resources("AWS::CloudWatch::Alarm").items()
    return {name[:-8]: alarm for name, alarm in found if name.startswith("Alarms")}


def _composite(made: Any, part: str) -> dict[str, Any]:
    composite: dict[str, Any] = made.one("AWS::CloudWatch::CompositeAlarm", f"Alarms{part}")
    return composite


def _named(made: Any, rule: Any) -> set[str]:
    """Return the alarms that a rule references."""
    return {part["Fn::GetAtt"][0][:-8] for part in rule["Fn::Join"][1] if isinstance(part, dict)}


def _warns(made: Any, warning: str) -> bool:
    """Return whether the alarms add a warning at synthesis."""
    pattern = Match.string_like_regexp(f".*{warning}.*")
    return bool(Annotations.from_stack(made.stack).find_warning("/Demand/Alarms", pattern))


@pytest.fixture(scope="module")
def everything(define_once: Callable[..., Any]) -> Any:
    """All alarms, and separate topics for on-call staff."""
    return define_once(
        monitor={
            "spec": MonitorSpec(alarm_features=("price",), quality_limits={"rmse": 12}, estimate_limits={"wape": 0.4}),
            "engine": MonitorEngine.processing(image=IMAGE, attribution_rows=100),
        },
        alarms={
            "max_psi": {"price": 0.25},
            "expected_traffic": ExpectedTraffic(start=7, end=20, max_silence=cdk.Duration.hours(3)),
            "severities": dict.fromkeys(("suspect", "labels", "explainability"), Severity.CRITICAL),
        },
    )


@pytest.mark.parametrize(
    ("name", "missing", "rule"),
    [
        ("AlarmsSuspect", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsFeatures", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsBaseline", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsQuality", "ignore", (1.25, "GreaterThanThreshold", 1)),
        ("AlarmsBias", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsLatency", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsLabels", "ignore", (360, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsCapture", "ignore", (3, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsUnannounced", "ignore", (1, "GreaterThanOrEqualToThreshold", 1)),
        ("AlarmsHeartbeat", "breaching", (1, "LessThanThreshold", 48)),
    ],
)
def test_what_each_alarm_watches(demand: Any, name: str, missing: str, rule: tuple[float, str, int]):
    """Alarms keep their state between two runs; a silent monitor alarms after two runs."""
    alarm = _children(demand)[name]
    assert alarm["TreatMissingData"] == missing
    assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["EvaluationPeriods"]) == rule
    assert "AlarmActions" not in alarm


def test_missing_data_breach_only_for_heartbeats(everything: Any):
    """Only two alarms treat missing data as breaching: the monitor's heartbeat, and calls at expected hours."""
    missing = {name: alarm["TreatMissingData"] for name, alarm in _children(everything).items()}
    assert {name for name, treated in missing.items() if treated == "breaching"} == HEARTBEATS
    assert {missing[name] for name in set(missing) - HEARTBEATS} == {"ignore"}
    assert set(everything.alarms.alarms) == {
        "suspect", "features", "baseline", "explainability", "quality", "limits", "estimates", "bias", "latency", "labels",
        "capture", "unannounced", "heartbeat", "traffic", "psi/price",
    }  # fmt: skip


def test_estimates_alarm_only_where_limits_ask_for_it(demand: Any, everything: Any):
    """Estimates raise a warning that starts no retraining; without limits there is no alarm and no metric."""
    assert "estimates" not in demand.alarms.alarms
    alarm = _children(everything)["AlarmsEstimates"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["TreatMissingData"]) == (
        "EstimatesBeyondLimits",
        1,
        "ignore",
    )
    assert (
        "demand-forecast: warning: an estimate made before labels arrive is worse than its limit (wape 0.4)"
        in (alarm["AlarmDescription"])
    )
    assert len(alarm["AlarmDescription"]) <= 1024
    assert "AlarmsEstimates" in _named(everything, _composite(everything, "Warning")["AlarmRule"])


def test_each_description_says_what_happened_and_what_to_do(demand: Any):
    """Descriptions have endpoint, severity and event, then the fix after a semicolon, within CloudWatch's 1,024 characters."""
    for alarm in _children(demand).values():
        text = alarm["AlarmDescription"]
        endpoint, severity, rest = text.split(": ", 2)
        assert (endpoint, severity in {"critical", "warning"}) == ("demand-forecast", True)
        assert "; " in rest
        assert len(text) <= 1024


def test_one_alarm_an_endpoint_above_two_that_tell_people(demand: Any):
    """Persistent drift, quality, bias, latency, a changed baseline and silence are critical and suppress warnings."""
    critical, warning, endpoint = (_composite(demand, part) for part in ("Critical", "Warning", "Endpoint"))
    assert _named(demand, critical["AlarmRule"]) == {
        f"Alarms{name}"
        for name in (
            "Features",
            "Baseline",
            "Quality",
            "Limits",
            "Bias",
            "Latency",
            "Capture",
            "Unannounced",
            "Heartbeat",
        )
    }
    assert _named(demand, warning["AlarmRule"]) == {"AlarmsSuspect", "AlarmsLabels", "AlarmsCritical"}
    assert "AND (NOT (ALARM(" in json.dumps(warning["AlarmRule"])
    assert _named(demand, endpoint["AlarmRule"]) == {"AlarmsCritical", "AlarmsWarning"}
    assert len(critical["AlarmActions"]) == len(warning["AlarmActions"]) == 1
    assert "AlarmActions" not in endpoint


def test_severities_can_differ(everything: Any):
    """Description and composite alarm follow the severity."""
    critical, warning = (_composite(everything, part) for part in ("Critical", "Warning"))
    assert {"AlarmsSuspect", "AlarmsLabels", "AlarmsTraffic"} < _named(everything, critical["AlarmRule"])
    assert _named(everything, warning["AlarmRule"]) == {"AlarmsEstimates", "AlarmsPsiprice", "AlarmsCritical"}
    assert _children(everything)["AlarmsSuspect"]["AlarmDescription"].startswith("demand-forecast: critical: ")


def test_without_anything_to_warn_of_there_is_no_such_alarm(demand: Any, define: Callable[..., Any]):
    """A topic of the caller receives the rest."""
    severities = {"suspect": Severity.CRITICAL, "labels": Severity.CRITICAL}
    made = define(alarms={"severities": severities})
    assert set(made.alarms.composites) == {Severity.CRITICAL}
    assert _named(made, _composite(made, "Endpoint")["AlarmRule"]) == {"AlarmsCritical"}
    assert demand.alarms.monitor is demand.monitor


def test_a_topic_of_the_callers_hears_of_its_severity(define: Callable[..., Any]):
    """The topic policy names the composite alarm; rules have no condition, as EventBridge sends no source."""
    made = define()
    pager = sns.Topic(made.stack, "Pager", master_key=made.unit.key, enforce_ssl=True)
    DriftAlarms(made.stack, "Paged", monitor=made.monitor, critical_topic=pager)
    critical, warning = (
        made.one("AWS::CloudWatch::CompositeAlarm", f"Paged{part}") for part in ("Critical", "Warning")
    )
    statements = made.one("AWS::SNS::TopicPolicy", "Pager")["PolicyDocument"]["Statement"]
    by_service = {s["Principal"]["Service"]: s for s in statements if s["Effect"] == "Allow"}
    alarm = by_service["cloudwatch.amazonaws.com"]["Condition"]["ArnLike"]["aws:SourceArn"]

    assert critical["AlarmActions"] == [made.stack.resolve(pager.topic_arn)]
    assert warning["AlarmActions"] == [made.stack.resolve(made.unit.topic.topic_arn)]
    assert alarm["Fn::GetAtt"][0][:-8] == "PagedCritical"
    assert set(by_service) == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    assert "Condition" not in by_service["events.amazonaws.com"]
    assert by_service["events.amazonaws.com"]["Resource"] == made.stack.resolve(pager.topic_arn)


def test_retraining_is_asked_for_by_drift_and_quality(demand: Any):
    """The guard receives both child alarms, not the composite, and reads each again."""
    pattern = demand.one("AWS::Events::Rule", "RetrainingAlarms")["EventPattern"]
    assert {name["Ref"][:-8] for name in pattern["detail"]["alarmName"]} == {"AlarmsFeatures", "AlarmsQuality"}


def test_people_are_told_in_words(demand: Any):
    """The rule matches the unit's event of this endpoint with a problem, and formats three lines."""
    rule = demand.one("AWS::Events::Rule", "AlarmsReported")
    pattern = rule["EventPattern"]
    assert (pattern["source"], pattern["detail-type"]) == (["mlops.demand"], ["MLOps Monitor Reported"])
    assert pattern["detail"] == {
        "subject": ["demand-forecast"],
        "outcome": ["VIOLATION", "NO_CAPTURE", "MONITOR_NOT_RUN", "BASELINE_OLDER_THAN_MODEL"],
    }
    (target,) = rule["Targets"]
    template = target["InputTransformer"]["InputTemplate"]
    assert template.splitlines() == [
        '"<detail-reason>"',
        '"What to do: <detail-attributes-advice>"',
        '"Report: <detail-attributes-report_uri>"',
    ]
    assert target["DeadLetterConfig"]


def test_chats_get_the_notification_of_the_event(define: Callable[..., Any]):
    """Chats use a topic of their own with the original event: a rule target has one format for all subscribers."""
    made = define()
    chats = sns.Topic(made.stack, "Chats", master_key=made.unit.key, enforce_ssl=True)
    DriftAlarms(made.stack, "Chatty", monitor=made.monitor, chat_topic=chats)
    rule = made.one("AWS::Events::Rule", "ChattyChat")
    assert rule["EventPattern"]["detail"] == made.one("AWS::Events::Rule", "ChattyReported")["EventPattern"]["detail"]
    (target,) = rule["Targets"]
    assert (target["InputPath"], target["Arn"]) == ("$.detail.notification", made.stack.resolve(chats.topic_arn))
    statements = made.one("AWS::SNS::TopicPolicy", "Chats")["PolicyDocument"]["Statement"]
    assert [s["Sid"] for s in statements if "events.amazonaws.com" in str(s)] == ["Rules"]


def test_messages_lead_to_the_page_of_the_model(define: Callable[..., Any]):
    """Mail, chat and composite alarms link to the model's page in the console; the notification keeps its format."""
    made = define()
    chats = sns.Topic(made.stack, "Chats", master_key=made.unit.key, enforce_ssl=True)
    DriftAlarms(made.stack, "Linked", monitor=made.monitor, chat_topic=chats, console_url="https://models.example.com/")
    page = "https://models.example.com/#/units/demand/endpoints/demand-forecast"
    (mail,), (chat,) = (made.one("AWS::Events::Rule", name)["Targets"] for name in ("LinkedReported", "LinkedChat"))

    assert mail["InputTransformer"]["InputTemplate"].splitlines()[-1] == f'"Console: {page}"'
    assert json.loads(re.sub(r"(?<!\")(<[\w-]+>)(?!\")", r'"\1"', chat["InputTransformer"]["InputTemplate"])) == {
        "version": "1.0",
        "source": "custom",
        "id": "<detail-notification-id>",
        "content": {
            "textType": "<detail-notification-content-textType>",
            "title": "<detail-notification-content-title>",
            "description": "<detail-notification-content-description>",
            "nextSteps": "<detail-notification-content-nextSteps>",
            "keywords": ["<detail-subject>", "<detail-outcome>", page],
        },
        "metadata": "<detail-notification-metadata>",
    }
    for severity in ("Critical", "Warning"):
        described = made.one("AWS::CloudWatch::CompositeAlarm", f"Linked{severity}")["AlarmDescription"]
        assert described.endswith(f"; its page: {page}")


def test_a_topic_of_people_is_none_of_chats(define: Callable[..., Any]):
    """Rejects one topic for both, as mail would show JSON."""
    made = define()
    with pytest.raises(ValidationError, match="chat_topic must differ from the unit's topic"):
        DriftAlarms(made.stack, "Chatty", monitor=made.monitor, chat_topic=made.unit.topic)


def test_without_hours_of_calls_a_report_of_none_is_a_warning(demand: Any, everything: Any, define: Callable[..., Any]):
    """Applies to daily runs and longer; shorter intervals see silence each night, and warn at synthesis."""
    made = define()
    people = sns.Topic(made.stack, "People", master_key=made.unit.key, enforce_ssl=True)
    DriftAlarms(made.stack, "Warned", monitor=made.monitor, warning_topic=people)
    rule = made.one("AWS::Events::Rule", "WarnedSilent")
    assert rule["EventPattern"]["detail"] == {"subject": ["demand-forecast"], "outcome": ["NO_TRAFFIC"]}
    assert rule["Targets"][0]["Arn"] == made.stack.resolve(people.topic_arn)
    people_policy = made.one("AWS::SNS::TopicPolicy", "People")["PolicyDocument"]["Statement"]
    assert [s["Sid"] for s in people_policy if "events.amazonaws.com" in str(s)] == ["Rules"]

    assert not any("Silent" in name for name in everything.template["Resources"])
    assert not _warns(demand, NO_TRAFFIC_ALARM.id)


def test_who_looks_oftener_than_daily_is_told_to_name_the_hours_of_calls(define: Callable[..., Any]):
    """Otherwise no alarm would report a feed that stops."""
    made = define(monitor={"interval": cdk.Duration.hours(6)})
    assert _warns(made, NO_TRAFFIC_ALARM.id)
    assert not any("Silent" in name for name in made.template["Resources"])


def test_a_weekly_monitor_gets_no_heartbeat_alarm_and_says_so(define: Callable[..., Any]):
    """CloudWatch cannot evaluate two weeks; the warning names the alternative."""
    made = define(monitor={"interval": cdk.Duration.days(7)})
    assert "heartbeat" not in made.alarms.alarms
    assert _warns(made, NO_HEARTBEAT_ALARM.id)


def test_calls_are_missed_only_when_some_are_expected(everything: Any):
    """At other hours the expression is 1; with all hours of all days it is omitted."""
    traffic = _children(everything)["AlarmsTraffic"]
    expression, calls = traffic["Metrics"]
    assert (
        expression["Expression"] == "IF((HOUR(TIME_SERIES(1)) >= 7 AND HOUR(TIME_SERIES(1)) < 20), FILL(calls, 0), 1)"
    )
    assert calls["MetricStat"]["Metric"]["MetricName"] == "Invocations"
    assert (traffic["EvaluationPeriods"], traffic["TreatMissingData"]) == (3, "breaching")


def test_the_price_is_told(demand: Any):
    """The price includes metrics, alarms, composite alarms and the dashboard, by AWS's price list."""
    Annotations.from_stack(demand.stack).has_info(
        "/Demand/Alarms",
        Match.string_like_regexp(
            r"watching demand-forecast costs about 14\.40 USD a month: 29 metrics at 0\.30, 12 alarms at 0\.10, "
            r"3 composite alarms at 0\.50, 1 dashboard at 3\.00, .*"
        ),
    )


def test_the_limit_of_quality_can_be_given(define: Callable[..., Any]):
    """A larger ratio replaces the monitor's: retraining then starts later than the report's violation."""
    assert define(alarms={"max_wape_ratio": 1.5}).one("AWS::CloudWatch::Alarm", "AlarmsQuality")["Threshold"] == 1.5


def test_the_limit_of_quality_is_the_reports_unless_another_is_given(define: Callable[..., Any]):
    """Report and alarm agree about the same WAPE, however large the monitor's limit."""
    made = define(monitor={"spec": MonitorSpec(maximum_wape_ratio=150)})
    assert made.one("AWS::CloudWatch::Alarm", "AlarmsQuality")["Threshold"] == 150


def test_where_one_window_is_drift_nobody_is_told_to_wait(demand: Any, define: Callable[..., Any]):
    """Waiting for another window is advised only with two of three windows."""
    made = define(monitor={"spec": MonitorSpec(alarm_windows=1, of_windows=1)})
    alone, more = (_children(each)["AlarmsSuspect"]["AlarmDescription"] for each in (made, demand))
    assert "; one window is enough for drift, so the alarm Features fires as well: the newest report" in alone
    assert (
        "wait for the next window, since drift needs 2 of 3, or check now: the newest report names the feature" in more
    )


def test_the_unit_is_the_monitors(demand: Any):
    """Alarms have the tags of the monitor's unit."""
    tags = {"Key": "mlops:unit", "Value": demand.monitor.business_unit.name}
    composites = demand.resources("AWS::CloudWatch::CompositeAlarm").values()
    assert composites and all(tags in each["Tags"] for each in composites)


@pytest.fixture(scope="module")
def watched(define_once: Callable[..., Any]) -> Any:
    """A unit for invalid alarm arguments; it is never synthesized."""
    return define_once()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_wape_ratio": 0.9}, r"max_wape_ratio must be from 1 to 100, got 0.9"),
        (
            {"max_wape_ratio": 1.1},
            r"max_wape_ratio must be at least the monitor's maximum_wape_ratio, 1.25, got 1.1: it would fire while the "
            r"report's outcome is OK; remove it, or set the smaller value by MonitorSpec\(maximum_wape_ratio=...\)",
        ),
        (
            {"severities": {"drift": Severity.WARNING}},
            r"severities must contain names of alarms \(suspect, features, .*\), got 'drift'",
        ),
        (
            {"console_url": "models.example.com/#/"},
            "console_url must be a URL such as https://models.example.com, without a query or a #, got 'models.",
        ),
        (
            {"max_psi": {"price": 0.2}},
            r"max_psi must contain features of the spec's alarm_features \(none\), got 'price'",
        ),
        (
            {"severities": {"bias": "warning", "latency": None}, "expected_traffic": "always", "max_wape_ratio": "2"},
            r"severities must be a mapping of strings to Severity.WARNING or Severity.CRITICAL, or left out, got .*"
            r"'warning'.*; expected_traffic must be an? ExpectedTraffic.*, got 'always'; "
            r"max_wape_ratio must be a finite number, .*, got '2'",
        ),
        (
            {"severities": ["bias"], "max_psi": 0.2},
            r"severities must be a mapping of .*, got \['bias'\]; "
            r"max_psi must be a mapping of strings to finite numbers, .*, got 0.2",
        ),
    ],
)
def test_fails_when_it_cannot_be(watched: Any, arguments: dict[str, Any], message: str):
    """Rejects a limit that always alarms, an unknown alarm and a feature without a metric."""
    with pytest.raises(ValidationError, match=message):
        DriftAlarms(
            watched.stack,
            f"Wrong{len(watched.stack.node.children)}",
            monitor=watched.monitor,
            retraining=watched.retraining,
            **arguments,
        )


def test_it_shows_alarms_drift_quality_and_silence(demand: Any) -> None:
    """Alarms are at the top; every widget shows the endpoint."""
    (dashboard,) = demand.resources("AWS::CloudWatch::Dashboard").values()
    parts = dashboard["DashboardBody"]["Fn::Join"][1]
    body = json.loads("".join(part if isinstance(part, str) else "TOKEN" for part in parts))
    titles = [widget["properties"]["title"] for widget in body["widgets"]]

    assert body["widgets"][0]["type"] == "alarm"
    assert titles == [
        "Alarms of demand-forecast",
        "demand-forecast: drift",
        "demand-forecast: quality",
        "demand-forecast: calls",
        "Bias and explainability",
        "Latency over that of the weeks before",
        "Silence",
    ]
