"""Alarms of an API, and findings, each acknowledged at its own resource only."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.constructs.inference_api.test_inference_api import pool

from mlops_constructs import Access, Profile
from mlops_constructs.compliance.harness import check


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


@pytest.mark.parametrize("profile", Profile)
def test_checkers_find_nothing(profile: Profile, make_door: Callable[..., Any]) -> None:
    """Has no open finding with any kind of caller that the profile allows."""
    door = make_door("checked", profile=profile)
    made = door.api_with_model(access=Access.both(pool(door), scope="models/predict"))
    made.add_plan("partners", rate=20, burst=40)
    if profile is Profile.DEVELOPMENT:
        keyed = door.api("Keyed", access=Access.keys())
        keyed.add_model("forecast", door.endpoint, request=door.request, max_rate=1)
        keyed.add_plan("trials", rate=1, burst=1)

    evidence = check(door.app)

    assert [problem for problem in evidence.problems if "/Api" in problem or "/Keyed" in problem] == []


def test_only_keys_leave_a_method_without_authorization(make_door: Callable[..., Any]) -> None:
    """A method with IAM authorization acknowledges only the missing user pool."""
    door = make_door("keyed", profile=Profile.DEVELOPMENT)
    door.api_with_model()
    keyed = door.api("Keyed", access=Access.keys())
    keyed.add_model("forecast", door.endpoint, request=door.request, max_rate=1)
    keyed.add_plan("trials", rate=1, burst=1)

    (stack,) = check(door.app).stacks
    found = {
        (rule.path.split("/")[1], rule.rule.rpartition("-")[2])
        for rule in stack.acknowledgements
        if rule.path.endswith("predictions/POST/Resource") or rule.path.endswith("predictions/POST")
    }
    assert found == {("Api", "COG4"), ("Keyed", "APIG4"), ("Keyed", "COG4")}
