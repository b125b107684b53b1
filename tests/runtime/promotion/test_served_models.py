"""A registry's state of its targets and its reports to the source, with S3, DynamoDB and EventBridge in process."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.released import SOURCE, TARGET
from tests.reported import GROUP, ONE, PRODUCTION, SETTINGS, TWO, at, event, state, version, wish, with_detail

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, Outcome
from mlops_runtime.contracts.served_model import ServedState
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.promotion.downstream_table import DownstreamTable
from mlops_runtime.promotion.environment_link import downstream_chain
from mlops_runtime.promotion.served_models import BusyError, ServedHere, ServedModels
from mlops_runtime.promotion.target_environment import ServedSettings
from mlops_runtime.registry.package_approval import BusRules
from mlops_runtime.retraining.request_evidence import Alarms
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollout_table import RolloutTable

NOW = datetime(2017, 8, 1, 9, 1, tzinfo=UTC)
RULE = "arn:aws:events:eu-west-1:111111111111:rule/again"
TICK = event(source="aws.events", resources=[RULE], detail={}, account=SOURCE.account)


class Bus:
    """The unit's bus with recorded events."""

    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []
        self.refuses = False

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        """Record an event."""
        if self.refuses:
            return {"Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]}
        self.put += Entries
        return {"Entries": [{"EventId": "e"}]}

    def describe_rule(self, *, Name: str) -> dict[str, str]:  # noqa: N803 - as boto3 has it
        """Describe an enabled rule, or one with ``off`` in its name."""
        return {"State": "DISABLED" if "off" in Name else "ENABLED"}

    @property
    def sent_states(self) -> list[ServedState]:
        """Return the reports to the source."""
        return [from_json(ServedState, json.loads(each["Detail"])["attributes"]["served"]) for each in self.put]


@pytest.fixture
def bus() -> Bus:
    """Return the unit's bus."""
    return Bus()


@pytest.fixture
def models(place: Any, bus: Bus) -> ServedModels:
    """Return the models of the first account, with two releases and no source."""
    for each in (ONE, TWO):
        place.s3.put_object(Bucket="here", Key=each.key, Body=each.content)
    return ServedModels(
        s3=place.s3,
        events=bus,  # type: ignore[arg-type] # what is asked of it
        table=DownstreamTable(place.dynamodb, "promotions", GROUP),
        targets=SETTINGS,
        settings=ServedSettings(group=GROUP, targets=SETTINGS.targets),
        bucket="here",
        bus="unit",
        recheck_rule=RULE,
        rules=(BusRules(names=("heard", "told-off")),),
    )


@pytest.fixture
def ignored(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the reasons of ignored messages."""
    caplog.set_level(logging.INFO)

    def reasons() -> list[str]:
        parsed = [json.loads(each) for each in caplog.messages if each.startswith('{"message"')]
        return [each["what"] for each in parsed if each["decision"] == "IGNORED"]

    return reasons


def send(models: ServedModels, reported: object) -> None:
    """Deliver a message."""
    models.handle(Message(id="m", body=json.dumps(reported), sent=NOW))


def live(place: Any) -> LivePointer | None:
    """Return the champion."""
    row = RolloutTable(place.dynamodb, "promotions", downstream_chain(GROUP)).read()
    return None if row.live is None else from_json(LivePointer, row.live)


def test_what_a_target_serves_becomes_the_champion(models: ServedModels, place: Any, bus: Bus) -> None:
    """As the source's own package; then the model of the environment behind it, for any order of reports."""
    send(models, event())
    first = live(place)
    assert first is not None
    assert first.artifact_uri == ONE.record.package.artifact_uri
    send(models, event(state(PRODUCTION, serves=version(TWO, number=2))))
    send(models, event(state(minute=30, sequence=8, rolled_back=(version(TWO, number=4, minute=30),))))
    last = live(place)

    assert last is not None
    assert (last.model_sha256, last.config) == (TWO.record.package.model_sha256, "production demand-forecast/2")
    states = {each.name: each for each in models.table.read().states}
    assert [each.released_as for each in states["staging"].rolled_back] == ["demand-forecast/8"]
    assert bus.put == []


def test_the_first_model_has_no_champion(models: ServedModels, place: Any) -> None:
    """An environment that serves nothing reports it."""
    send(models, event(state(serves=None)))

    assert live(place) is None
    assert [each.serves for each in models.table.read().states] == [None]


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        (event(account="444444444444"), "444444444444 eu-west-1 is not a target"),
        (event(state(serves=version(binding="f" * 64))), "was not made here"),
        (event(**with_detail(subject="demand-returns")), "group is 'demand-returns'"),
        (event(time="2017-07-01T00:00:00Z"), "event of 2017-07-01"),
        (event(state(minute=5, sequence=2)), "is stale"),
        (event(), "is known"),
        (event(account=SOURCE.account), "is not about a served model"),
        ({**TICK, "resources": ["arn:other"]}, "is not about a served model"),
        ({"id": 1}, "id"),
    ],
)
def test_everything_else_changes_nothing_and_is_named(
    models: ServedModels, place: Any, expected: object, named: str, ignored: Callable[[], list[str]]
) -> None:
    """The log has the reason, and the row is unchanged."""
    send(models, event())
    before, champion = models.table.read(), live(place)
    send(models, expected)

    assert (models.table.read(), live(place)) == (before, champion)
    (reason,) = ignored()
    assert named in reason


