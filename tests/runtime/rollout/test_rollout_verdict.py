"""The function that compares fleets: its reads, stored objects, alarms and results."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.runtime.rollout.test_fleet_minutes import MINUTE, SINCE, START, CloudWatch, fleet

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.rollout.evidence_requests import VerdictRequest
from mlops_runtime.rollout.probation_share import ShareRequest
from mlops_runtime.rollout.rollout_verdict import VerdictFunction

FLEET = "demand-forecast-4588cf62"
ALARM = "demand-forecast-rollout-4588cf62-verdict"


class Account(CloudWatch):
    """CloudWatch and S3 in one; records requests."""

    def __init__(self, *, is_deleted: str = "", **series: Any) -> None:
        super().__init__(
            **{name: {START + at * MINUTE: value for at, value in found.items()} for name, found in series.items()}
        )
        self.is_deleted, self.set, self.published, self.objects = is_deleted, [], [], {}

    def set_alarm_state(self, **request: Any) -> None:
        """Fail if the alarm is missing."""
        if self.is_deleted:
            raise ClientError({"Error": {"Code": self.is_deleted, "Message": "no"}}, "SetAlarmState")
        self.set.append(request)

    def put_metric_data(self, **request: Any) -> None:
        """Record a value."""
        self.published.append(request)

    def put_object(self, **request: Any) -> None:
        """Record an object."""
        self.objects[(request["Bucket"], request["Key"])] = request["Body"]


def request(**changes: Any) -> VerdictRequest:
    """Return the request of a plan as the machine passes it."""
    requested = VerdictRequest(
        endpoint="demand-forecast",
        fleet=FLEET,
        since=SINCE.isoformat(),
        new=fleet("new"),
        old=fleet("old"),
        false_alarm=0.01,
        tolerated=0.0005,
        **changes,
    )
    return from_dict(VerdictRequest, json.loads(json.dumps(to_dict(requested))))


def ask(account: Account, minutes: int = 3, **changes: Any) -> Any:
    """Invoke the function the given minutes after the start."""
    function: Any = VerdictFunction(cloudwatch=account, s3=account, bucket="artifacts")  # type: ignore[arg-type]
    return function.answer(request(**changes), now=START + minutes * MINUTE)


def each(value: float) -> dict[int, float]:
    """Return a series of three minutes."""
    return dict.fromkeys(range(3), value)


BAD = {
    "Errors_new_SampleCount": each(600.0),
    "Errors_new_Sum": each(9.0),
    "Errors_old_SampleCount": each(5400.0),
    "Errors_old_Sum": each(8.0),
}


def test_a_bad_fleet_puts_the_alarm_into_alarm_in_both_ways() -> None:
    """At once by its state, and while it is evaluated by a value of its metric."""
    account = Account(**BAD)
    found = ask(account)
    assert (found.action, found.calls, found.minutes) == ("stop", 1773, 3)
    reason = f"stopped {found.sentence}"
    assert account.set == [{"AlarmName": ALARM, "StateValue": "ALARM", "StateReason": reason}]
    (published,) = account.published
    assert published["Namespace"] == "MLOps/Rollout"
    (value,) = published["MetricData"]
    assert (value["MetricName"], value["Value"], value["Timestamp"]) == ("RolloutVerdict", 1.0, START + 3 * MINUTE)
    assert value["Dimensions"] == [
        {"Name": "EndpointName", "Value": "demand-forecast"},
        {"Name": "EndpointConfigName", "Value": FLEET},
    ]


def test_a_shadow_sets_no_alarm() -> None:
    """There is none: the machine reads the result after the bake."""
    account = Account(**BAD)
    assert ask(account, has_alarm=False).action == "stop"
    assert (account.set, account.published) == ([], [])


def test_a_good_fleet_touches_no_alarm() -> None:
    """No state is set and no value published."""
    account = Account(**{**BAD, "Errors_new_Sum": each(1.0)})
    assert ask(account).action in ("continue", "enough")
    assert (account.set, account.published) == ([], [])


def test_what_was_compared_can_be_read_again() -> None:
    """The result has the object's hash, and its minutes add up to the sentence."""
    account = Account(**BAD)
    found = ask(account)
    body = account.objects[("artifacts", f"verdicts/demand-forecast/{FLEET}.json")]
    assert found.minutes_uri == f"s3://artifacts/verdicts/demand-forecast/{FLEET}.json"
    assert found.minutes_sha256 == hashlib.sha256(body).hexdigest()
    kept = json.loads(body)
    minutes = kept["compared"][0]["minutes"]
    failed, calls = (sum(minute["new"][name] for minute in minutes) for name in ("failed", "calls"))
    assert f"{failed} of {calls:,} answers failed" in found.sentence
    assert kept["format"] == "mlops.verdict/1"


