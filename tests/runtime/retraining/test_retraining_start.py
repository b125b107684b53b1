"""A pipeline's rows: atomic writes and locks.

The guard with real state: duplicates, crashes between side effects, and abandoned locks.
"""

import json
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from tests.runtime.retraining.events import (
    APPROVALS,
    RULE,
    SETTINGS,
    Resting,
    alarm_message,
    brought_message,
    ended_message,
    guard_of,
    item,
    keep_outcome,
    labels_message,
    recheck_message,
    release,
)
from tests.runtime.rollout.world import NOW, World

from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.retraining import Decision, GuardDecision, RetrainRequest, Trigger
from mlops_runtime.retraining.request_evidence import AlarmEvidence, Alarms
from mlops_runtime.retraining.retraining_guard import GuardState, next_state
from mlops_runtime.retraining.retraining_start import GuardTable
from mlops_runtime.rollout.execution_names import execution_arn

REQUEST = RetrainRequest(
    trigger=Trigger.ALARM, event_id="e1", as_of="2017-08-01T09:00:00Z", requested_by="demand-drift"
)


@pytest.fixture
def rows(world: World) -> GuardTable:
    """Return the empty rows of a pipeline."""
    return GuardTable(dynamodb=world.dynamodb, table="retraining", pipeline="demand-forecast")


def _next(seen: GuardState, execution: str) -> GuardState:
    return next_state(seen, REQUEST, SETTINGS, execution=execution, now=NOW)


def test_a_state_is_read_as_it_was_written(rows: GuardTable) -> None:
    """Empty before the first start, complete after it."""
    assert rows.read() == GuardState()
    new = _next(GuardState(), "x1")
    assert rows.take(GuardState(), new, NOW)
    assert rows.read() == new
    assert from_json(RetrainRequest, str(new.request)) == REQUEST


def test_labels_that_came_while_a_start_was_decided_are_not_lost(rows: GuardTable) -> None:
    """The start subtracts only the labels that it saw."""
    rows.count("w1", 1000, NOW)
    rows.count("w1", 1000, NOW)
    seen = rows.read()
    assert seen.new_labels == 1000
    rows.count("w2", 70, NOW)
    assert rows.take(seen, _next(seen, "x1"), NOW)
    assert rows.read().new_labels == 70


def test_labels_that_cannot_be_counted_are_an_error(rows: GuardTable) -> None:
    """A rejected marker means counted before; any other error means not counted."""
    with pytest.raises(ClientError):
        replace(rows, table="gone").count("w1", 1, NOW)


def test_a_lock_is_taken_once_and_by_who_saw_the_newest_state(rows: GuardTable) -> None:
    """Not from an old state or while it is held, but after its expiry or the owner's end."""
    seen = GuardState()
    assert rows.take(seen, _next(seen, "x1"), NOW)
    assert not rows.take(seen, _next(seen, "x2"), NOW)
    held = rows.read()
    assert not rows.take(held, _next(held, "x2"), NOW)
    assert not rows.take(held, _next(held, "x2"), NOW, ended_owner="x0")
    assert rows.take(held, _next(held, "x2"), NOW, ended_owner="x1")
    later = NOW + timedelta(seconds=SETTINGS.lock_seconds + 1)
    assert rows.take(rows.read(), _next(held, "x3"), later)


def test_a_release_is_of_ones_own_lock(rows: GuardTable, world: World) -> None:
    """Another holder's lock stays; the machine's release leaves its outcome, which the next start clears."""
    seen = GuardState()
    rows.take(seen, _next(seen, "x1"), NOW)
    assert not rows.release("x0")
    release(world, "x1", outcome="REJECTED")
    state = rows.read()
    assert (state.owner, state.last_outcome, state.last_execution) == (None, "REJECTED", "x1")
    assert not rows.release("x1")
    assert rows.take(state, _next(state, "x2"), NOW)
    assert rows.read().last_outcome is None


@pytest.fixture
def firing(world: World) -> World:
    """Return a world with the alarm in ALARM."""
    world.alarm("demand-drift", "ALARM")
    return world


