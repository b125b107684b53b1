"""What a status says of a monitor: the newest report, or why there is none to be read.

What a unit has deployed and does now, read from moto's services.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.runtime.business_unit.unit_samples import ENDPOINT as ENDPOINT_OVERVIEW
from tests.runtime.business_unit.unit_samples import PIPELINE as PIPELINE_OVERVIEW
from tests.runtime.monitor import reports

from mlops_runtime.business_unit.unit_overview import (
    DELETED,
    NOT_YET_DEPLOYED,
    RECORDED,
    EndpointOverview,
    Lock,
    MonitorOverview,
    Overview,
    PipelineOverview,
    UnitOverview,
    newest_verdict,
)
from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.retraining import Decision, Trigger
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, Outcome, audit_key
from mlops_runtime.contracts.unit_entries import (
    EndpointEntry,
    FreezeSpec,
    FreezeWindow,
    PauseState,
    PipelineEntry,
    UnitEntry,
)
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.retraining.run_history import Run
from mlops_runtime.rollout.audit_chain import GENESIS
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress
from mlops_runtime.rollout.rollout_table import RolloutTable

NOW = datetime(2017, 8, 8, 9, tzinfo=UTC)
FOUND = {"endpoint": "demand-forecast", "artifacts": "artifacts", "now": NOW}


LATER = datetime(2017, 8, 10, 12, tzinfo=UTC)
ENDPOINT = "demand-forecast"
SPEC_URI = "s3://a/specs/demand-forecast/one.json"
UNIT_ENTRY = UnitEntry(
    unit="demand",
    automation_table="automation",
    audit_bucket="a",
    artifacts_bucket="b",
    bus="c",
    heads_bucket="h",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)
LIVE = LivePointer(
    endpoint=ENDPOINT, config="live", model="live", model_package_arn="p", model_sha256="b", artifact_uri="a",
    baseline_uri="b", baseline_sha256="8" * 64, evaluation_uri="e", training_set_id="t", spec_sha256="s", spec_uri=SPEC_URI,
    execution="x", since="2017-08-08T11:00:00Z",
    artifact_sha256="a" * 64, container_sha256="c" * 64,
)  # fmt: skip


@pytest.fixture
def s3() -> Iterator[Any]:
    """Moto's S3 with the bucket."""
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        client.create_bucket(Bucket="artifacts")
        yield client


def test_the_newest_report_is_told(s3: Any) -> None:
    """Its states, engine and verdict."""
    store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
    for day, verdict in ((7, "drift"), (8, "no drift")):
        store.put_report(
            reports.report_of(day, reports.QUIET, verdict=verdict, suppressed="a rollout"),
            {},
            datetime(2017, 8, day, 6, tzinfo=UTC),
        )

    assert newest_verdict(s3, **FOUND) == MonitorOverview(
        window_until="2017-08-08T06:00:00Z",
        states={"drift": "OK", "quality": "OK", "latency": "OK"},
        engine="LAMBDA",
        verdict="no drift",
        suppressed="a rollout",
    )


def test_without_a_report_there_is_nothing_to_tell(s3: Any) -> None:
    """Also before the stack has its bucket."""
    assert newest_verdict(s3, **FOUND) is None
    assert newest_verdict(s3, **{**FOUND, "artifacts": "nowhere"}) is None


def test_what_cannot_be_read_is_said(s3: Any) -> None:
    """A report of a later version."""
    s3.put_object(Bucket="artifacts", Key="monitor/demand-forecast/reports/2017-08-08T06/report.json", Body=b"{}")

    found = newest_verdict(s3, **FOUND)
    assert found is not None
    assert "endpoint" in found.unread


@pytest.mark.parametrize(("code", "message"), [("AccessDenied", "AccessDenied"), ("SlowDown", None)])
def test_who_may_not_read_reports_still_has_a_status(code: str, message: str | None) -> None:
    """Any other error is one."""

    class Refusing:
        def get_paginator(self, _: str) -> "Refusing":
            return self

        def paginate(self, **_: object) -> list[object]:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "ListObjectsV2")

    refusing: Any = Refusing()
    if message is None:
        with pytest.raises(ClientError):
            newest_verdict(refusing, **FOUND)
    else:
        assert newest_verdict(refusing, **FOUND) == MonitorOverview(states={}, unread=message)


