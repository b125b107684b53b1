"""The guard's core: from events to requests, and from state to decisions."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.rollout.world import NOW

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.events import features_ingested
from mlops_runtime.contracts.retraining import BroughtCandidate, Candidate, Decision, RetrainRequest, Trigger
from mlops_runtime.retraining.request_evidence import Alarms
from mlops_runtime.retraining.retraining_guard import (
    Ended,
    GuardSettings,
    GuardState,
    KnownCandidateError,
    RefusedEventError,
    RetrainingMessage,
    alarms_of,
    confirmed,
    decide,
    event_from,
    execution_name,
    free_at,
    next_state,
    require_new,
)

ANNA = "AROAEXAMPLEOFAROLE:anna"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Retrain"
OWNER = "arn:aws:states:us-east-1:123456789012:execution:Retrain:"
SETTINGS = GuardSettings(
    pipeline="demand-forecast",
    machine_arn=MACHINE,
    alarms=("demand-drift", "demand-wape"),
    cool_down=86_400,
    daily_budget=2,
    label_table="weekly_demand_v1",
    recheck_rule="arn:aws:events:us-east-1:123456789012:rule/recheck",
)
COUNTING = replace(SETTINGS, minimum_labels=1000)
HOUR = 3600
SECONDS = int(NOW.timestamp())
DRIFT = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:demand-drift"


def _event(kind: str, **changes: Any) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "alarm": {
            "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch",
            "resources": [DRIFT],
            "detail": {"alarmName": "demand-drift", "state": {"value": "ALARM"}},
        },
        "schedule": {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
        "manual": {
            "detail-type": "MLOps Retraining Requested",
            "source": f"mlops.demand/{ANNA}",
            "detail": {"id": "x", "subject": "demand-forecast", "outcome": "REQUESTED", "reason": "new store"},
        },
        "new_data": {
            "detail-type": "MLOps Features Ingested",
            "source": "mlops.demand",
            "detail": to_dict(features_ingested("weekly_demand_v1", rows=1200, ingest_id="w31")),
        },
        "recheck": {
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "resources": [SETTINGS.recheck_rule],
            "detail": {},
        },
        "ended": {
            "detail-type": "Step Functions Execution Status Change",
            "source": "aws.states",
            "detail": {"executionArn": f"{OWNER}one", "status": "ABORTED"},
        },
    }
    common = {"id": "e1", "account": "123456789012", "time": "2017-08-01T09:00:00Z", "region": "us-east-1"}
    return common | kinds[kind] | changes


def _read(event: object, settings: GuardSettings = COUNTING) -> RetrainingMessage | Ended:
    return event_from(json.dumps(event), settings=settings, now=NOW)


def _request(event: object, settings: GuardSettings = COUNTING) -> RetrainRequest:
    read = _read(event, settings)
    assert isinstance(read, RetrainingMessage)
    return read.request


@pytest.mark.parametrize(
    ("kind", "by", "detail"),
    [
        ("alarm", "demand-drift", "alarm demand-drift is in ALARM"),
        ("schedule", "aws.events", "scheduled"),
        ("manual", ANNA, "new store"),
        ("new_data", "weekly_demand_v1", "new rows of weekly_demand_v1"),
        ("recheck", "aws.events", "checked again"),
    ],
)
def test_each_trigger_becomes_a_request(kind: str, by: str, detail: str) -> None:
    """Freshness counts from the time when the queue received the message."""
    request = _request(_event(kind))
    assert request.trigger == Trigger(kind)
    assert (request.requested_by, request.detail, request.as_of) == (by, detail, "2017-08-01T09:00:00Z")
    alarms = {"alarm": ("demand-drift",), "recheck": ("demand-drift", "demand-wape")}
    assert alarms_of(request, SETTINGS) == alarms.get(kind, ())


def test_new_labels_come_with_their_ingest_and_an_end_with_its_execution() -> None:
    """These two have more fields than a request."""
    read = _read(_event("new_data"))
    assert isinstance(read, RetrainingMessage)
    assert (read.ingest, read.event_id) == ("w31", "weekly_demand_v1/w31")
    assert _read(_event("ended")) == Ended(event_id="e1", execution=f"{OWNER}one")


@pytest.mark.parametrize("rows", ["", "-5", "9" * 13, "many"])
def test_what_an_event_tells_of_rows_is_not_read(rows: str) -> None:
    """The table's snapshot has the rows."""
    detail = _event("new_data")["detail"] | {"attributes": {"rows": rows}}
    assert _request(_event("new_data", detail=detail)).detail == "new rows of weekly_demand_v1"