def test_a_target_that_is_no_longer_listed_is_forgotten(models: ServedModels) -> None:
    """With its reports about environments behind it."""
    send(models, event(state(PRODUCTION)))
    other = replace(SETTINGS.targets[0], name="shop")
    listed = replace(models, targets=replace(SETTINGS, targets=(other,)))
    send(listed, event())

    assert [each.name for each in models.table.read().states] == ["shop"]


def test_two_reports_at_once_are_both_kept(models: ServedModels, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second write reads again; a permanently failing one stays in the queue."""
    original, second = DownstreamTable.read, [event(state(PRODUCTION))]

    def read(table: DownstreamTable) -> Any:
        found = original(table)
        if second:
            send(models, second.pop())
        return found

    monkeypatch.setattr(DownstreamTable, "read", read)
    send(models, event())
    assert {each.name for each in models.table.read().states} == {"staging", "production"}
    monkeypatch.setattr(DownstreamTable, "move", lambda *_: False)
    with pytest.raises(BusyError):
        send(models, event(state(minute=40, sequence=9)))


def between(models: ServedModels, place: Any, **changes: Any) -> ServedModels:
    """Return the models of an account with a source, which releases what it took."""
    for each in (ONE, TWO):
        taken = each.changed(origin=each.record.binding[::-1])
        place.s3.put_object(Bucket="here", Key=each.key, Body=canonical_json(taken.record))
    return replace(models, settings=replace(models.settings, has_source=True), **changes)


def test_an_account_in_the_middle_tells_its_source(models: ServedModels, place: Any, bus: Bus) -> None:
    """In its own event, because events are forwarded once; by the bindings of the source's releases."""
    middle = between(models, place)
    send(middle, event())
    (reported,) = bus.sent_states

    assert (bus.put[0]["EventBusName"], bus.put[0]["Source"]) == ("unit", "mlops.demand")
    assert bus.put[0]["DetailType"] == "MLOps Model Served"
    assert (reported.name, reported.hops, reported.account, reported.via) == ("staging", 2, TARGET.account, None)
    assert reported.serves is not None
    assert reported.serves.binding == ONE.record.binding[::-1]


def test_the_schedule_tells_again(models: ServedModels, place: Any, bus: Bus) -> None:
    """Lost reports are repeated; a registry without a source sends none."""
    middle = between(models, place)
    send(middle, event())
    send(middle, TICK)
    assert bus.sent_states[0] == bus.sent_states[1]
    send(models, TICK)
    assert len(bus.sent_states) == 2


def test_the_schedule_publishes_how_many_rules_are_stopped(
    models: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    """No report does."""
    send(models, event())
    assert capsys.readouterr().out == ""
    send(models, TICK)
    line = json.loads(capsys.readouterr().out)
    assert (line["RulesStopped"], line["rules"], line["ModelPackageGroup"]) == (1, ["told-off"], GROUP)


def test_an_event_that_the_bus_does_not_take_stays_in_the_queue(models: ServedModels, place: Any, bus: Bus) -> None:
    """The row is stored; the redelivery is a duplicate, and the schedule sends it."""
    middle, bus.refuses = between(models, place), True
    with pytest.raises(BusyError, match="ThrottlingException"):
        send(middle, event())
    bus.refuses = False
    send(middle, TICK)
    assert [each.at for each in bus.sent_states] == [at(10)]


def test_a_model_of_its_own_is_not_told(models: ServedModels, place: Any, bus: Bus) -> None:
    """The source does not know it."""
    middle = replace(models, settings=replace(models.settings, has_source=True))
    send(middle, event())
    assert bus.put == []


def test_a_request_goes_to_the_pipelines_here(models: ServedModels, bus: Bus) -> None:
    """Once by its id, which the pipeline's guard recognises; the version there is stored with it."""
    training = replace(models, settings=replace(models.settings, pipelines=("demand-forecast", "demand-weekly")))
    send(training, wish(faults="price: in cents", report="s3://there/report.json"))
    send(training, wish())

    details = [json.loads(each["Detail"]) for each in bus.put]
    assert [each["subject"] for each in details] == ["demand-forecast", "demand-weekly"]
    assert {each["DetailType"] for each in bus.put} == {"MLOps Retraining Requested"}
    assert {each["Source"] for each in bus.put} == {"mlops.demand"}
    assert {(each["id"], each["outcome"], each["reason"]) for each in details} == {
        ("a" * 64, "REQUESTED", "in ALARM: features")
    }
    assert details[0]["attributes"] == {
        "environment": "staging",
        "alarm": "features",
        "faults": "price: in cents",
        "report": "s3://there/report.json",
    }
    (known,) = models.table.read().states
    assert known.requested is not None
    assert known.requested.answer == "passed to demand-forecast, demand-weekly"
    send(models, event(state(minute=30, sequence=9)))
    assert models.table.read().states[0].requested == known.requested


def test_a_source_without_a_pipeline_says_so(models: ServedModels, bus: Bus) -> None:
    """The command `mlops promotions` shows it."""
    send(models, wish())
    (known,) = models.table.read().states

    assert known.requested is not None
    assert known.requested.answer == "demand-forecast has no retraining pipeline here"
    assert bus.put == []


def test_a_request_goes_on_to_the_source(models: ServedModels, place: Any, bus: Bus) -> None:
    """In its own event with the same id."""
    middle = between(models, place)
    send(middle, wish())
    (put,) = bus.put
    detail = json.loads(put["Detail"])

    assert (detail["subject"], detail["outcome"], detail["id"]) == (GROUP, "WANTED", "a" * 64)
    assert (bus.sent_states[0].hops, bus.sent_states[0].name) == (2, "staging")


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        (wish(state(serves=None)), "it serves no model that could be retrained"),
        (wish(state(minute=5, sequence=2)), "is stale"),
        (wish(state(serves=version(binding="f" * 64))), "was not made here"),
        (wish(alarm=""), "alarm is ''"),
        (wish(alarm="a\nb"), "alarm is 'a\\nb'"),
        ({**wish(), "account": "444444444444"}, "is not a target"),
        ({**wish(), "detail": {**wish()["detail"], "outcome": "REQUESTED"}}, "outcome is 'REQUESTED'"),
    ],
)
def test_other_requests_change_nothing_and_are_named(
    models: ServedModels, bus: Bus, expected: object, named: str, ignored: Callable[[], list[str]]
) -> None:
    """Of an unlisted account, about an unknown or former model, malformed."""
    training = replace(models, settings=replace(models.settings, pipelines=("demand-forecast",)))
    send(training, event())
    before = models.table.read()
    send(training, expected)

    assert (models.table.read(), bus.put) == (before, [])
    (reason,) = ignored()
    assert named in reason