class World:
    """Tables and machines of one unit."""

    def __init__(self) -> None:
        keys = {"region_name": "us-east-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        self.dynamodb: Any = boto3.client("dynamodb", **keys)
        self.sagemaker: Any = boto3.client("sagemaker", **keys)
        self.stepfunctions: Any = boto3.client("stepfunctions", **keys)
        for name, key_names in (
            ("automation", ["endpoint"]), ("rollout", ["endpoint"]), ("retraining", ["pipeline", "item"]),
        ):  # fmt: skip
            self.dynamodb.create_table(
                TableName=name,
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in key_names],
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind}
                    for key, kind in zip(key_names, ("HASH", "RANGE"), strict=False)
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        definition = '{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": true}}}'
        self.deploy, self.retrain = (
            str(
                self.stepfunctions.create_state_machine(
                    name=name, definition=definition, roleArn="arn:aws:iam::123456789012:role/machine"
                )["stateMachineArn"]
            )
            for name in ("Deploy", "Retrain")
        )
        self.endpoint_entry = EndpointEntry(
            endpoint=ENDPOINT,
            unit="demand",
            group=ENDPOINT,
            rollout_table="rollout",
            deploy_machine=self.deploy,
            target="x",
            is_monitored=True,
        )
        self.pipeline_entry = PipelineEntry(
            pipeline=ENDPOINT, unit="demand", group=ENDPOINT, retraining_table="retraining", retrain_machine=self.retrain,
            queue_url="q",
        )  # fmt: skip
        self.overview = Overview(
            dynamodb=self.dynamodb, sagemaker=self.sagemaker, stepfunctions=self.stepfunctions, now=LATER
        )

    def start(self, machine: str) -> str:
        """Start an execution."""
        return str(self.stepfunctions.start_execution(stateMachineArn=machine)["executionArn"])

    def put(self, table: str, **attributes: Any) -> None:
        """Write an item: text and numbers."""
        item = {name: {"N": str(v)} if isinstance(v, int) else {"S": v} for name, v in attributes.items()}
        self.dynamodb.put_item(TableName=table, Item=item)

    def serve(self, config: str) -> None:
        """SageMaker serves a config."""
        self.sagemaker.create_model(
            ModelName=config, ExecutionRoleArn="arn:aws:iam::123456789012:role/x", PrimaryContainer={"Image": "i"}
        )
        variant = {"VariantName": "v", "ModelName": config, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config)


@pytest.fixture
def world() -> Iterator[World]:
    """Fresh tables and machines."""
    with mock_aws():
        yield World()


def test_a_new_unit_waits_for_its_first_model(world: World) -> None:
    """Nothing is paused, frozen, live or running."""
    unit = world.overview.unit(UNIT_ENTRY, [world.endpoint_entry], [world.pipeline_entry])

    (endpoint,), (pipeline,) = unit.endpoints, unit.pipelines
    assert (unit.unit, unit.pause, unit.frozen, unit.next_freeze, unit.last) == ("demand", None, None, None, None)
    assert (endpoint.state, endpoint.live, endpoint.desired, endpoint.is_desired) == (
        NOT_YET_DEPLOYED,
        None,
        None,
        None,
    )
    assert (endpoint.running, endpoint.lock, endpoint.last) == ((), None, None)
    assert (pipeline.running, pipeline.lock, pipeline.last_started, pipeline.day_count) == ((), None, None, 0)


def test_a_pause_and_a_freeze_are_told(world: World) -> None:
    """With the last record of the unit's own chain, and the freeze that comes next."""
    windows = tuple(
        FreezeWindow(name=name, start=LATER + timedelta(days=day), end=LATER + timedelta(days=day + 2))
        for name, day in (("past", -9), ("now", -1), ("next", 30), ("later", 60))
    )
    pause = PauseState(is_paused=True, by="ann", at="2017-08-10T10:00:00Z", reason="stocktaking")
    record = AuditRecord(
        endpoint="demand", sequence=1, previous=GENESIS, outcome=Outcome.PAUSED, reason="stocktaking", execution="x",
        at=pause.at, requested_by="ann",
    )  # fmt: skip
    table = RolloutTable(world.dynamodb, "automation", "demand")
    table.move_head(table.read(), record, content_hash(record), pause=pause)

    unit = world.overview.unit(replace(UNIT_ENTRY, freeze=FreezeSpec(windows=windows)), [], [])

    assert (unit.pause, unit.last) == (pause, record)
    assert unit.frozen == "frozen by 'now' until 2017-08-11T12:00:00Z"
    assert unit.next_freeze == windows[2]