def test_labels_count_only_where_they_are_wanted() -> None:
    """Another table is ignored, and so are labels for a pipeline without a minimum."""
    other = to_dict(features_ingested("prices_v1", rows=9, ingest_id="x"))
    for event, limits in ((_event("new_data", detail=other), COUNTING), (_event("new_data"), SETTINGS)):
        with pytest.raises(RefusedEventError, match="are not counted for demand-forecast"):
            _read(event, limits)


def test_a_request_that_asks_again_needs_an_alarm_or_labels() -> None:
    """The first alarm in ALARM is the reason; otherwise enough labels; otherwise nothing."""
    request = _request(_event("recheck"))
    firing = confirmed(request, COUNTING, alarms=Alarms({"demand-wape": "ALARM"}, {}), state=GuardState())
    assert (firing.requested_by, firing.detail) == ("demand-wape", "still in ALARM: demand-wape")
    quiet = Alarms({"demand-drift": "OK"}, {})
    waiting = confirmed(request, COUNTING, alarms=quiet, state=GuardState(new_labels=1000))
    assert waiting.detail == "1000 new labels wait"
    for limits, state in ((COUNTING, GuardState(new_labels=999)), (SETTINGS, GuardState(new_labels=1000))):
        with pytest.raises(RefusedEventError, match="no alarm is in ALARM and no labels wait") as error:
            confirmed(request, limits, alarms=Alarms({"demand-drift": "INSUFFICIENT_DATA"}, {}), state=state)
        assert error.value.decision is Decision.NOT_CONFIRMED


FAULTS = (
    "price: values look multiplied by 100 in all rows",
    *(f"n{number}: null in 9 % of the rows" for number in range(3)),
)
BROKEN = Alarms({"demand-drift": "ALARM"}, {}, FAULTS, "s3://artifacts/monitor/r/report.json")


@pytest.mark.parametrize("trigger", ["alarm", "recheck"])
def test_an_alarm_on_a_broken_feed_asks_people(trigger: str) -> None:
    """The question has the fault, the page and the command; a pipeline may train anyway, and other triggers do not ask."""
    request = _request(_event(trigger))
    settings = replace(SETTINGS, endpoint="demand-forecast")
    asking = confirmed(request, settings, alarms=BROKEN, state=GuardState())
    assert asking.question == (
        "the feed looks broken, so nothing was trained: price: values look multiplied by 100 in all rows; "
        "n0: null in 9 % of the rows; n1: null in 9 % of the rows; 1 more; "
        'alarm: demand-drift; fix the feed, or train on it: mlops train demand-forecast --reason "..."; '
        "page: mlops monitor report demand-forecast; report: s3://artifacts/monitor/r/report.json"
    )
    assert asking.requested_by == "demand-drift"
    trains = replace(settings, asks=False)
    assert confirmed(request, trains, alarms=BROKEN, state=GuardState()).question is None
    for other in ("manual", "schedule"):
        assert confirmed(_request(_event(other)), settings, alarms=BROKEN, state=GuardState()).question is None