@dataclass
class Evidence:
    """Evidence of alarms."""

    found: Alarms

    def read(self, names: tuple[str, ...], now: datetime) -> Alarms:
        """Return it."""
        assert (names, now) == (("drift", "quality"), NOW) or len(names) == 1
        return self.found


def alarm(name: str = "drift") -> dict[str, Any]:
    """Return the event of an alarm of this account."""
    detail = {"alarmName": name, "state": {"value": "ALARM"}}
    return event(account=SOURCE.account, source="aws.cloudwatch", detail=detail) | {
        "detail-type": "CloudWatch Alarm State Change"
    }


@pytest.mark.parametrize(
    ("expected", "found", "is_requested"),
    [
        (alarm(), Alarms({"drift": "ALARM"}, {}), True),
        (alarm(), Alarms({"drift": "OK"}, {}), False),
        (alarm(), Alarms({"drift": "ALARM"}, {"drift": "no report"}), False),
        (alarm("other"), Alarms({"other": "ALARM"}, {}), False),
        (TICK, Alarms({"drift": "OK", "quality": "ALARM"}, {}), True),
        (TICK, Alarms({"drift": "OK", "quality": "OK"}, {}), False),
    ],
)
def test_a_confirmed_alarm_asks_the_source(
    models: ServedModels, place: Any, bus: Bus, expected: object, found: Alarms, is_requested: bool
) -> None:
    """When it fires, and again while it is in ALARM; a repeated request has the same id."""
    package = SOURCE.arn("sagemaker", f"model-package/{GROUP}/3")
    place.table.offer(ONE.uri, ONE.sha256, at(1))
    place.table.decide(ONE.sha256, state="APPROVED", reason="", package=package, may_pass=False, at=at(2))
    _promote(place, package)
    row = RolloutTable(place.dynamodb, "promotions", GROUP)
    chain = AuditChain(s3=place.s3, bucket="audit", table=row, heads="heads")
    served = ServedHere(endpoint=GROUP, chain=chain, offers=place.table, evidence=Evidence(found))  # type: ignore[arg-type]
    settings = replace(models.settings, has_source=True, alarms=("drift", "quality"))
    here = replace(models, settings=settings, served=served)
    send(here, expected)
    send(here, expected)
    requested = [json.loads(each["Detail"]) for each in bus.put if each["DetailType"] == "MLOps Retraining Requested"]

    assert len(requested) == 2 * is_requested
    assert len({each["id"] for each in requested}) == is_requested
    if is_requested:
        state = from_json(ServedState, requested[0]["attributes"]["served"])
        assert state.serves is not None
        assert (requested[0]["outcome"], state.serves.binding) == ("WANTED", ONE.record.binding)