@pytest.mark.parametrize(
    ("desired", "is_desired"), [(SPEC_URI, True), ("s3://a/specs/demand-forecast/two.json", False)]
)
def test_what_serves_is_compared_with_what_is_desired(world: World, desired: str, is_desired: bool) -> None:
    """And with SageMaker, which has the last word."""
    world.put("rollout", endpoint=ENDPOINT, live=canonical_json(LIVE).decode(), desired=desired)
    world.serve("by-hand")

    endpoint = world.overview.endpoint(world.endpoint_entry)

    assert (endpoint.state, endpoint.serving_config) == ("InService", "by-hand")
    assert (endpoint.live, endpoint.desired, endpoint.is_desired) == (LIVE, desired, is_desired)


def test_an_endpoint_that_somebody_deleted_is_gone(world: World) -> None:
    """The row still says what served."""
    world.put("rollout", endpoint=ENDPOINT, live=canonical_json(LIVE).decode())

    assert world.overview.endpoint(world.endpoint_entry).state == DELETED


def test_of_a_cluster_what_is_recorded_is_told(world: World) -> None:
    """It answers in its own network only; an endpoint of that name that SageMaker has is another one's."""
    entry = replace(world.endpoint_entry, target="EKS")
    world.serve("another")
    assert world.overview.endpoint(entry).state == NOT_YET_DEPLOYED
    world.put("rollout", endpoint=ENDPOINT, live=canonical_json(LIVE).decode())
    reported = world.overview.endpoint(entry)
    assert (reported.state, reported.serving_config, reported.live) == (RECORDED, None, LIVE)


@pytest.mark.parametrize(("seconds", "expired"), [(60, False), (-60, True)])
def test_rollouts_and_their_lock_are_told(world: World, seconds: int, expired: bool) -> None:
    """A lock that has ended may be taken over."""
    execution = world.start(world.deploy)
    world.start(world.retrain)
    until = LATER + timedelta(seconds=seconds)
    world.put("rollout", endpoint=ENDPOINT, owner=execution, lock_until=int(until.timestamp()))

    endpoint = world.overview.endpoint(world.endpoint_entry)

    assert endpoint.running == (execution,)
    assert endpoint.lock == Lock(owner=execution, until=f"{until:%Y-%m-%dT%H:%M:%SZ}", expired=expired)


class Rollouts:
    """Where an execution is, or why that cannot be read."""

    def __init__(self, answer: RolloutProgress | str) -> None:
        self._answer = answer

    def read(self, execution: str, now: datetime) -> RolloutProgress:
        """Give the answer."""
        assert now == LATER
        if isinstance(self._answer, str):
            raise ClientError({"Error": {"Code": self._answer, "Message": "no"}}, "GetExecutionHistory")
        return replace(self._answer, execution=execution)


