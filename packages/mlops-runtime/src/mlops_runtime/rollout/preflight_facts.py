"""Adapter of ``preflight``: reads the facts from their sources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts.rollout import AuditRecord, DeployReason, DeployRequest, LockRow, ServingSpec, audit_key
from mlops_runtime.eks.live_slots import serving, versions
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.refused_calls import NO_OBJECT, Tolerated
from mlops_runtime.registry.model_package import PackageError, RegisteredPackage, read_package
from mlops_runtime.registry.package_approval import ApprovalRule, approval_problems, is_automatic, trust_problems
from mlops_runtime.rollout.archive_signatures import SignedArchives
from mlops_runtime.rollout.audit_chain import read_record
from mlops_runtime.rollout.deploy_plan import Facts, live_pointer
from mlops_runtime.rollout.evidence_requests import endpoint_metric
from mlops_runtime.rollout.execution_names import ENDPOINT_TAG, version_name
from mlops_runtime.rollout.fleet_minutes import IncompleteMetricsError
from mlops_runtime.rollout.instance_quota import Quotas
from mlops_runtime.rollout.kept_promises import package_promises
from mlops_runtime.rollout.live_failures import firing, live_answers
from mlops_runtime.rollout.live_fleet import (
    MAXIMUM,
    Leftovers,
    Made,
    Serving,
    Version,
    read_description,
    read_serving,
    read_version,
)
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.planned_bake import Traffic, read_traffic
from mlops_runtime.rollout.preflight import verified_spec, wanted_package
from mlops_runtime.rollout.rollout_case import serves_since, way_back
from mlops_runtime.rollout.rollout_table import RolloutTable, promotion
from mlops_runtime.rollout.serving_limits import longest_bake

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Sources of facts."""

    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    s3: "S3Client"
    table: RolloutTable  # the endpoint's row
    group: str  # name of the model package group whose packages this endpoint serves
    bucket: str  # bucket of the serving specs; a spec in another bucket is not read
    audit_bucket: str  # bucket of the audit chain
    automation: Automation  # the unit's freeze calendar and pause
    rule: ApprovalRule  # rule for valid approvals
    archives: SignedArchives  # archives of models and their signatures
    slots: SlotReader | None = None  # reader of the endpoint's slots on EKS. Default: a SageMaker endpoint

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], client: Callable[..., Any], *, slots: SlotReader | None
    ) -> "Sources":
        """Create it from the function's environment variables.

        Args:
            environ: The variables.
            client: Returns the client of a service.
            slots: Reader of the endpoint's slots on EKS; None for SageMaker.
        """
        dynamodb = client("dynamodb")
        return cls(
            sagemaker=client("sagemaker"),
            cloudwatch=client("cloudwatch"),
            s3=client("s3"),
            table=RolloutTable(dynamodb, environ["ROLLOUT_TABLE"], environ["ENDPOINT"]),
            group=environ.get("MODEL_PACKAGE_GROUP", environ["ENDPOINT"]),
            bucket=environ["ARTIFACTS_BUCKET"],
            audit_bucket=environ["AUDIT_BUCKET"],
            automation=Automation.from_environment(environ, dynamodb),
            rule=ApprovalRule.from_environment(environ),
            archives=SignedArchives.from_environment(environ, client),
            slots=slots,
        )

    def facts(self, request: DeployRequest, *, execution: str, now: datetime, quotas: Quotas | None = None) -> Facts:
        """Read all facts for the decision on one request.

        Args:
            execution: ARN of the execution, whose own resources are not leftovers.
            now: Current time of the cloud.
            quotas: The account's instance quotas, as read by the Deploy machine. Default: unknown.
        """
        row = self.table.read()
        spec, stored = (None, None) if row.desired is None else self._stored(row.desired)
        slots = None if self.slots is None else self.slots.read()
        serves = read_serving(self.sagemaker, row.endpoint) if slots is None else serving(slots)
        facts = Facts(
            row=row,
            spec=spec,
            spec_stored=stored,
            serving=serves,
            never_served=slots is None and self._never_served(row, serves),
            package=None,
            alarm_states={},
            group=self.group,
            versions=self._versions(row) if slots is None else versions(slots, live_pointer(row)),
            live_spec=self._live_spec(row) if slots is None else None,
            slots=slots,
            frozen=self.automation.frozen(now),
        )
        wanted = wanted_package(request, facts.serving, way_back(facts))
        package = None if wanted is None else read_description(self.sagemaker, wanted)
        registered = _registered(package)
        watched = (*_alarms(spec), *(() if request.alarm is None else (request.alarm,)))
        states = alarm_states(self.cloudwatch, watched)
        return replace(
            facts,
            package=package,
            rests=self._rests(request, package, now),
            approval=self._approval(package, registered, now),
            signature=() if registered is None else self.archives.problems(registered.spec),
            promotion=self._promotion(request, row, registered),
            alarm_states=states,
            answers=self._answers(request, facts, states, now),
            leftovers=self._leftovers(row, facts, execution),
            quotas=quotas,
            trust=() if registered is None else self._trust(registered),
            promises=self._promises(request, spec, package, registered),
            traffic=self._traffic(request, spec, now),
        )

    def _traffic(self, request: DeployRequest, spec: ServingSpec | None, now: datetime) -> Traffic | None:
        """Return the live fleet's traffic if SageMaker's bake depends on it."""
        is_requested = spec is not None and spec.eks is None and longest_bake(spec.rollout) > spec.rollout.bake
        if spec is None or not is_requested or request.reason is DeployReason.ROLLBACK:
            return None
        return read_traffic(self.cloudwatch, endpoint_metric(spec), now=now)

    def _answers(self, request: DeployRequest, facts: Facts, states: Mapping[str, str], now: datetime) -> Counts | None:
        """Return the live model's responses if an alarm that it may have caused is in ALARM."""
        spec = facts.spec
        is_requested = spec is not None and facts.serving is not None and request.reason is not DeployReason.ROLLBACK
        if spec is None or not is_requested or not firing(spec.rollout.alarms, states):
            return None
        slot = None if facts.slots is None else facts.slots.heaviest
        try:
            since = serves_since(facts)
            served = None if since is None else datetime.fromisoformat(since)
            return live_answers(self.cloudwatch, spec, live_slot=slot, now=now, serves_since=served)
        except IncompleteMetricsError:
            return None  # without evidence, alarms in ALARM refuse the request

    def _promises(
        self,
        request: DeployRequest,
        spec: ServingSpec | None,
        package: Mapping[str, Any] | None,
        registered: RegisteredPackage | None,
    ) -> tuple[str, ...]:
        """Return promises of APIs that the model would break; a rollback is not checked, since it must always be possible."""
        if spec is None or package is None or registered is None or request.reason is DeployReason.ROLLBACK:
            return ()
        return package_promises(self.s3, self.bucket, spec.promises or (), package)

    def _trust(self, registered: RegisteredPackage) -> tuple[str, ...]:
        spec = registered.spec
        return tuple(trust_problems(spec.flavor, spec.trust, allowed=self.rule.trust))

    def _leftovers(self, row: LockRow, facts: Facts, execution: str) -> Leftovers:
        made = Made(sagemaker=self.sagemaker, cloudwatch=self.cloudwatch, endpoint=row.endpoint)
        if facts.slots is not None:
            return Leftovers(alarms=tuple(made.alarms())[:MAXIMUM])  # the slots show their own leftovers
        serves = None if facts.never_served else facts.serving
        return made.leftovers(_used(row, serves, version_name(row.endpoint, execution)))

    def _stored(self, uri: str) -> tuple[ServingSpec, datetime]:
        """Return a spec and the time when it was last stored."""
        found = self.s3.get_object(Bucket=self.bucket, Key=uri.removeprefix(f"s3://{self.bucket}/"))
        return verified_spec(uri, found["Body"].read()), found["LastModified"]

    def _never_served(self, row: LockRow, serves: Serving | None) -> bool:
        """Whether the endpoint was created by a Deploy machine and failed before any version was recorded as live."""
        if serves is None or serves.status != "Failed" or row.live is not None or row.served is not None:
            return False
        return {"Key": ENDPOINT_TAG, "Value": row.endpoint} in self.sagemaker.list_tags(ResourceArn=serves.arn)["Tags"]

    def _live_spec(self, row: LockRow) -> ServingSpec | None:
        live = live_pointer(row)
        if live is None or not live.spec_uri:
            return None
        with Tolerated(*NO_OBJECT):
            return self._stored(live.spec_uri)[0]
        return None

    def _versions(self, row: LockRow) -> dict[str, Version]:
        found = {config: read_version(self.sagemaker, config) for config in _recorded(row)}
        return {config: version for config, version in found.items() if version is not None}

    def _approval(
        self, package: Mapping[str, Any] | None, registered: RegisteredPackage | None, now: datetime
    ) -> tuple[str, ...]:
        if package is None or registered is None:
            return ()
        return tuple(approval_problems(package, registered, rule=self.rule, now=now))

    def _rests(self, request: DeployRequest, package: Mapping[str, Any] | None, now: datetime) -> str | None:
        """Return why automatic work is paused; read only for packages that a policy approved."""
        if request.reason is not DeployReason.APPROVAL or package is None or not is_automatic(package):
            return None
        return self.automation.rests(now)

    def _promotion(
        self, request: DeployRequest, row: LockRow, registered: RegisteredPackage | None
    ) -> AuditRecord | None:
        """Return the record of the promotion of the package's container; a new model needs an approval instead."""
        if registered is None or request.reason is DeployReason.APPROVAL:
            return None
        return promotion(row, registered.container_sha256, partial(self._record, row.endpoint))

    def _record(self, endpoint: str, sequence: int, digest: str) -> AuditRecord | None:
        with Tolerated(*NO_OBJECT):
            return read_record(self.s3, self.audit_bucket, audit_key(endpoint, sequence, digest), digest)
        return None