def test_an_alarm_starts_one_retraining(firing: World) -> None:
    """The lock has the execution, the row the accepted request; the decision is stored with an expiry."""
    decision = guard_of(firing).handle(alarm_message())
    assert decision.decision is Decision.STARTED
    [name] = firing.executions("Retrain")
    assert decision.execution == f"arn:aws:states:us-east-1:123456789012:execution:Retrain:{name}"
    assert firing.stepfunctions.describe_execution(executionArn=decision.execution)["input"] == "{}"
    request = from_json(RetrainRequest, item(firing, "STATE")["request"]["S"])
    assert (request.event_id, request.as_of) == ("e1", "2017-08-01T09:00:00Z")
    state, kept = item(firing, "STATE"), item(firing, "EVENT#e1")
    assert state["owner"]["S"] == decision.execution
    assert int(state["lock_until"]["N"]) == int(NOW.timestamp()) + 21600
    assert kept["decision"]["S"] == "STARTED"
    assert int(kept["expires"]["N"]) == int((NOW + timedelta(days=400)).timestamp())


class _Broken:
    """Evidence of a broken feed."""

    def __init__(self) -> None:
        self.faults: tuple[str, ...] = ("price: null in 40 % of the rows",)

    def read(self, names: tuple[str, ...], _: datetime) -> Alarms:
        """Return alarms in ALARM."""
        return Alarms(dict.fromkeys(names, "ALARM"), {}, self.faults, "s3://artifacts/r.json")


def test_a_broken_feed_asks_people_and_a_repaired_one_trains(world: World) -> None:
    """One execution asks, none follows while it is open, its event is a duplicate; real drift of the repaired feed trains."""
    evidence = _Broken()
    guard = guard_of(world, evidence=cast("AlarmEvidence", evidence), settings=replace(SETTINGS, recheck_rule=RULE))
    requested = guard.handle(alarm_message())
    assert (requested.decision, guard.handle(alarm_message()).decision) == (Decision.ASKED, Decision.DUPLICATE)
    state = item(world, "STATE")
    request = from_json(RetrainRequest, state["request"]["S"])
    assert request.question == requested.reason
    assert "price: null in 40 % of the rows" in requested.reason
    assert not {"last_started", "day"} & set(state)
    assert item(world, "EVENT#e1")["decision"]["S"] == "ASKED"
    assert guard.handle(alarm_message("e2")).decision is Decision.BUSY
    release(world, state["owner"]["S"], outcome="ASKED")
    hour = NOW + timedelta(hours=1)
    assert guard.handle(recheck_message("r1", hour)).decision is Decision.COOLING_DOWN
    evidence.faults = ()
    assert guard.handle(recheck_message("r2", hour)).decision is Decision.STARTED
    assert len(world.executions("Retrain")) == 2


def test_a_question_that_was_cut_off_is_asked_again_with_the_same_words(world: World) -> None:
    """It is in the row: the repeated delivery starts the same execution, also if the report has changed."""
    evidence = _Broken()
    guard = guard_of(world, evidence=cast("AlarmEvidence", evidence))
    first = guard.handle(alarm_message())
    world.dynamodb.delete_item(
        TableName="retraining", Key={"pipeline": {"S": "demand-forecast"}, "item": {"S": "EVENT#e1"}}
    )
    evidence.faults = ()
    again = guard.handle(alarm_message())
    assert (again.decision, again.execution) == (Decision.ASKED, first.execution)
    assert len(world.executions("Retrain")) == 1


def test_a_person_trains_on_a_feed_that_looks_broken(world: World) -> None:
    """A person's request is not questioned."""
    guard = guard_of(world, evidence=cast("AlarmEvidence", _Broken()))
    assert guard.handle(alarm_message(manual=True)).decision is Decision.STARTED