def test_the_rollout_that_holds_the_lock_says_where_it_is(world: World) -> None:
    """One that waits does not; who may not read histories still has a status, and another error is one."""
    first, _waits = world.start(world.deploy), world.start(world.deploy)
    world.put("rollout", endpoint=ENDPOINT, owner=first, lock_until=int(LATER.timestamp()) + 60)
    found = RolloutProgress(execution="", phase=Phase.BAKING, since="2017-08-10T11:50:00Z")

    def reported(answer: RolloutProgress | str) -> EndpointOverview:
        rollouts: Any = Rollouts(answer)
        return replace(world.overview, rollouts=rollouts).endpoint(world.endpoint_entry)

    assert reported(found).progress == replace(found, execution=first)
    assert world.overview.endpoint(world.endpoint_entry).progress is None
    denied = reported("AccessDeniedException")
    assert (denied.progress, denied.progress_unread) == (None, "AccessDeniedException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        reported("ThrottlingException")
    world.stepfunctions.stop_execution(executionArn=first)
    assert reported(found).progress is None


def test_the_last_rollout_is_found_behind_rejections(world: World) -> None:
    """Its record has the verdict; without the right to read records the newest one is told alone."""
    s3: Any = boto3.client("s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    s3.create_bucket(Bucket="audit")
    records, previous = [], GENESIS
    for number, outcome in enumerate((Outcome.PROMOTED, Outcome.REJECTED, Outcome.REFUSED), 1):
        made = AuditRecord(
            endpoint=ENDPOINT, sequence=number, previous=previous, outcome=outcome, reason="r", execution="e",
            at="2017-08-01T00:00:00Z", requested_by="ann",
        )  # fmt: skip
        previous = content_hash(made)
        s3.put_object(Bucket="audit", Key=audit_key(ENDPOINT, number, previous), Body=canonical_json(made))
        records.append(made)
    world.put(
        "rollout",
        endpoint=ENDPOINT,
        audit_head=previous,
        audit_sequence=3,
        audit_last=canonical_json(records[-1]).decode(),
    )

    def reported(bucket: str | None) -> EndpointOverview:
        return replace(world.overview, s3=s3).endpoint(world.endpoint_entry, audit=bucket)

    assert (reported("audit").last, reported("audit").rollout) == (records[2], records[0])
    assert (reported(None).rollout, reported("gone").rollout) == (None, None)


@pytest.mark.parametrize(
    ("until", "expected"), [("2017-08-10T12:00:01Z", True), ("2017-08-10T12:00:00Z", False), (None, False)]
)
def test_probation_is_told_while_it_lasts(world: World, until: str | None, expected: bool) -> None:
    """Afterwards the promotion stands."""
    live = replace(LIVE, probation_until=until)
    world.put("rollout", endpoint=ENDPOINT, live=canonical_json(live).decode())

    assert world.overview.endpoint(world.endpoint_entry).probation_until == (until if expected else None)


def test_a_pipeline_tells_its_last_start(world: World) -> None:
    """With the budget used that day, and who holds its lock."""
    execution = world.start(world.retrain)
    world.put(
        "retraining", pipeline=ENDPOINT, item="STATE", owner=execution, lock_until=int(LATER.timestamp()) + 60,
        last_started=int(LATER.timestamp()) - 60, last_execution=execution, day="2017-08-10", day_count=2, new_labels=31,
    )  # fmt: skip

    pipeline = world.overview.pipeline(world.pipeline_entry, unit=UNIT_ENTRY)

    assert pipeline.running == (execution,)
    assert pipeline.lock == Lock(owner=execution, until="2017-08-10T12:01:00Z", expired=False)
    assert (pipeline.last_started, pipeline.last_execution) == ("2017-08-10T11:59:00Z", execution)
    assert (pipeline.day, pipeline.day_count, pipeline.new_labels) == ("2017-08-10", 2, 31)


class History:
    """Runs of a pipeline, or the error that reading them meets."""

    def __init__(self, *runs: Run, error: str | None = None) -> None:
        self._runs, self._error = runs, error

    def runs(self, *, last: int) -> tuple[Run, ...]:
        """Give the newest."""
        if self._error is not None:
            raise ClientError({"Error": {"Code": self._error, "Message": "no"}}, "Query")
        return self._runs[:last]


RUN = Run(id="r1", pipeline=ENDPOINT, at="2017-08-10T09:00:00Z", outcome="REGISTERED", trigger=Trigger.ALARM)
REFUSED = Run(
    id="e1", pipeline=ENDPOINT, at="2017-08-10T10:00:00Z", outcome="REFUSED", decision=Decision.COOLING_DOWN,
    free_at="2017-08-10T14:00:00Z",
)  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "last_run", "refused"),
    [((), None, None), ((RUN,), RUN, None), ((REFUSED, RUN), RUN, REFUSED), ((RUN, REFUSED), RUN, None)],
)
def test_what_the_guard_refused_since_the_last_run_is_told(
    world: World, runs: tuple[Run, ...], last_run: Run | None, refused: Run | None
) -> None:
    """What it refused before a run that began is over."""
    history: Any = History(*runs)
    overview = replace(world.overview, history=lambda _unit, _pipeline: history)

    pipeline = overview.pipeline(world.pipeline_entry, unit=UNIT_ENTRY)

    assert (pipeline.last_run, pipeline.refused, pipeline.unread) == (last_run, refused, "")


