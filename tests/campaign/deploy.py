"""The Deploy machine's world: the state before an execution, and the invariant after it under any faults."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.campaign.account import ENDPOINT, GOLDEN, KMS, OLD, Account, Context, Endpoint, boto3_dynamodb
from tests.campaign.machine import PREFIX, Fault, Run, run

from mlops_constructs.rollout import SageMakerTarget
from mlops_constructs.rollout.deploy_machine import deploy_machine, hold_seconds
from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.rollout import (
    SEAL,
    AuditRecord,
    DeployReason,
    DeployRequest,
    DiedExecution,
    LivePointer,
    LockRow,
    Outcome,
    RolloutSpec,
    ServingSpec,
    audit_key,
    published_key,
    seal_key,
    spec_key,
)
from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    CaptureSpec,
    GoldenSpec,
    ScalingSpec,
    ScheduledCapacitySpec,
    ShadowSpec,
    ToleranceSpec,
)
from mlops_runtime.rollout.audit_chain import verify
from mlops_runtime.rollout.fleet_capacity import render_scaling
from mlops_runtime.rollout.probation_alarm import probation_alarm, probation_rule
from mlops_runtime.rollout.rollout_table import RolloutTable, next_promoted
from mlops_runtime.rollout.sagemaker_requests import SHADOW_VARIANT
from mlops_runtime.rollout.seals import broken_seals

MAXIMUM = 3600
DAY = 86_400
NO_ALARM = "the probation has no alarm, and its record does not say so"
LOCK = "dynamodb:updateItem lock"
BADLY_SCALED = "it scales by"
TARGET = SageMakerTarget(endpoint_name=ENDPOINT, instance_count=2)
UNREAD = "sagemaker:describeEndpoint"
PROBATION = 3600
# alarms of a unit with a probation: made at each promotion
PROBATION_SPEC: dict[str, Any] = {"probation": PROBATION, "probation_alarms": (probation_alarm(ENDPOINT),)}
SPEC = ServingSpec(
    endpoint=ENDPOINT,
    variant="AllTraffic",
    instance_type="ml.m5.large",
    instance_count=2,
    execution_role="arn:aws:iam::123456789012:role/serving",
    subnets=("subnet-1",),
    security_groups=("sg-1",),
    rollout=RolloutSpec(kind="CANARY", bake=600, maximum=MAXIMUM, percent=50, min_invocations=20, **PROBATION_SPEC),
    kms_key="arn:aws:kms:us-east-1:123456789012:key/1",
    capture=CaptureSpec(percent=100, destination="s3://capture/capture"),
)
# all features of a rollout: a rehearsal, a shadow with compared responses, golden requests again, captured responses
FULL_SPEC = replace(
    SPEC,
    rollout=RolloutSpec(
        kind="CANARY",
        bake=600,
        max_bake=900,
        maximum=2 * MAXIMUM,
        percent=50,
        min_invocations=20,
        golden=GoldenSpec(
            uri="s3://artifacts/golden.jsonl", sha256=hashlib.sha256(GOLDEN).hexdigest(), max_deviation=0.3
        ),
        synthetic=2,
        shadow=ShadowSpec(
            percent=100, bake=1200, tolerance=ToleranceSpec(relative=0.1, absolute=0.0, max_changed=0.05)
        ),
        max_error_count=5,
        max_latency_ms=1000,
        **PROBATION_SPEC,
    ),
    scaling=ScalingSpec(
        minimum=2,
        maximum=4,
        target=100.0,
        schedules=(ScheduledCapacitySpec(name="morning", schedule="cron(0 6 * * ? *)", minimum=3, maximum=4),),
    ),
)
# an endpoint that scales to no instance, and is started by its backlog
QUEUE_SPEC = replace(
    SPEC,
    rollout=replace(SPEC.rollout, kind="ALL_AT_ONCE", percent=None, min_invocations=0),
    capture=None,
    asynchronous=AsynchronousSpec(output="s3://artifacts/answers", failures="s3://artifacts/failures"),
    scaling=ScalingSpec(minimum=0, maximum=4, target=5.0, metric="BACKLOG_PER_INSTANCE"),
)
STEADY_SPEC = replace(QUEUE_SPEC, scaling=ScalingSpec(minimum=2, maximum=3, target=9.0, metric="BACKLOG_PER_INSTANCE"))


def machine_of(spec: ServingSpec) -> Mapping[str, Any]:
    """Return the machine of an endpoint with a spec."""
    function = "arn:aws:lambda:us-east-1:123456789012:function:"
    return deploy_machine(
        endpoint_name=ENDPOINT,
        unit_name="demand",
        target=TARGET,
        rollout=spec.rollout,
        table_name="rollout",
        preflight_arn=f"{function}preflight",
        record_arn=f"{function}record",
        verdict_arn=f"{function}verdict",
        golden_arn=None if spec.rollout.golden is None else f"{function}golden",
        answers_arn=None if spec.rollout.golden is None else f"{function}answers",
        has_watch=spec.rollout.probation is not None,
        bus_name="demand",
        instance_types=["ml.m5.large"],
    )


MACHINE, FULL_MACHINE, QUEUE_MACHINE = machine_of(SPEC), machine_of(FULL_SPEC), machine_of(QUEUE_SPEC)
_MACHINES = {
    content_hash(spec): machine
    for spec, machine in ((SPEC, MACHINE), (FULL_SPEC, FULL_MACHINE), (QUEUE_SPEC, QUEUE_MACHINE))
}


class Deploy:
    """One endpoint that serves package 1 (unless the account starts without a model) and package 2, which is approved.

    Args:
        account: The account.
        spec: Spec of the endpoint.
        asks: Request of the executions: ``approval`` of package 2, or after its promotion the rollback, by the ``alarm`` of
            its probation or its ``golden`` requests. Default: an approval.
        before: Spec of the model that serves at the start. Default: ``spec``.
        meets: Faults of each execution.
        follows: Faults of a finished execution a day earlier.
    """

    FUNCTIONS = {  # noqa: RUF012 - never changed
        "preflight": "rollout_preflight",
        "record": "rollout_record",
        "verdict": "rollout_verdict",
        "golden": "rollout_golden",
        "answers": "rollout_answers",
        "probation": "rollout_probation",
    }

    def __init__(
        self,
        account: Account,
        spec: ServingSpec = SPEC,
        *,
        asks: str = "",
        before: ServingSpec | None = None,
        meets: Fault | None = None,
        follows: Fault | None = None,
    ) -> None:
        self.account, self.spec, self.executions, self.meets = account, spec, 0, meets
        self.asks: dict[str, Any] = {}
        self.machine = _MACHINES.get(content_hash(spec)) or machine_of(spec)
        self.asked: dict[str, Any] = {}
        account.rules[probation_rule(ENDPOINT)] = account.on_probation
        self.table = RolloutTable(boto3_dynamodb(), "rollout", ENDPOINT)
        boto3_dynamodb().delete_item(TableName="rollout", Key={"endpoint": {"S": ENDPOINT}})
        self.champion, self.challenger = account.package(1), account.package(2)
        self.before = before = before or spec
        for each in (before, spec):
            key = spec_key(ENDPOINT, content_hash(each))
            account.objects[("artifacts", key)] = canonical_json(each)
        account.objects[("artifacts", "golden.jsonl")] = GOLDEN
        self.table.set_desired(f"s3://artifacts/{key}")
        if spec.rollout.shadow is not None:
            account.capture("AllTraffic", SHADOW_VARIANT)
        if account.serves:
            account.version(OLD, self.champion)
            account.endpoints[ENDPOINT] = Endpoint(OLD)
            self._point(before)
            account.scale(render_scaling(before))
            self.promote(self.champion)
        if account.on_probation:
            account.alarms[probation_alarm(ENDPOINT)] = {"StateValue": "ALARM"}
        if asks:
            self._begin_probation(asks)
        self.is_after_death = follows is not None and follows.kind == "crash"
        if follows:
            self.run(follows)
            account.now, account.create = account.now + DAY, "new"

    def request(self, reason: str = "approval", **changes: Any) -> dict[str, Any]:
        """Return an input of the machine; an approval is of package 2."""
        package = {"model_package_arn": self.challenger} if reason == "approval" else {}
        request = DeployRequest(
            reason=DeployReason(reason),
            requested_by="ann",
            requested_at="2017-08-01T09:00:00Z",
            **(package | changes),
        )
        return dict(to_dict(request))

    def run(
        self,
        *faults: Fault,
        machine: Mapping[str, Any] | None = None,
        chance: Any = None,
        hook: Callable[[str], None] | None = None,
        **request: Any,
    ) -> Run:
        """Run one execution under faults; ``hook`` is called before each call, with the call's label."""
        self.executions += 1
        name = f"run-{self.executions}"
        given = self.request(**(request or self.asks))
        self.asked = given | {"at": self.account.now}
        met = faults if self.meets is None else (*faults, self.meets)
        return run(machine or self.machine, given, self.account, name=name, faults=met, chance=chance, hook=hook)

    def recover(self) -> Run:
        """Run the recovery of the execution before, started as by the guard: with its lock, if it held one."""
        dead, heir = (f"{PREFIX}:execution:Machine:run-{self.executions + number}" for number in (0, 1))
        self.table.hand_over(dead, heir)
        died = DiedExecution(
            execution=dead,
            status="ABORTED",
            started=str(to_dict(datetime.fromtimestamp(self.asked["at"], UTC))),
            reason=self.asked["reason"],
            requested_by=self.asked["requested_by"],
            model_package_arn=self.asked.get("model_package_arn"),
        )
        return self.run(reason="spec", died=died)

    def row(self) -> LockRow:
        """Return the endpoint's row."""
        return self.table.read()

    def records(self, execution: int | None = None) -> list[AuditRecord]:
        """Return the audit records, of one execution or all."""
        found = [
            from_json(AuditRecord, body)
            for (bucket, key), body in self.account.objects.items()
            if bucket == "audit" and key.startswith("audit/") and not key.endswith(SEAL)
        ]
        return [r for r in found if execution is None or r.execution.endswith(f":run-{execution}")]

    def serving(self) -> Endpoint | None:
        """Return the endpoint as it is now."""
        self.account.settle()
        return self.account.endpoints.get(ENDPOINT)

    def serves(self) -> str | None:
        """Return the serving version, or None."""
        endpoint = self.serving()
        return None if endpoint is None else endpoint.config

    @property
    def excused(self) -> frozenset[str]:
        """Labels of the calls that fail in every execution."""
        return frozenset({self.meets.label} if self.meets is not None and self.meets.always else ())

    def cannot_clean(self, excused: frozenset[str]) -> bool:
        """Whether leftovers of a dead execution have to stay: an execution that cannot take the lock changes nothing."""
        return self.is_after_death and LOCK in excused

    def heal(self) -> None:
        """End the faults of every execution."""
        self.meets = None if self.excused else self.meets

    def broken(self, result: Run, *, excused: frozenset[str] = frozenset()) -> list[str]:
        """Return the violations of the invariant after an execution.

        Args:
            result: The execution.
            excused: Labels of permanently failing calls, whose effects are not required.
        """
        ended = (
            [] if result.status == "CRASHED" or result.outcome in list(Outcome) else [f"ended by {result.outcome!r}"]
        )
        return [
            *ended,
            *self._serving_problems(result, excused),
            *self._record_problems(result, excused),
            *self._leftover_problems(excused),
            *self._probation_problems(result, excused),
            *self._scaling_problems(result, excused),
        ]

    def ended(self) -> list[str]:
        """Return the leftovers of the schedule once every probation is over."""
        self.account.now += DAY
        self.watch()
        left = sorted(name for name in self.account.alarms if name == probation_alarm(ENDPOINT))
        left += [f"the enabled rule {name}" for name, enabled in self.account.rules.items() if enabled]
        return [f"left after the probation: {name}" for name in left]

    def restore_schedule(self) -> None:
        """Create a deleted schedule again, as a deployment of the stack does."""
        self.account.rules.setdefault(probation_rule(ENDPOINT), False)

    def watch(self) -> None:
        """Run the schedule, if it is enabled."""
        if self.account.rules.get(probation_rule(ENDPOINT)):
            at = datetime.fromtimestamp(self.account.now, UTC)
            self.account.functions["probation"]({"time": at.isoformat()}, Context())

    def _serving_problems(self, result: Run, excused: frozenset[str]) -> list[str]:
        endpoint, account = self.serving(), self.account
        if endpoint is None:
            return ["the endpoint is gone, though a model served"] if account.serves else []
        # a change that AWS could not finish can only be reported
        allowed = {"InService"} | ({"Failed"} if account.update == "failed" else set())
        # a first endpoint that failed unseen stays: the next request is rejected with the advice to delete it
        unattended = excused or result.status == "CRASHED" or result.outcome == "REFUSED"
        allowed |= {"Failed"} if not account.serves and unattended else set()
        # the change that a stopped execution began continues without it
        allowed |= {"Creating", "Updating"} if result.status == "CRASHED" else set()
        problems = [] if endpoint.status in allowed else [f"the endpoint is {endpoint.status}"]
        config = account.configs.get(endpoint.config)
        model = None if config is None else account.models.get(config["ProductionVariants"][0]["ModelName"])
        if model is None:
            return [*problems, f"config or model {endpoint.config} of what serves was deleted"]
        package = account.packages[model["Containers"][0]["ModelPackageName"]]
        if package["ModelApprovalStatus"] != "Approved":
            problems.append(f"{package['ModelPackageArn']} serves and is {package['ModelApprovalStatus']}")
        return problems

    def _record_problems(self, result: Run, excused: frozenset[str]) -> list[str]:
        problems, row, endpoint = [], self.row(), self.serving()
        is_of_dead = self.cannot_clean(excused) and not str(row.owner).endswith(f":run-{self.executions}")
        is_held = row.owner is not None and not is_of_dead and result.status != "CRASHED"
        if is_held and "dynamodb:updateItem unlock" not in excused:
            problems.append(f"the lock is held by {row.owner}")
        rollout = self.spec.rollout
        if row.lock_until is not None and row.lock_until > self.account.now + hold_seconds(
            rollout.maximum, TARGET.lead_seconds(rollout)
        ):
            problems.append("the lock is held for longer than an execution can run")
        stored = self.account.objects.items()
        objects = {key: body for (bucket, key), body in stored if bucket == "audit" and key.startswith("audit/")}
        problems += verify(objects, endpoint=ENDPOINT, head=row.audit_head, sequence=row.audit_sequence)
        published = {key: body for (bucket, key), body in self.account.objects.items() if bucket == "heads"}
        problems += broken_seals(objects, published, row=row, is_signed=KMS.public.is_signed)
        if result.status == "CRASHED" or "lambda:invoke record" in excused:
            return problems
        mine = self.records(self.executions)
        if len(mine) != 1:
            return [*problems, f"{len(mine)} audit records of the execution instead of one"]
        if endpoint is not None and endpoint.status == "Failed":
            return (
                []
                if mine[0].outcome in (Outcome.FAILED, Outcome.REFUSED)
                else [f"the endpoint is Failed, the record says {mine[0].outcome}"]
            )
        serves = None if endpoint is None else endpoint.config
        if mine[0].serving_config != serves:
            problems.append(f"the record says that {mine[0].serving_config} serves, but {serves} does")
        live = None if row.live is None else from_json(LivePointer, row.live).config
        if live != serves and mine[0].outcome.value != "REFUSED" and LOCK not in excused:
            problems.append(f"the live pointer says {live}, but {serves} serves")
        return problems

    def _leftover_problems(self, excused: frozenset[str]) -> list[str]:
        account, row = self.account, self.row()
        live = None if row.live is None else from_json(LivePointer, row.live)
        kept = set() if live is None else {live.config, live.previous, *(live.kept or ())}
        serving = self.serving()
        if self.cannot_clean(excused):
            return []
        if serving is not None and serving.status == "Failed":
            return []  # only AWS knows which of its configs a failed endpoint still uses: none may be deleted
        # a shadow that could not be ended serves, so its version is in use
        config = {} if serving is None else account.configs.get(serving.config, {})
        kept |= {variant["ModelName"] for variant in config.get("ShadowProductionVariants", ())}
        problems = []
        for kind, things, label in (
            ("config", account.configs, "sagemaker:deleteEndpointConfig"),
            ("model", account.models, "sagemaker:deleteModel"),
        ):
            orphans = sorted(set(things) - kept)
            if "sagemaker:deleteEndpoint" in excused:  # which still has its config
                orphans = [name for name in orphans if "-golden-" not in name]
            if orphans and not excused & {label, UNREAD, "lambda:invoke record", "lambda:invoke preflight"}:
                problems.append(f"orphan {kind}s {', '.join(orphans)}")
        alarms = sorted(name for name in account.alarms if name.startswith(f"{ENDPOINT}-rollout-"))
        if alarms and not excused & {"cloudwatch:deleteAlarms", "lambda:invoke record"}:
            problems.append(f"orphan alarms {', '.join(alarms)}")
        others = sorted(set(account.endpoints) - {ENDPOINT})
        # preflight finds leftovers of a dead execution
        if others and not excused & {"sagemaker:deleteEndpoint", "lambda:invoke record", "lambda:invoke preflight"}:
            problems.append(f"orphan endpoints {', '.join(others)}")
        return problems

    def _probation_problems(self, result: Run, excused: frozenset[str]) -> list[str]:
        """A model on probation has its alarm, or its record says that it has none; alarm and schedule end by themselves."""
        if result.status == "CRASHED":
            return []
        row, account, problems = self.row(), self.account, list[str]()
        live = None if row.live is None else from_json(LivePointer, row.live)
        until = None if live is None else live.probation_until
        is_on = until is not None and datetime.fromisoformat(until).timestamp() > account.now
        alarm = account.alarms.get(probation_alarm(ENDPOINT))
        if (is_on or alarm is not None) and not account.rules.get(probation_rule(ENDPOINT)):
            problems += [] if "eventbridge:enableRule" in excused else ["no schedule watches the probation"]
        for record in self.records(self.executions):
            begun = datetime.fromisoformat(record.at) + timedelta(seconds=PROBATION)
            is_new = until is not None and datetime.fromisoformat(until) == begun
            if record.outcome is Outcome.PROMOTED and is_on:
                problems += _problems_of_alarm(alarm, record, is_new=is_new)
        return problems

    def _scaling_problems(self, result: Run, excused: frozenset[str]) -> list[str]:
        """No policy, schedule or alarm of scaling is left without a spec; a promoted model scales, or its event denies it."""
        wanted, known = _scaling(self.spec), _scaling(self.spec) | _scaling(self.before)
        alarms = {name for name in self.account.alarms if "-scaling-" in name}
        found = set(self.account.scaling) | alarms
        problems = [f"left of scaling: {name}" for name in sorted(found - known)]
        is_explained = (
            "its scaling could not be registered" in "".join(self.account.announced[-1:])
            or "events:putEvents" in excused
        )
        if result.outcome == "PROMOTED" and not is_explained and found != wanted:
            problems.append(
                f"{BADLY_SCALED} {sorted(found)} instead of {sorted(wanted)}, and its event does not say so"
            )
        return problems

    def _begin_probation(self, asks: str) -> None:
        """Promote package 2, so that later requests are its rollback."""
        assert self.run().outcome == "PROMOTED"
        self.account.now += 600
        live = from_json(LivePointer, str(self.row().live))
        if asks == "alarm":
            self.account.alarms[probation_alarm(ENDPOINT)]["StateValue"] = "ALARM"
            self.asks = {"reason": "rollback", "alarm": probation_alarm(ENDPOINT)}
        else:
            self.asks = {"reason": "rollback", "config": live.config, "comment": "golden requests, sent again"}

    def _container(self, package: str) -> str:
        return str(self.account.packages[package]["CustomerMetadataProperties"]["container_sha256"])

    def promote(self, package: str) -> None:
        """Record a package as promoted in the chain."""
        row = self.table.read()
        record = AuditRecord(
            endpoint=ENDPOINT,
            sequence=row.audit_sequence + 1,
            previous=row.audit_head,
            outcome=Outcome.PROMOTED,
            reason="",
            execution="arn:aws:states:us-east-1:123456789012:execution:Deploy:earlier",
            at="2017-07-01T00:00:00Z",
            requested_by="ann",
            candidate_package=package,
            container_sha256=self._container(package),
        )
        seal, objects = KMS.sealer.seal(record), self.account.objects
        objects[("audit", audit_key(ENDPOINT, record.sequence, seal.sha256))] = canonical_json(record)
        objects[("audit", seal_key(ENDPOINT, record.sequence, seal.sha256))] = canonical_json(seal)
        objects[("heads", published_key(ENDPOINT, record.sequence, seal.sha256))] = canonical_json(seal)
        self.table.move_head(row, record, seal.sha256, seal=seal, promoted=next_promoted(row, record))

    def _point(self, spec: ServingSpec) -> None:
        live = LivePointer(
            endpoint=ENDPOINT,
            config=OLD,
            model=OLD,
            model_package_arn=self.champion,
            model_sha256=f"{1:064x}",
            artifact_uri="s3://artifacts/models/1/model.tar.gz",
            baseline_uri="s3://artifacts/baseline.json",
            baseline_sha256="8" * 64,
            evaluation_uri="s3://artifacts/evaluation.json",
            training_set_id="c" * 64,
            spec_sha256=content_hash(spec),
            spec_uri=f"s3://artifacts/{spec_key(ENDPOINT, content_hash(spec))}",
            execution="arn:aws:states:us-east-1:123456789012:execution:Deploy:earlier",
            since="2017-07-01T00:00:00Z",
            probation_until="2017-08-02T00:00:00Z" if self.account.on_probation else None,
            artifact_sha256="a" * 64,
            container_sha256=self._container(self.champion),
        )
        boto3_dynamodb().update_item(
            TableName="rollout",
            Key={"endpoint": {"S": ENDPOINT}},
            UpdateExpression="SET live = :live",
            ExpressionAttributeValues={":live": {"S": canonical_json(live).decode()}},
        )


def _scaling(spec: ServingSpec) -> set[str]:
    """Return the scaling resources of a spec in the account: names of policies, schedules and alarms."""
    requests = render_scaling(spec)
    policies = [*requests["policies"], *(wake["policy"] for wake in requests["wake"])]
    return {
        *(f"policy {policy['PolicyName']}" for policy in policies),
        *(f"schedule {schedule['ScheduledActionName']}" for schedule in requests["schedules"]),
        *(wake["alarm"]["AlarmName"] for wake in requests["wake"]),
    }


def _problems_of_alarm(alarm: Mapping[str, Any] | None, record: AuditRecord, *, is_new: bool) -> list[str]:
    """Check that the alarm of a probation exists, and was created by the execution that began the probation."""
    if "the alarm of its probation" in record.reason:
        return []
    if alarm is None:
        return [NO_ALARM]
    if not is_new:
        return []
    made_by = {tag["Value"] for tag in alarm.get("Tags", ())}
    problems = (
        [] if made_by & {record.execution, record.recovers} else ["the alarm of the probation is that of another model"]
    )
    return problems + (
        [] if alarm["StateValue"] == "OK" else ["the alarm of the probation was in ALARM before it began"]
    )