def alarm_states(cloudwatch: "CloudWatchClient", names: Sequence[str]) -> dict[str, str]:
    """Return the state of each of the named alarms that exist, metric or composite."""
    if not names:
        return {}
    answer = cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return {a["AlarmName"]: a["StateValue"] for a in [*answer["MetricAlarms"], *answer["CompositeAlarms"]]}


def _registered(package: Mapping[str, Any] | None) -> RegisteredPackage | None:
    try:
        return None if package is None else read_package(package)
    except PackageError:
        return None  # preflight refuses such a package


def _alarms(spec: ServingSpec | None) -> tuple[str, ...]:
    """Return the alarms that a rollout under a spec watches, besides those of its fleet."""
    if spec is None:
        return ()
    slots = {} if spec.eks is None else spec.eks.alarms
    return (*spec.rollout.alarms, *(name for names in slots.values() for name in names))


def _recorded(row: LockRow) -> list[str]:
    live = live_pointer(row)
    return [] if live is None else [c for c in (live.config, live.previous, *(live.kept or ())) if c is not None]


def _used(row: LockRow, serving: Serving | None, own: str) -> set[str]:
    used = {own, *_recorded(row)}
    if serving is not None:
        used.add(serving.config)
    if serving is not None and serving.version is not None:
        used.add(serving.version.model)
    return used