@pytest.mark.parametrize("code", ["AccessDeniedException", "NoSuchBucket"])
def test_who_cannot_read_runs_still_has_a_status(world: World, code: str) -> None:
    """The role of people on call may do little, and a bucket may be gone; any other error is one."""
    denied: Any = History(error=code)
    slow: Any = History(error="ThrottlingException")

    pipeline = replace(world.overview, history=lambda _unit, _pipeline: denied).pipeline(
        world.pipeline_entry, unit=UNIT_ENTRY
    )

    assert (pipeline.last_run, pipeline.unread) == (None, code)
    with pytest.raises(ClientError, match="ThrottlingException"):
        replace(world.overview, history=lambda _unit, _pipeline: slow).pipeline(world.pipeline_entry, unit=UNIT_ENTRY)


class Packages:
    """SageMaker's answer to who lists packages."""

    def __init__(self, answer: list[str] | str) -> None:
        self._answer = answer

    def list_model_packages(self, **_: object) -> dict[str, list[dict[str, str]]]:
        """Give the packages, or the error."""
        if isinstance(self._answer, str):
            raise ClientError({"Error": {"Code": self._answer, "Message": "no"}}, "ListModelPackages")
        return {"ModelPackageSummaryList": [{"ModelPackageArn": arn} for arn in self._answer]}

    def describe_endpoint(self, **_: object) -> dict[str, object]:
        """Give none."""
        raise ClientError(
            {"Error": {"Code": "ValidationException", "Message": "Could not find endpoint"}}, "DescribeEndpoint"
        )


@pytest.mark.parametrize(
    ("answer", "waiting"),
    [
        (["arn:p/3", "arn:p/2"], ("arn:p/3", "arn:p/2")),
        ("ValidationException", ()),
        ("AccessDeniedException", None),
    ],
)
def test_packages_wait_for_an_approval(world: World, answer: list[str] | str, waiting: tuple[str, ...] | None) -> None:
    """A group that is not there has none; without the right it is not known."""
    sagemaker: Any = Packages(answer)

    assert replace(world.overview, sagemaker=sagemaker).endpoint(world.endpoint_entry).waiting == waiting


class Denied(Overview):
    """Some units may not be read."""

    def unit(self, entry: UnitEntry, endpoints: Any, pipelines: Any) -> UnitOverview:
        """Return the unit, unless it may not be read."""
        assert (endpoints, pipelines) == ([f"{entry.unit}-forecast"], [])
        if entry.unit in self.dynamodb["denied"]:
            error = {"Code": self.dynamodb["code"], "Message": "not authorized"}
            raise ClientError({"Error": error}, "GetItem")
        return UnitOverview(
            unit=entry.unit,
            pause=None,
            frozen=None,
            next_freeze=None,
            last=None,
            endpoints=(),
            pipelines=(),
            owner=entry.owner,
            cost_center=entry.cost_center,
        )


class Listed:
    """Three units, which may be listed."""

    def whole_units(self) -> list[tuple[UnitEntry, list[str], list[str]]]:
        """Return the units with endpoints and pipelines."""
        return [(replace(UNIT_ENTRY, unit=name), [f"{name}-forecast"], []) for name in "abc"]


def _account(denied: str, code: str) -> tuple[Overview, Any]:
    nothing: Any = None
    clients: Any = {"denied": denied, "code": code}
    return Denied(dynamodb=clients, sagemaker=nothing, stepfunctions=nothing, now=NOW), Listed()


def test_a_unit_that_may_not_be_read_is_named_and_the_others_are_shown() -> None:
    """With the reason of each."""
    overview, entries = _account("ac", "AccessDeniedException")

    found, unread = overview.readable(entries)

    assert [unit.unit for unit in found] == ["b"]
    assert list(unread) == ["a", "c"]
    assert unread["a"].startswith("AWS refused GetItem (AccessDeniedException): not authorized")