def test_a_question_costs_no_retraining_and_is_asked_once_a_day() -> None:
    """It takes the lock, but no budget, labels or cool-down; a person's request and a repaired feed do not wait for it."""
    real = _request(_event("alarm"))
    asking = replace(real, question="the feed looks broken")
    seen = GuardState(new_labels=70, day="2017-08-01", day_count=2)
    decide_now = partial(decide, settings=SETTINGS, execution=f"{OWNER}x1", now=NOW)
    assert decide_now(seen, asking) == (Decision.ASKED, "the feed looks broken")
    taken = next_state(seen, asking, SETTINGS, execution=f"{OWNER}x0", now=NOW)
    assert (taken.last_asked, taken.last_started, taken.new_labels, taken.day_count) == (SECONDS, None, 70, 2)
    assert decide_now(taken, asking)[0] is Decision.BUSY
    assert decide(taken, asking, SETTINGS, execution=f"{OWNER}x0", now=NOW) == (Decision.ASKED, "resumed")
    released = replace(taken, owner=None, lock_until=0, day_count=0)
    decision, reason = decide_now(released, asking)
    assert decision is Decision.COOLING_DOWN
    assert reason == "the question was sent and is repeated in 86400 s at the earliest; the feed looks broken"
    assert free_at(decision, asking, released, SETTINGS, NOW) == NOW + timedelta(days=1)
    often = replace(SETTINGS, cool_down=0)
    assert decide(released, asking, often, execution=f"{OWNER}x1", now=NOW)[0] is Decision.COOLING_DOWN
    later = NOW + timedelta(days=1)
    assert decide(released, asking, SETTINGS, execution=f"{OWNER}x1", now=later)[0] is Decision.ASKED
    for request in (real, _request(_event("manual"))):
        assert decide_now(released, request)[0] is Decision.STARTED
    trained = replace(released, last_started=SECONDS)
    assert decide_now(trained, asking)[0] is Decision.COOLING_DOWN


@pytest.mark.parametrize("trigger", ["alarm", "recheck"])
def test_an_alarm_that_nothing_confirms_is_no_reason(trigger: str) -> None:
    """Neither at its start nor while it lasts; another, confirmed alarm is one."""
    request, doubts = _request(_event(trigger)), {"demand-drift": "no report says so"}
    alarms = Alarms({"demand-drift": "ALARM", "demand-wape": "OK"}, doubts)
    with pytest.raises(
        RefusedEventError, match=r"alarm demand-drift is in ALARM without confirmation: no report"
    ) as error:
        confirmed(request, COUNTING, alarms=alarms, state=GuardState())
    assert error.value.decision is Decision.NOT_CONFIRMED
    both = Alarms({"demand-drift": "ALARM", "demand-wape": "ALARM"}, doubts)
    if trigger == "recheck":
        assert confirmed(request, COUNTING, alarms=both, state=GuardState()).requested_by == "demand-wape"


def test_a_request_names_its_caller_and_no_one_else() -> None:
    """Policies bind the source to the caller; a name in the request is ignored."""
    detail = _event("manual")["detail"] | {"attributes": {"requested_by": "the director"}}
    assert _request(_event("manual", detail=detail)).requested_by == ANNA


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "id is missing"),
        (_event("alarm", account="210987654321"), "account '210987654321' is not '123456789012'"),
        (_event("alarm", region="eu-west-1"), "region 'eu-west-1' is not 'us-east-1'"),
        (_event("alarm", region=None), "region None is not 'us-east-1'"),
        (_event("alarm", resources=[]), "resources must be .*alarm:demand-drift' alone"),
        (_event("alarm", resources=[DRIFT.replace("us-east-1", "eu-west-1")]), "is not of account '123456789012' and"),
        (_event("alarm", resources=[DRIFT.replace("123456789012", "210987654321")]), "is not of account"),
        (_event("alarm", resources=[DRIFT.replace("drift", "wape")]), "alone"),
        (_event("schedule", resources=["rule/nightly"]), "resources must be ARNs"),
        (_event("ended", detail={"executionArn": f"{OWNER}{'x' * 81}", "status": "ABORTED"}), "does not belong to"),
        (_event("ended", detail={"executionArn": f"{OWNER}one:two", "status": "ABORTED"}), "does not belong to"),
        (_event("alarm", id="x" * 129), "event id must match"),
        (_event("alarm", id="a\nb"), "event id must match"),
        (_event("alarm", source="aws.cloudwatc"), "starts no retraining"),
        (_event("alarm", detail={"alarmName": "other", "state": {"value": "ALARM"}}), "alarm 'other' is not one of"),
        (
            _event("manual", source=f"mlops.other/{ANNA}"),
            "source of a request must be mlops.<unit>/<UserId of the caller>",
        ),
        (_event("manual", source=f"mlops.demand-forecast/{ANNA}"), "source of a request must be"),
        (_event("manual", source="mlops.demand"), "source of a request must be"),  # as the unit's machines may write
        (_event("manual", source="mlops.demand/"), "source of a request must be"),
        (_event("manual", source="mlops.demand/anna"), "source of a request must be"),
        (_event("manual", source=f"mlops.demand/{ANNA}/bob"), "source of a request must be"),
        (_event("manual", detail={"id": "x"}), "subject is missing"),
        (_event("manual", detail={"id": "x", "subject": "pricing", "outcome": ""}), "subject 'pricing' is not"),
        (_event("manual", **{"detail-type": "MLOps Rollout Finished"}), "starts no retraining"),
        (_event("schedule", time="yesterday"), "must be an ISO 8601 time"),
        (_event("new_data", source="mlops.other"), "starts no retraining"),
        (
            _event("ended", detail={"executionArn": "arn:aws:states:us-east-1:123456789012:execution:Other:one"}),
            "does not belong to",
        ),
        (_event("ended", detail={"executionArn": f"{OWNER}one", "status": "RUNNING"}), "status must be one of"),
    ],
)
def test_fails_when_an_event_is_not_ours(event: dict[str, Any], message: str) -> None:
    """Forged, foreign and malformed events are invalid, with the reason."""
    with pytest.raises(RefusedEventError, match=message) as error:
        _request(event)
    assert error.value.decision is Decision.INVALID