def test_decisions_are_counted(firing: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One metric line each for a known unit."""
    guard = guard_of(firing, settings=replace(SETTINGS, unit="demand"))
    guard.handle(alarm_message())
    guard.handle(alarm_message())
    counted = [json.loads(line)["Decision"] for line in capsys.readouterr().out.splitlines()]
    assert counted == ["STARTED", "DUPLICATE"]
    guard_of(firing).handle(alarm_message())
    assert capsys.readouterr().out == ""


def test_a_second_delivery_is_a_duplicate(firing: World) -> None:
    """It changes nothing and keeps the first decision."""
    guard = guard_of(firing)
    guard.handle(alarm_message())
    assert guard.handle(alarm_message()).decision is Decision.DUPLICATE
    assert item(firing, "EVENT#e1")["decision"]["S"] == "STARTED"
    assert len(firing.executions("Retrain")) == 1


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA", None])
def test_an_alarm_that_no_longer_rings_starts_nothing(world: World, state: str | None) -> None:
    """The event may be forged or old; the alarm is read again."""
    if state is not None:
        world.alarm("demand-drift", state)
    decision = guard_of(world).handle(alarm_message())
    assert (decision.decision, decision.reason) == (Decision.NOT_CONFIRMED, f"alarm demand-drift is {state} now")
    assert world.executions("Retrain") == []


def test_an_invalid_message_uses_up_no_event_id(firing: World) -> None:
    """A forged event with a real id does not block the real one."""
    guard = guard_of(firing)
    assert guard.handle(alarm_message(account="210987654321")).decision is Decision.INVALID
    assert guard.handle(alarm_message()).decision is Decision.STARTED
    assert item(firing, "EVENT#message:m-e1")["decision"]["S"] == "INVALID"


def test_busy_then_cooling_down_then_free(firing: World) -> None:
    """The lock blocks while the machine runs, then the cool-down, and then another run may start."""
    guard = guard_of(firing)
    owner = guard.handle(alarm_message()).execution
    assert owner is not None
    assert guard.handle(alarm_message("e2", NOW + timedelta(hours=1))).decision is Decision.BUSY
    release(firing, owner)
    cooling = guard.handle(alarm_message("e3", NOW + timedelta(hours=2)))
    assert (cooling.decision, cooling.free_at) == (Decision.COOLING_DOWN, str(to_dict(NOW + timedelta(hours=24))))
    assert guard.handle(alarm_message("e4", NOW + timedelta(hours=24))).decision is Decision.STARTED


def test_a_lock_that_was_never_released_is_taken_over(firing: World) -> None:
    """An aborted machine does not block for ever."""
    guard = guard_of(firing)
    guard.handle(alarm_message())
    decision = guard.handle(alarm_message("e2", NOW + timedelta(hours=24)))
    assert decision.decision is Decision.STARTED
    assert item(firing, "STATE")["owner"]["S"] == decision.execution


def test_a_person_does_not_wait_but_has_a_budget(firing: World) -> None:
    """Two a day, also manually."""
    guard, decisions = guard_of(firing), []
    for number in range(3):
        decision = guard.handle(alarm_message(f"p{number}", NOW + timedelta(minutes=number), manual=True))
        decisions.append(decision.decision)
        if decision.execution is not None:
            release(firing, decision.execution)
    assert decisions == [Decision.STARTED, Decision.STARTED, Decision.OVER_BUDGET]
    assert decision.free_at == "2017-08-02T00:00:00Z"


def test_a_decision_says_who_asked_and_why(firing: World) -> None:
    """Starts are stored longer than executions, which have no other record of it; rejections have it too."""
    guard = guard_of(firing)
    started = guard.handle(alarm_message(manual=True))
    assert (started.trigger, started.detail) == (Trigger.MANUAL, "")
    refused = guard.handle(alarm_message("e2"))
    assert (refused.decision, refused.trigger, refused.requested_by) == (Decision.BUSY, Trigger.ALARM, "demand-drift")
    rows = [item(firing, f"EVENT#{name}") for name in ("e1", "e2")]
    assert [int(row["expires"]["N"]) - int(NOW.timestamp()) for row in rows] == [400 * 86400, 30 * 86400]
    assert (rows[0]["requested_by"]["S"], rows[1]["trigger"]["S"]) == (started.requested_by, "alarm")


class _CrashError(Exception):
    pass


class _Dying:
    """A client that fails before or after one of its calls."""

    def __init__(self, client: Any, operation: str, *, after: bool) -> None:
        self._client, self._operation, self._after = client, operation, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name != self._operation:
            return real

        def die(**arguments: Any) -> None:
            if self._after:
                real(**arguments)
            raise _CrashError(name)

        return die


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("client", "operation"),
    [("dynamodb", "update_item"), ("stepfunctions", "start_execution"), ("dynamodb", "put_item")],
)
def test_a_crash_at_any_side_effect_is_made_good_by_the_next_delivery(
    firing: World, client: str, operation: str, after: bool
) -> None:
    """One execution, one use of the budget and one decision, for a crash at any point."""
    dying = _Dying(getattr(firing, client), operation, after=after)
    with pytest.raises(_CrashError):
        guard_of(firing, **{client: dying}).handle(alarm_message())
    decision = guard_of(firing).handle(alarm_message())
    done = operation == "put_item" and after
    assert decision.decision is (Decision.DUPLICATE if done else Decision.STARTED)
    assert len(firing.executions("Retrain")) == 1
    assert item(firing, "STATE")["day_count"]["N"] == "1"
    assert item(firing, "EVENT#e1")["decision"]["S"] == "STARTED"


def test_a_crash_before_the_decision_is_kept_survives_a_quick_machine(firing: World) -> None:
    """The machine has ended and released the lock before the redelivery, which does not get a cool-down."""
    dying = _Dying(firing.dynamodb, "put_item", after=False)
    with pytest.raises(_CrashError):
        guard_of(firing, dynamodb=dying).handle(alarm_message())
    release(firing, item(firing, "STATE")["owner"]["S"])
    assert guard_of(firing).handle(alarm_message()).decision is Decision.STARTED
    assert len(firing.executions("Retrain")) == 1


def test_a_start_that_was_cut_off_goes_on_though_the_alarm_is_quiet_by_now(firing: World) -> None:
    """Its lock is taken, and would otherwise be left behind."""
    dying = _Dying(firing.stepfunctions, "start_execution", after=False)
    with pytest.raises(_CrashError):
        guard_of(firing, stepfunctions=dying).handle(alarm_message())
    firing.alarm("demand-drift", "OK")
    decision = guard_of(firing).handle(alarm_message())
    assert decision.decision is Decision.STARTED
    assert item(firing, "STATE")["owner"]["S"] == decision.execution


def test_a_storm_of_events_starts_one_retraining(firing: World) -> None:
    """150 alarms, each delivered twice, from three threads."""
    guard, decisions = guard_of(firing), list[Decision]()

    def deliver(part: int) -> None:
        for number in range(part, 300, 3):
            decisions.append(guard.handle(alarm_message(f"e{number // 2}")).decision)

    threads = [threading.Thread(target=deliver, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(firing.executions("Retrain")) == 1
    assert 1 <= decisions.count(Decision.STARTED) <= 2  # two deliveries of one event may race
    assert set(decisions) <= {Decision.STARTED, Decision.BUSY, Decision.DUPLICATE}
    assert len(decisions) == 300


def test_while_automation_rests_an_alarm_is_told_so(firing: World) -> None:
    """Freeze and pause have different decisions; a person's request is not held back."""
    for number, (rest, decision) in enumerate(
        [(Resting(frozen="frozen by 'peak'"), Decision.FROZEN), (Resting(paused="paused by ann"), Decision.PAUSED)]
    ):
        guard = guard_of(firing, automation=rest)
        assert guard.handle(alarm_message(f"e{number}")).decision is decision
    assert firing.executions("Retrain") == []
    assert (
        guard_of(firing, automation=Resting(paused="p")).handle(alarm_message("p1", manual=True)).execution is not None
    )


def test_labels_add_up_until_there_are_enough(world: World) -> None:
    """Each event counts once; a start uses them up, and labels that came meanwhile stay."""
    guard = guard_of(
        world, settings=replace(SETTINGS, minimum_labels=1000, label_table="weekly_demand_v1", cool_down=0)
    )
    decisions = [guard.handle(labels_message(f"w{number}", 400)).decision for number in (1, 1, 2, 2, 3, 3)]
    few, again = Decision.TOO_FEW_LABELS, Decision.DUPLICATE
    assert decisions == [few, again, few, again, Decision.STARTED, again]
    assert item(world, "STATE")["new_labels"]["N"] == "0"
    assert guard.handle(labels_message("w4", 300)).decision is Decision.BUSY
    assert item(world, "STATE")["new_labels"]["N"] == "300"


def test_rows_are_those_of_the_tables_snapshot(world: World) -> None:
    """An inflated event starts nothing more, and an unknown ingest counts nothing."""
    guard = guard_of(world, settings=replace(SETTINGS, minimum_labels=1000, label_table="weekly_demand_v1"))
    reported = guard.handle(labels_message("w1", 10, announced=1_000_000))
    assert (reported.decision, reported.reason) == (Decision.TOO_FEW_LABELS, "10 of 1000 new labels have come")
    assert item(world, "STATE")["new_labels"]["N"] == "10"
    forged = guard_of(world, settings=guard.settings, ingested=lambda *_: None).handle(labels_message("w2", 5000))
    assert forged.decision is Decision.NOT_CONFIRMED
    assert forged.reason == "weekly_demand_v1 has no snapshot of ingest w2"
    assert item(world, "STATE")["new_labels"]["N"] == "10"


def test_a_crash_after_counting_counts_once(world: World) -> None:
    """Marker and sum are one write; the next delivery decides."""
    settings = replace(SETTINGS, minimum_labels=1000, label_table="weekly_demand_v1")
    dying = _Dying(world.dynamodb, "put_item", after=False)
    with pytest.raises(_CrashError):
        guard_of(world, dynamodb=dying, settings=settings).handle(labels_message("w1", 400))
    assert guard_of(world, settings=settings).handle(labels_message("w1", 400)).decision is Decision.TOO_FEW_LABELS
    assert item(world, "STATE")["new_labels"]["N"] == "400"


def test_an_alarm_that_stays_on_is_asked_about_again(firing: World) -> None:
    """It sent one event; after the cool-down the recheck rule starts the next retraining."""
    guard = guard_of(firing, settings=replace(SETTINGS, recheck_rule=RULE))
    owner = guard.handle(alarm_message()).execution
    assert owner is not None
    release(firing, owner)
    requested = [
        guard.handle(recheck_message(f"h{hour}", NOW + timedelta(hours=hour))).decision for hour in (1, 12, 23, 24)
    ]
    assert requested == [*[Decision.COOLING_DOWN] * 3, Decision.STARTED]
    firing.alarm("demand-drift", "OK")
    assert guard.handle(recheck_message("h48", NOW + timedelta(hours=48))).decision is Decision.NOT_CONFIRMED


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
def test_an_execution_that_was_ended_from_outside_is_released(firing: World, status: str) -> None:
    """Only its own lock, and only if it has ended."""
    guard = guard_of(firing)
    owner = guard.handle(alarm_message()).execution
    assert owner is not None
    running = guard.handle(ended_message("s1", owner, status))
    assert (running.decision, running.reason) == (Decision.NOT_CONFIRMED, f"{owner} is RUNNING now")
    firing.stepfunctions.stop_execution(executionArn=owner)
    assert guard.handle(ended_message("s2", owner, status)).decision is Decision.RELEASED
    assert "owner" not in item(firing, "STATE")
    second = guard.handle(alarm_message("p1", manual=True)).execution
    late = guard.handle(ended_message("s3", owner, status))
    assert late.reason == f"{owner} is ABORTED and no longer held the lock"
    assert item(firing, "STATE")["owner"]["S"] == second


def test_a_lock_of_an_execution_that_is_over_is_not_waited_for(firing: World) -> None:
    """Its end event was lost; the next request reads the execution itself."""
    guard = guard_of(firing)
    owner = guard.handle(alarm_message()).execution
    assert owner is not None
    firing.stepfunctions.stop_execution(executionArn=owner)
    assert guard.handle(alarm_message("e2", NOW + timedelta(hours=1))).decision is Decision.COOLING_DOWN
    assert guard.handle(alarm_message("p1", NOW + timedelta(hours=1), manual=True)).decision is Decision.STARTED


def test_a_lock_whose_execution_never_started_is_taken_over_in_time(firing: World) -> None:
    """While its message may be redelivered it is waited for; a message in the dead-letter queue is not."""
    dying = _Dying(firing.stepfunctions, "start_execution", after=False)
    with pytest.raises(_CrashError):
        guard_of(firing, stepfunctions=dying).handle(alarm_message())
    guard = guard_of(firing)
    assert guard.handle(alarm_message("p1", NOW + timedelta(minutes=20), manual=True)).decision is Decision.BUSY
    assert guard.handle(alarm_message("p2", NOW + timedelta(minutes=31), manual=True)).decision is Decision.STARTED


TAKING = replace(SETTINGS, artifacts_bucket="artifacts", daily_budget=24)
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/4"


def test_an_archive_becomes_one_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run measures it, with a package and after a rejection; ``again`` measures it once more."""
    guard = guard_of(world, settings=TAKING)
    first = guard.handle(brought_message("e1"))
    known = guard.handle(brought_message("e2"))
    assert (first.decision, known.decision) == (Decision.STARTED, Decision.KNOWN)
    assert (known.execution, known.outcome, known.package) == (first.execution, None, None)
    assert guard.handle(brought_message("e3", again=True)).decision is Decision.BUSY
    assert guard.handle(brought_message("e4", sha256="b" * 64)).decision is Decision.BUSY
    assert first.execution is not None
    keep_outcome(world, first.execution, "REGISTERED", package=PACKAGE)
    release(world, first.execution, "REGISTERED")
    monkeypatch.setitem(APPROVALS, PACKAGE, "Rejected")
    known = guard.handle(brought_message("e5"))
    assert (known.decision, known.execution, known.outcome) == (Decision.KNOWN, first.execution, "REGISTERED")
    assert (known.package, " which is Rejected now; use --again" in known.reason) == (PACKAGE, True)
    row = item(world, "EVENT#e5")
    assert (row["outcome"]["S"], row["package"]["S"]) == ("REGISTERED", PACKAGE)
    assert len(world.executions("Retrain")) == 1
    monkeypatch.delitem(APPROVALS, PACKAGE)
    second = guard.handle(brought_message("e6"))
    assert second.decision is Decision.STARTED
    assert second.execution is not None
    keep_outcome(world, second.execution, "REJECTED")
    release(world, second.execution, "REJECTED")
    known = guard.handle(brought_message("e7"))
    assert (known.execution, known.outcome, known.package) == (second.execution, "REJECTED", None)
    assert guard.handle(brought_message("e8", again=True)).decision is Decision.STARTED


def test_people_who_bring_one_archive_at_once_start_one_run(world: World) -> None:
    """Thirty people in three threads, each delivered twice: one run answers all."""
    guard, decisions = guard_of(world, settings=TAKING), list[GuardDecision]()

    def deliver(part: int) -> None:
        decisions.extend(guard.handle(brought_message(f"e{number // 2}")) for number in range(part, 60, 3))

    threads = [threading.Thread(target=deliver, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (run,) = world.executions("Retrain")
    assert len(decisions) == 60
    assert {each.decision for each in decisions} == {Decision.STARTED, Decision.KNOWN, Decision.DUPLICATE}
    assert {each.execution for each in decisions if each.decision is Decision.KNOWN} == {
        execution_arn(SETTINGS.machine_arn, run)
    }


def test_a_run_that_died_answers_for_nothing(world: World) -> None:
    """Its lock is taken over, and the archive measured."""
    guard = guard_of(world, settings=TAKING)
    first = guard.handle(brought_message("e1"))
    assert first.execution is not None
    world.stepfunctions.stop_execution(executionArn=first.execution)
    assert guard.handle(brought_message("e2")).decision is Decision.STARTED


def test_a_start_that_was_cut_off_is_its_own_run(world: World) -> None:
    """The redelivered event starts it, and is not answered by its own lock."""
    dying = _Dying(world.stepfunctions, "start_execution", after=False)
    with pytest.raises(_CrashError):
        guard_of(world, settings=TAKING, stepfunctions=dying).handle(brought_message("e1"))
    assert guard_of(world, settings=TAKING).handle(brought_message("e1")).decision is Decision.STARTED