def test_rules_are_checked_also_where_an_alarm_is_about_another_model(
    models: ServedModels, place: Any, ignored: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The request is ignored each hour, and the metric must not be missing meanwhile."""
    chain = AuditChain(
        s3=place.s3, bucket="audit", table=RolloutTable(place.dynamodb, "promotions", GROUP), heads="heads"
    )
    evidence = Evidence(Alarms({"drift": "ALARM"}, {}))
    served = ServedHere(endpoint=GROUP, chain=chain, offers=place.table, evidence=evidence)  # type: ignore[arg-type]
    settings = replace(models.settings, has_source=True, alarms=("drift", "quality"))

    send(replace(models, settings=settings, served=served), TICK)

    assert ignored() == ["drift is in ALARM, but no release of the source serves"]
    assert json.loads(capsys.readouterr().out)["RulesStopped"] == 1


def test_what_the_endpoint_here_serves_is_told(place: Any, models: ServedModels, bus: Bus) -> None:
    """At the end of each of its rollouts, and of no other endpoint's."""
    environ = {
        "ACCOUNT": TARGET.account,
        "AWS_REGION": TARGET.region,
        "ARTIFACTS_BUCKET": "here",
        "AUDIT_BUCKET": "audit",
        "AUTOMATION_TABLE": "promotions",
        "BUS": "unit",
        "ENDPOINT": GROUP,
        "PROMOTIONS_TABLE": "promotions",
        "RECHECK_RULE": RULE,
        "ROLLOUT_TABLE": "promotions",
        "RULES": '[{"names": ["told"]}]',
        "SERVED_MODELS": canonical_json(ServedSettings(group=GROUP, has_source=True)).decode(),
        "UNIT": "demand",
    }
    clients = {"s3": place.s3, "dynamodb": place.dynamodb, "events": bus}
    here = ServedModels.from_environment(environ, clients.__getitem__)
    package = TARGET.arn("sagemaker", f"model-package/{GROUP}/3")
    place.table.offer(ONE.uri, ONE.sha256, at(1))
    place.table.decide(ONE.sha256, state="APPROVED", reason="", package=package, may_pass=False, at=at(2))
    _promote(place, package)
    ended = event(
        **{"detail-type": "MLOps Rollout Finished"}, detail={"id": "x", "subject": GROUP, "outcome": "PROMOTED"}
    )
    send(here, {**ended, "detail": {**ended["detail"], "subject": "demand-returns"}})
    assert bus.put == []
    send(here, ended)
    (reported,) = bus.sent_states

    assert reported.serves is not None
    assert (reported.serves.binding, reported.serves.version, reported.hops) == (ONE.record.binding, f"{GROUP}/3", 1)
    assert reported.account == TARGET.account


def _promote(place: Any, package: str) -> None:
    """Write the row of an endpoint that serves a package."""
    record = AuditRecord(
        endpoint=GROUP,
        sequence=1,
        previous="0" * 64,
        outcome=Outcome.PROMOTED,
        reason="",
        execution="e",
        at=at(3),
        requested_by="ann",
        serving_package=package,
        candidate_package=package,
        model_sha256="b" * 64,
    )
    row = RolloutTable(place.dynamodb, "promotions", GROUP)
    place.dynamodb.put_item(TableName="promotions", Item={"endpoint": {"S": GROUP}, "owner": {"S": "e"}})
    names = ("artifact_uri", "baseline_uri", "baseline_sha256", "evaluation_uri", "training_set_id", "spec_sha256")
    unused: dict[str, Any] = dict.fromkeys(
        (*names, "spec_uri", "artifact_sha256", "container_sha256", "config", "model", "execution"), "x"
    )
    pointer = LivePointer(endpoint=GROUP, model_package_arn=package, model_sha256="b" * 64, since=at(3), **unused)
    assert row.move_head(row.read(), record, content_hash(record), pointer, "e")
