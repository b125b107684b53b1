"""Offers that start the Promote machine, once each, and ignored events."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.released import SOURCE, release

from mlops_runtime.lambda_protocol import Message
from mlops_runtime.promotion.promotion_guard import IgnoredOfferError, OfferGuard, OfferSettings, offered

NOW = datetime(2017, 8, 1, 9, 1, tzinfo=UTC)
RULE = "arn:aws:events:eu-west-1:222222222222:rule/recheck"
SETTINGS = OfferSettings(
    machine_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:Promote",
    unit="demand",
    group="demand-forecast",
    source=SOURCE,
    recheck_rule=RULE,
    max_wait=timedelta(hours=6),
)
ONE = release()
TICK = {**ONE.event(), "source": "aws.events", "resources": [RULE], "detail": {}}


def _handle(place: Any, event: object) -> list[str]:
    guard = OfferGuard(stepfunctions=place.stepfunctions, table=place.table, settings=SETTINGS)
    return guard.handle(Message(id="m", body=json.dumps(event), sent=NOW))


def _detail(**changes: Any) -> dict[str, Any]:
    return {"detail": {**ONE.event()["detail"], **changes}}


def test_an_offer_names_a_record() -> None:
    """By location and hash; the schedule's event names none."""
    assert offered(json.dumps(ONE.event()), settings=SETTINGS, now=NOW) == (ONE.uri, ONE.sha256)
    assert offered(json.dumps(TICK), settings=SETTINGS, now=NOW) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"account": "333333333333"}, "account is '333333333333', not '111111111111'"),
        ({"region": "us-east-1"}, "region is 'us-east-1'"),
        ({"source": "mlops.pricing"}, "source is 'mlops.pricing', not 'mlops.demand'"),
        ({"source": "aws.events", "resources": ["arn:other"]}, "source is 'aws.events'"),
        ({"detail-type": "MLOps Rollout Finished"}, "detail type is 'MLOps Rollout Finished'"),
        (_detail(subject="demand-returns"), "group is 'demand-returns'"),
        (_detail(outcome="REFUSED"), "outcome is 'REFUSED'"),
        (_detail(attributes={}), "is not a release record of demand-forecast"),
        (
            _detail(
                attributes={
                    "record_uri": ONE.uri.replace("demand-forecast", "demand-returns"),
                    "record_sha256": ONE.sha256,
                }
            ),
            "is not a release record of demand-forecast",
        ),
        (_detail(attributes={"record_uri": ONE.uri, "record_sha256": "x"}), "is not a release record"),
        ({"time": "2017-07-31T07:00:00Z"}, "event of 2017-07-31"),
        ({"time": "2017-08-01T09:10:00Z"}, "event of 2017-08-01T09:10"),
        ({"id": "white space"}, "the event's id"),
        ({"detail": {"id": 1}}, "id"),
    ],
)
def test_everything_else_offers_nothing(changes: dict[str, Any], named: str) -> None:
    """Of another account, Region, unit, group or time, or malformed."""
    with pytest.raises(IgnoredOfferError) as error:
        offered(json.dumps({**ONE.event(), **changes}), settings=SETTINGS, now=NOW)
    assert named in str(error.value)


def test_a_long_message_is_not_read() -> None:
    """EventBridge events are shorter."""
    with pytest.raises(IgnoredOfferError, match="at most"):
        offered("x" * 300_000, settings=SETTINGS, now=NOW)


def test_an_offer_starts_one_execution(place: Any) -> None:
    """With the offered record; repeated and other events start none."""
    (arn,) = _handle(place, ONE.event())
    assert _handle(place, ONE.event(id="two")) == [arn]
    assert _handle(place, ONE.event(account="333333333333")) == []
    started = place.stepfunctions.list_executions(stateMachineArn=SETTINGS.machine_arn)["executions"]
    assert [each["executionArn"] for each in started] == [arn]
    described = place.stepfunctions.describe_execution(executionArn=arn)
    assert json.loads(described["input"]) == {"record_uri": ONE.uri, "record_sha256": ONE.sha256}


def test_what_was_not_decided_on_is_asked_for_again(place: Any) -> None:
    """Not while its execution runs; a final rejection or a taken offer stays, also for a repeated event."""
    (first,) = _handle(place, ONE.event())
    assert _handle(place, TICK) == []
    place.stepfunctions.stop_execution(executionArn=first)
    (second,) = _handle(place, TICK)
    assert second.removesuffix("-2") == first.removesuffix("-1")
    place.stepfunctions.stop_execution(executionArn=second)
    place.table.decide(ONE.sha256, state="REFUSED", reason="no image", package="", may_pass=True, at="x")
    (third,) = _handle(place, TICK)
    place.stepfunctions.stop_execution(executionArn=third)
    place.table.decide(ONE.sha256, state="REFUSED", reason="other unit", package="", may_pass=False, at="x")
    assert _handle(place, TICK) == []
    assert _handle(place, ONE.event()) == []


def test_an_offer_whose_execution_was_never_started_is_started(place: Any) -> None:
    """The guard may die between the two steps."""
    place.table.offer(ONE.uri, ONE.sha256, "2017-08-01T09:00:00Z")
    assert len(_handle(place, TICK)) == 1


def _published(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines logged in the embedded metric format."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("offered_at", "decided", "overdue"),
    [
        ("2017-08-01T03:00:59Z", None, 1),
        ("2017-08-01T03:01:00Z", None, 0),
        ("2017-08-01T03:00:59Z", ("FAILED", False), 1),
        ("2017-08-01T03:00:59Z", ("REFUSED", True), 1),
        ("2017-08-01T03:00:59Z", ("REFUSED", False), 0),
        ("2017-08-01T03:00:59Z", ("REGISTERED", False), 0),
    ],
)
def test_each_check_publishes_how_many_offers_are_overdue(
    place: Any, capsys: pytest.CaptureFixture[str], offered_at: str, decided: tuple[Any, bool] | None, overdue: int
) -> None:
    """Counted in hours since the first offer, whatever the retries; also 0, since silence means that no check runs."""
    place.table.offer(ONE.uri, ONE.sha256, offered_at)
    if decided is not None:
        state, may_pass = decided
        place.table.decide(ONE.sha256, state=state, reason="", package="", may_pass=may_pass, at=offered_at)

    _handle(place, TICK)

    (line,) = _published(capsys)
    assert (line["OffersOverdue"], line["ModelPackageGroup"]) == (overdue, "demand-forecast")
    assert line["records"] == [ONE.uri] * overdue
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("MLOps/demand", [["ModelPackageGroup"]])
    assert line["_aws"]["Timestamp"] == int(NOW.timestamp() * 1000)


def test_an_offer_publishes_nothing(place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the schedule does, so that frequent offers do not hide a guard that never checks."""
    _handle(place, ONE.event())

    assert _published(capsys) == []