@given(st.text(max_size=300))
def test_no_body_breaks_the_guard(body: str) -> None:
    """Any body is rejected as invalid."""
    with pytest.raises(RefusedEventError) as error:
        event_from(body, settings=SETTINGS, now=NOW)
    assert error.value.decision is Decision.INVALID


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["alarm", "schedule", "manual", "new_data", "recheck", "ended"]), st.data())
def test_a_tampered_event_is_refused_or_means_the_same(kind: str, data: st.DataObject) -> None:
    """For any field replaced by anything, also in the detail: an accepted event can be written and started."""
    event = _event(kind)
    target = event["detail"] if event["detail"] and data.draw(st.booleans()) else event
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_ANY)
    try:
        read = _read(event)
    except RefusedEventError:
        return
    if isinstance(read, Ended):
        assert read.execution.startswith(OWNER)
        return
    request = read.request
    # without its rule, it is an event of another schedule
    assert request.trigger in ({Trigger.RECHECK, Trigger.SCHEDULE} if kind == "recheck" else {Trigger(kind)})
    assert len(execution_name("demand-forecast", request)) == 24
    canonical_json(request)


@pytest.mark.parametrize(
    ("offset", "fresh"),
    [
        (timedelta(minutes=-15), True),
        (timedelta(minutes=-15, seconds=-1), False),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, seconds=1), False),
    ],
)
def test_old_and_future_events_are_stale(offset: timedelta, fresh: bool) -> None:
    """15 minutes in the past, 5 in the future."""
    event = _event("alarm", time=(NOW + offset).isoformat())
    if fresh:
        assert _request(event).trigger is Trigger.ALARM
    else:
        with pytest.raises(RefusedEventError) as error:
            _request(event)
        assert error.value.decision is Decision.STALE


def test_a_time_without_zone_is_utc() -> None:
    """Neither an error nor local time."""
    assert _request(_event("alarm", time="2017-08-01T09:00:00")).trigger is Trigger.ALARM


def test_an_alarm_that_went_quiet_is_not_confirmed() -> None:
    """The event itself has the state OK."""
    event = _event("alarm", detail={"alarmName": "demand-drift", "state": {"value": "OK"}})
    with pytest.raises(RefusedEventError) as error:
        _request(event)
    assert error.value.decision is Decision.NOT_CONFIRMED


def _decide(state: GuardState, kind: str = "alarm", settings: GuardSettings = SETTINGS, **rest: Any) -> Decision:
    return decide(state, _request(_event(kind)), settings, execution="mine", now=NOW, **rest)[0]