@pytest.mark.parametrize(("denied", "code"), [("abc", "AccessDenied"), ("b", "ThrottlingException")])
def test_a_caller_who_may_read_nothing_or_meets_another_error_is_told_so(denied: str, code: str) -> None:
    """An empty list would say that nothing is deployed."""
    overview, entries = _account(denied, code)

    with pytest.raises(ClientError, match=code):
        overview.readable(entries)


class Meeting(Overview):
    """Each endpoint waits for others that are read at the same time."""

    def endpoint(
        self, entry: EndpointEntry, *, artifacts: str | None = None, audit: str | None = None
    ) -> EndpointOverview:
        """Return once three have been asked for."""
        assert (artifacts, audit) == (UNIT_ENTRY.artifacts_bucket, UNIT_ENTRY.audit_bucket)
        self.dynamodb["met"].wait(timeout=60)
        return replace(ENDPOINT_OVERVIEW, endpoint=entry.endpoint)


def test_three_parts_of_a_unit_are_read_at_once_in_their_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet's page takes as long as the slowest calls, not as all of them."""
    monkeypatch.setattr(RolloutTable, "read", lambda table: LockRow(endpoint=table.endpoint))
    clients: Any = {"met": threading.Barrier(3)}  # broken after a minute, if fewer come
    entries = [replace(world.endpoint_entry, endpoint=f"demand-{number}") for number in range(6)]

    unit = Meeting(dynamodb=clients, sagemaker=world.sagemaker, stepfunctions=world.stepfunctions, now=NOW).unit(
        UNIT_ENTRY, entries, []
    )

    assert [each.endpoint for each in unit.endpoints] == [each.endpoint for each in entries]


class Private(Overview):
    """Endpoints and pipelines, of which those named in ``sagemaker`` may not be read."""

    def endpoint(
        self, entry: EndpointEntry, *, artifacts: str | None = None, audit: str | None = None
    ) -> EndpointOverview:
        """Return an endpoint, unless it may not be read."""
        assert (artifacts, audit) == (UNIT_ENTRY.artifacts_bucket, UNIT_ENTRY.audit_bucket)
        self._refuse(f"endpoint {entry.endpoint}")
        return replace(ENDPOINT_OVERVIEW, endpoint=entry.endpoint)

    def pipeline(self, entry: PipelineEntry, *, unit: UnitEntry) -> PipelineOverview:
        """Return a pipeline, unless it may not be read."""
        assert unit is UNIT_ENTRY
        self._refuse(f"pipeline {entry.pipeline}")
        return replace(PIPELINE_OVERVIEW, pipeline=entry.pipeline)

    def _refuse(self, name: str) -> None:
        answers: Any = self.sagemaker
        if name in answers:
            raise ClientError({"Error": {"Code": answers[name], "Message": "no"}}, "GetItem")


def _unit_in(world: World, **answers: str) -> UnitOverview:
    given: Any = {name.replace("_", " "): code for name, code in answers.items()}
    entries = [replace(world.endpoint_entry, endpoint=name) for name in "ab"]
    pipelines = [replace(world.pipeline_entry, pipeline=name) for name in "ab"]
    overview = Private(dynamodb=world.dynamodb, sagemaker=given, stepfunctions=world.stepfunctions, now=NOW)
    return overview.unit(UNIT_ENTRY, entries, pipelines)


def test_parts_of_a_unit_that_may_not_be_read_are_named(world: World) -> None:
    """An endpoint and a pipeline of one name are two."""
    unit = _unit_in(world, endpoint_a="AccessDeniedException", pipeline_a="AccessDenied")

    assert [each.endpoint for each in unit.endpoints] == ["b"]
    assert [each.pipeline for each in unit.pipelines] == ["b"]
    assert list(unit.unread) == ["endpoint a", "pipeline a"]
    assert unit.unread["endpoint a"].startswith("AWS refused GetItem (AccessDeniedException): no")


@pytest.mark.parametrize(
    "answers",
    [
        {"endpoint_a": "AccessDeniedException", "endpoint_b": "AccessDeniedException"},
        {"pipeline_a": "ThrottlingException"},
    ],
)
def test_a_unit_of_which_no_endpoint_may_be_read_is_refused(world: World, answers: dict[str, str]) -> None:
    """A page without a model would say that none is deployed; any other error is one."""
    with pytest.raises(ClientError, match=next(iter(answers.values()))):
        _unit_in(world, **answers)
