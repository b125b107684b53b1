"""The alarms of an API in a template."""

from typing import Any


def test_alarms_tell_the_unit(signed: Any) -> None:
    """Alarms cover late responses, which only the access log shows, and failures."""
    alarms = {name[:-8]: each for name, each in signed.resources("AWS::CloudWatch::Alarm").items() if "Api" in name}

    assert sorted(alarms) == ["ApiErrorsAlarm", "ApiLateAlarm"]
    assert all(alarm["AlarmActions"] for alarm in alarms.values())
    (late,) = signed.resources("AWS::Logs::MetricFilter").values()
    assert late["FilterPattern"] == "{ $.status = 504 }"


def test_late_answers_are_counted_where_the_alarm_reads(signed: Any) -> None:
    """API Gateway has no such metric: the access log's metric filter and the alarm name the same one."""
    (late,) = signed.resources("AWS::Logs::MetricFilter").values()
    (counted,) = late["MetricTransformations"]
    (alarm,) = (each for name, each in signed.resources("AWS::CloudWatch::Alarm").items() if "ApiLateAlarm" in name)

    assert (alarm["Namespace"], alarm["MetricName"]) == (counted["MetricNamespace"], counted["MetricName"])
    assert (alarm["Threshold"], alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (5, 2, 3)


def test_a_few_failures_of_many_calls_are_no_alarm(signed: Any) -> None:
    """Both metrics are limited to this API and its stage."""
    (alarm,) = (each for name, each in signed.resources("AWS::CloudWatch::Alarm").items() if "ApiErrorsAlarm" in name)
    metrics = {each["Id"]: each for each in alarm["Metrics"]}

    (often,) = (each["Expression"] for each in metrics.values() if "Expression" in each)
    assert often == "IF(errors >= 5 AND errors > 0.01 * calls, 1, 0)"
    for name in ("errors", "calls"):
        dimensions = metrics[name]["MetricStat"]["Metric"]["Dimensions"]
        assert {each["Name"]: each["Value"] for each in dimensions} == {
            "ApiName": "demand-predictions",
            "Stage": "live",
        }