@pytest.mark.parametrize(
    ("state", "kind", "decision"),
    [
        (GuardState(), "alarm", Decision.STARTED),
        (GuardState(owner="other", lock_until=SECONDS), "alarm", Decision.BUSY),
        (GuardState(owner="other", lock_until=SECONDS - 1), "alarm", Decision.STARTED),
        (GuardState(last_started=SECONDS - HOUR), "alarm", Decision.COOLING_DOWN),
        (GuardState(last_started=SECONDS - HOUR), "schedule", Decision.COOLING_DOWN),
        (GuardState(last_started=SECONDS - HOUR), "manual", Decision.STARTED),
        (GuardState(last_started=SECONDS - 24 * HOUR), "alarm", Decision.STARTED),
        (GuardState(last_started=SECONDS + HOUR), "alarm", Decision.COOLING_DOWN),
        (GuardState(day="2017-08-01", day_count=2), "manual", Decision.OVER_BUDGET),
        (GuardState(day="2017-08-01", day_count=1), "manual", Decision.STARTED),
        (GuardState(day="2017-07-31", day_count=2), "manual", Decision.STARTED),
        (GuardState(owner="mine", lock_until=SECONDS + 9, last_execution="mine"), "alarm", Decision.STARTED),
    ],
)
def test_decisions(state: GuardState, kind: str, decision: Decision) -> None:
    """Lock, cool-down and budget, each at its limit; an interrupted start continues."""
    assert _decide(state, kind) is decision


@pytest.mark.parametrize("kind", ["alarm", "schedule", "new_data", "recheck"])
@pytest.mark.parametrize("rest", [Decision.PAUSED, Decision.FROZEN])
def test_while_automation_rests_only_a_person_retrains(kind: str, rest: Decision) -> None:
    """Whatever else applies; an interrupted start continues."""
    assert _decide(GuardState(), kind, rest=(rest, "peak season")) is rest
    assert _decide(GuardState(), "manual", rest=(rest, "peak season")) is Decision.STARTED
    assert _decide(GuardState(last_execution="mine"), kind, rest=(rest, "peak season")) is Decision.STARTED


@pytest.mark.parametrize("kind", ["alarm", "schedule", "new_data", "recheck"])
def test_without_new_labels_only_a_person_retrains(kind: str) -> None:
    """The same data would give the same model."""
    assert _decide(GuardState(new_labels=999), kind, COUNTING) is Decision.TOO_FEW_LABELS
    assert _decide(GuardState(new_labels=1000), kind, COUNTING) is Decision.STARTED
    assert _decide(GuardState(), "manual", COUNTING) is Decision.STARTED


def test_after_a_rejection_the_cool_down_may_be_longer() -> None:
    """A rejected challenger would lose again soon."""
    patient = replace(SETTINGS, rejected_cool_down=7 * 86_400)
    day_before = GuardState(last_started=SECONDS - 86_400)
    assert _decide(replace(day_before, last_outcome="REJECTED"), settings=patient) is Decision.COOLING_DOWN
    assert _decide(replace(day_before, last_outcome="APPROVED"), settings=patient) is Decision.STARTED
    assert _decide(replace(day_before, last_outcome="REJECTED")) is Decision.STARTED


def test_settings_are_read_from_the_environment() -> None:
    """Absent variables have defaults; a list of alarms may be empty."""
    environ = {
        "PIPELINE": "demand-forecast",
        "RETRAIN_MACHINE_ARN": MACHINE,
        "COOL_DOWN_SECONDS": "86400",
        "DAILY_BUDGET": "2",
        "ALARM_NAMES": "",
    }
    few = GuardSettings.from_environment(environ)
    assert (few.alarms, few.lock_seconds, few.minimum_labels, few.recheck_rule) == ((), 21600, None, None)
    more = {
        "ALARM_NAMES": "demand-drift,demand-wape",
        "LABEL_TABLE": "weekly_demand_v1",
        "MINIMUM_LABELS": "1000",
        "RECHECK_RULE": str(SETTINGS.recheck_rule),
    }
    assert GuardSettings.from_environment(environ | more) == COUNTING


_KINDS = ["alarm", "schedule", "manual", "new_data", "recheck"]
_STEPS = st.tuples(
    st.integers(0, 7200), st.sampled_from(_KINDS), st.integers(0, 700), st.sampled_from(["APPROVED", "REJECTED"])
)