def test_the_same_minutes_give_the_same_answer_later() -> None:
    """Without state, a repeated call, or one after a failure, returns the same."""
    account = Account(**BAD)
    assert ask(account) == ask(account)


def test_an_alarm_that_was_deleted_by_hand_does_not_keep_the_answer_back() -> None:
    """The machine still stops the rollout itself; any other error is raised."""
    assert ask(Account(is_deleted="ResourceNotFound", **BAD)).action == "stop"
    with pytest.raises(ClientError):
        ask(Account(is_deleted="AccessDenied", **BAD))


def test_what_cannot_be_kept_does_not_keep_the_rollout() -> None:
    """The alarm is set first; the next poll writes the minutes."""

    class Full(Account):
        def put_object(self, **request: Any) -> None:
            del request
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "PutObject")

    account = Full(**BAD)
    with pytest.raises(ClientError, match="SlowDown"):
        ask(account)
    assert [each["StateValue"] for each in account.set] == ["ALARM"]


def test_latency_without_a_history_is_said_to_be_left_out() -> None:
    """Otherwise the record would suggest that it was compared."""
    reported = ask(Account(**BAD), max_latency_ratio=1.5).sentence
    assert reported.endswith("; slow answers were not compared, as the live model had no calls before")
    assert "slow answers" not in ask(Account(**BAD)).sentence


def test_slow_answers_stop_a_fleet_where_latency_is_compared() -> None:
    """Two limits, the old fleet's 99th percentile and median, share half of the false alarms."""

    def five(value: float) -> dict[int, float]:
        return dict.fromkeys(range(5), value)

    slow = {
        "Errors_new_SampleCount": five(600.0),
        "Errors_old_SampleCount": five(5400.0),
        "Latency_new_SampleCount": five(600.0),
        "Latency_new_PR(:180000.000000)": five(70.0),
        "Latency_new_PR(:75000.000000)": five(50.0),
        "Latency_old_SampleCount": {-60: 5400.0, **five(5400.0)},
        "Latency_old_p99": {-60: 120000.0},
        "Latency_old_p50": {-60: 50000.0},
        "Latency_old_PR(:120000.000000)": five(99.0),
        "Latency_old_PR(:50000.000000)": five(50.0),
    }
    found = ask(Account(**slow), 5, max_latency_ratio=1.5)
    assert found.action == "stop"
    assert (
        "answers took longer than 180 ms against 216 of 21,600 of the live model longer than 120 ms" in found.sentence
    )
    assert ask(Account(**slow), 5).action != "stop"


def test_a_live_model_that_fails_at_once_makes_no_successor_slow() -> None:
    """Its failed responses are fast, so latency is left out, and the record's sentence reports it."""
    account = Account(**{**BAD, "Errors_new_Sum": each(0.0), "Errors_old_Sum": each(2700.0)})
    found = ask(account, max_latency_ratio=1.5)
    assert found.action != "stop"
    assert found.sentence.endswith("; latency was not compared, as 8,100 of 16,200 answers of the live model failed")


def test_a_request_may_be_older_than_its_minutes() -> None:
    """Without calls there is no claim."""
    found = ask(Account(), minutes=int(timedelta(hours=1) / MINUTE))
    assert (found.action, found.calls, found.minutes) == ("continue", 0, 0)


def test_what_a_model_may_fail_on_during_its_probation_is_asked_apart() -> None:
    """Once, at its promotion; the result is the part of a verdict for the record."""
    account = Account(Errors_old_SampleCount=each(5400.0), Errors_old_Sum=each(270.0))
    function: Any = VerdictFunction(cloudwatch=account, s3=account, bucket="artifacts")  # type: ignore[arg-type]
    requested = ShareRequest(since=SINCE.isoformat(), before=fleet("variant"), tolerated=0.001, old=fleet("old"))
    requested = from_dict(ShareRequest, json.loads(json.dumps(to_dict(requested))))
    assert function.share(requested, now=START + 3 * MINUTE) == {"allowed_share": pytest.approx(0.102, abs=1e-3)}
    assert account.objects == {}