@given(st.lists(_STEPS, max_size=60), st.sets(st.integers(0, 59)))
def test_no_storm_starts_more_than_it_may(steps: list[tuple[int, str, int, str]], resting: set[int]) -> None:
    """For any order of events: within the budget, one at a time.

    Except for a person's request: not within the cool-down, not below the labels, and not while automation is paused.
    """
    limits = replace(COUNTING, cool_down=4 * HOUR, rejected_cool_down=9 * HOUR, lock_seconds=HOUR)
    state, now, starts = GuardState(), NOW, []
    for number, (gap, kind, labels, outcome) in enumerate(steps):
        now += timedelta(seconds=gap)
        state = replace(state, new_labels=state.new_labels + labels)
        request = replace(_request(_event(kind)), event_id=f"e{number}")
        rest = (Decision.PAUSED, "stocktaking") if number in resting else None
        decision, _ = decide(state, request, limits, execution=f"x{number}", now=now, rest=rest)
        if decision is Decision.STARTED:
            assert kind == "manual" or (rest is None and state.new_labels >= 1000)
            starts.append((now, kind, state.last_outcome))
            state = replace(next_state(state, request, limits, execution=f"x{number}", now=now), last_outcome=outcome)
    for day in {f"{at:%Y-%m-%d}" for at, _, _ in starts}:
        assert sum(f"{at:%Y-%m-%d}" == day for at, _, _ in starts) <= limits.daily_budget
    for (before, _, _), (after, kind, outcome) in pairwise(starts):
        assert after - before > timedelta(seconds=limits.lock_seconds)
        cool_down = 9 if outcome == "REJECTED" else 4
        assert kind == "manual" or after - before >= timedelta(hours=cool_down)


def test_names_have_24_characters_and_follow_from_the_event() -> None:
    """The day and a hash of pipeline and event; jobs include the full name."""
    request = _request(_event("alarm"))
    name = execution_name("demand-forecast", request)
    assert name == "20170801-e0f099f12ac469a"
    assert len(name) == 24
    assert execution_name("demand-forecast", replace(request, event_id="e2")) != name


def _brought(**changes: Any) -> dict[str, Any]:
    root = "s3://artifacts/registered/demand-forecast"
    candidate = {"uri": f"{root}/{'a' * 64}/model.tar.gz", "sha256": "a" * 64, "flavor": "lightgbm", "trust": "data"}
    detail = _event("manual")["detail"] | {"attributes": {"candidate": json.dumps(candidate | changes)}}
    return _event("manual", detail=detail)


TAKING = replace(SETTINGS, artifacts_bucket="artifacts")


def test_a_person_may_bring_a_model() -> None:
    """The request, lock and budget are the same, with the model to measure."""
    given = "s3://artifacts/registered/demand-forecast/" + "a" * 64 + "/predictions.parquet"
    request = _request(_brought(predictions_uri=given), TAKING)
    assert (request.trigger, request.requested_by) == (Trigger.MANUAL, ANNA)
    assert request.candidate == Candidate(
        uri=f"s3://artifacts/registered/demand-forecast/{'a' * 64}/model.tar.gz",
        sha256="a" * 64,
        flavor="lightgbm",
        trust="data",
        predictions_uri=given,
    )
    assert "candidate" not in to_dict(_request(_event("manual"), TAKING))
    full = GuardState(day="2017-08-01", day_count=2)
    assert decide(full, request, TAKING, execution=f"{OWNER}two", now=NOW)[0] is Decision.OVER_BUDGET


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"uri": "s3://artifacts/models/demand-forecast/one/model.tar.gz"},
            "a candidate must be at s3://artifacts/reg",
        ),
        ({"uri": "s3://other/registered/demand-forecast/model.tar.gz"}, "a candidate must be at s3://artifacts/reg"),
        ({"sha256": "b" * 64}, "a candidate must be at s3://artifacts/registered/demand-forecast/bbbb"),
        ({"sha256": "../" * 20}, "sha256 of a candidate must be 64 hexadecimal digits"),
        ({"predictions_uri": "s3://artifacts/models/x.parquet"}, "predictions must be a Parquet file below s3://art"),
        ({"predictions_uri": "s3://artifacts/registered/demand-forecast/x.csv"}, "predictions must be a Parquet file"),
        ({"trust": "all"}, "not a valid Candidate"),
    ],
)
def test_fails_for_a_model_that_lies_elsewhere(changes: dict[str, str], message: str) -> None:
    """Only uploads of a registrant for this pipeline are read, whoever requests it."""
    with pytest.raises(RefusedEventError, match=message) as refused:
        _request(_brought(**changes), TAKING)
    assert refused.value.decision is Decision.INVALID


def test_no_alarm_brings_a_model() -> None:
    """A candidate in an event of another kind is ignored."""
    alarm = _event("alarm")
    assert (
        _request(alarm | {"detail": alarm["detail"] | {"attributes": _brought()["detail"]["attributes"]}}).candidate
        is None
    )


GIVEN = "s3://artifacts/registered/demand-forecast/mine.parquet"
BROUGHT = BroughtCandidate(
    outcome="REGISTERED",
    execution=f"{OWNER}one",
    at="2017-08-01T09:00:00Z",
    package="arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/4",
)
OTHERS = replace(BROUGHT, predictions_uri="s3://artifacts/registered/demand-forecast/others.parquet")
REJECTED_BEFORE = replace(BROUGHT, outcome="REJECTED", package="", reason="loses; slow", predictions_uri=GIVEN)


def _running(predictions_uri: str | None = None) -> GuardState:
    request = replace(_request(_brought(), TAKING))
    assert request.candidate is not None
    request = replace(request, candidate=replace(request.candidate, predictions_uri=predictions_uri))
    return GuardState(owner=f"{OWNER}one", request=canonical_json(request).decode())


@pytest.mark.parametrize(
    ("given", "state", "brought", "approval", "message", "answer"),
    [
        (None, _running(), None, None, "one measures this archive now; use --again", ("one", None)),
        (None, _running(GIVEN), None, None, "one measures this archive now; use --again", ("one", None)),
        (GIVEN, _running(), None, None, "one measures this archive now, without your predictions; use", None),
        (None, GuardState(), BROUGHT, "Rejected", "already registered as demand-forecast/4 by one at 2017", ("one", 4)),
        (GIVEN, GuardState(), BROUGHT, "Approved", "which is Approved now, without your predictions; use", None),
        (
            GIVEN,
            _running("s3://b/other"),
            None,
            None,
            "one measures this archive now, with other predictions than yours;",
            None,
        ),
        (
            GIVEN,
            GuardState(),
            OTHERS,
            "Approved",
            "which is Approved now, with other predictions than yours; use",
            None,
        ),
        (None, GuardState(), REJECTED_BEFORE, None, "already rejected by the gate in one at 2017-", ("one", None)),
        (GIVEN, GuardState(), REJECTED_BEFORE, None, "T09:00:00Z; loses; slow; use --again", ("one", None)),
    ],
)
def test_an_archive_is_brought_once(
    given: str | None,
    state: GuardState,
    brought: BroughtCandidate | None,
    approval: str | None,
    message: str,
    answer: tuple[str, int | None] | None,
) -> None:
    """The running execution, its package or the gate's rejection answers; a run with other predictions does not."""
    candidate = _request(_brought(), TAKING).candidate
    assert candidate is not None
    with pytest.raises(KnownCandidateError) as known:
        require_new(replace(candidate, predictions_uri=given), state, brought, approval=approval)
    assert message in str(known.value)
    assert str(known.value).endswith("; use --again to measure it again")
    found = known.value
    assert (found.decision, found.execution) == (Decision.KNOWN, None if answer is None else f"{OWNER}{answer[0]}")
    assert (found.package is not None) == (answer is not None and answer[1] is not None)


@pytest.mark.parametrize(
    ("state", "brought"),
    [
        (GuardState(), None),
        (replace(_running(), request=None), None),
        (replace(_running(), request=canonical_json(_request(_event("manual"))).decode()), None),
        (GuardState(), BROUGHT),  # its package is not in the registry any more
        (GuardState(), replace(REJECTED_BEFORE, predictions_uri="")),  # other predictions must be compared
    ],
)
def test_an_archive_that_nothing_answers_for_is_measured(state: GuardState, brought: BroughtCandidate | None) -> None:
    """Also while another model is measured."""
    candidate = _request(_brought(predictions_uri=GIVEN), TAKING).candidate
    assert candidate is not None
    require_new(candidate, state, brought, approval=None)


def test_a_person_may_ask_to_measure_a_model_again() -> None:
    """By an explicit option, and only with a model."""

    def again(event: dict[str, Any]) -> bool:
        found = event_from(json.dumps(event), settings=TAKING, now=NOW)
        assert isinstance(found, RetrainingMessage)
        return found.again

    event = _brought()
    assert not again(event)
    event["detail"]["attributes"]["again"] = "true"
    assert again(event)
    event["detail"]["attributes"]["again"] = "yes"
    assert not again(event)


LISTENING = replace(SETTINGS, has_targets=True)


def _of_target(**changes: Any) -> dict[str, Any]:
    """Return the request of an environment that serves the model, as the receiving function puts it on the unit's bus."""
    reported = {
        "environment": "production",
        "alarm": "features",
        "faults": "",
        "report": "",
        **changes.pop("reported", {}),
    }
    detail = {"id": "a" * 64, "subject": "demand-forecast", "outcome": "REQUESTED", "reason": "in ALARM: features"}
    event = _event(
        "manual", source="mlops.demand", detail={**detail, "attributes": reported, **changes.pop("detail", {})}
    )
    return {**event, **changes}


def _requested_by_target(event: dict[str, Any], given: GuardSettings = LISTENING) -> RetrainRequest:
    found = event_from(json.dumps(event), settings=given, now=NOW)
    assert isinstance(found, RetrainingMessage)
    return found.request


def test_a_target_asks_by_its_own_id() -> None:
    """One request may arrive as several events with different ids."""
    request = _requested_by_target(_of_target())
    again = _requested_by_target(_of_target(id="another"))

    assert (request.trigger, request.requested_by, request.detail) == (
        Trigger.TARGET,
        "production features",
        "in ALARM: features",
    )
    assert request.event_id == again.event_id == f"production/{'a' * 64}"
    assert alarms_of(request, LISTENING) == ()


@pytest.mark.parametrize("rest", [Decision.PAUSED, Decision.FROZEN])
def test_a_target_waits_as_an_own_alarm_does(rest: Decision) -> None:
    """Pause, freeze, cool-down, labels, lock and budget are the pipeline's."""
    request, state = _requested_by_target(_of_target()), GuardState()
    ask = partial(decide, request=request, settings=LISTENING, execution="e", now=NOW)

    assert ask(state)[0] is Decision.STARTED
    assert ask(state, rest=(rest, "why"))[0] is rest
    assert ask(GuardState(last_started=SECONDS - HOUR))[0] is Decision.COOLING_DOWN
    assert ask(GuardState(owner="x", lock_until=SECONDS + 1))[0] is Decision.BUSY
    assert ask(GuardState(day=f"{NOW:%Y-%m-%d}", day_count=2))[0] is Decision.OVER_BUDGET
    counting = replace(LISTENING, minimum_labels=1)
    assert decide(state, request, counting, execution="e", now=NOW)[0] is Decision.TOO_FEW_LABELS


def test_a_feed_that_looks_broken_there_asks_people_here() -> None:
    """Like a feed here; a pipeline that retrains on broken feeds also does so for a target."""
    reported = {"faults": "price: in cents; week: nulls", "report": "s3://there/report.json"}
    request = _requested_by_target(_of_target(reported=reported))

    assert request.question is not None
    for part in ("price: in cents; week: nulls", "production features", "report: s3://there/report.json"):
        assert part in request.question
    assert _requested_by_target(_of_target(reported=reported), replace(LISTENING, asks=False)).question is None


@pytest.mark.parametrize(
    ("event", "given", "message"),
    [
        (_of_target(), SETTINGS, "source of a request must be"),
        (_of_target(source="mlops.pricing"), LISTENING, "source of a request must be"),
        (_of_target(detail={"subject": "demand-returns"}), LISTENING, "subject 'demand-returns' is not"),
        (_of_target(detail={"id": "white space"}), LISTENING, "id of the request must match"),
        (_of_target(account="222222222222"), LISTENING, "account '222222222222' is not"),
    ],
)
def test_other_requests_of_targets_are_refused(event: dict[str, Any], given: GuardSettings, message: str) -> None:
    """Of a pipeline without targets, another unit, pipeline or account."""
    with pytest.raises(RefusedEventError, match=message) as refused:
        event_from(json.dumps(event), settings=given, now=NOW)
    assert refused.value.decision is Decision.INVALID
