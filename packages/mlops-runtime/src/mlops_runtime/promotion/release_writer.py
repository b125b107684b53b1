"""Adapter that releases a package once: it reads the package again, adds an audit record, and writes the release record.

A retry continues where an earlier attempt ended: the audit record of the binding comes first, then the object, whose bytes derive
from that record. So an interrupted attempt leaves no release, or a complete one that only has to be announced.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.release import ReleasedObject, ReleaseRecord, ReleaseRequest
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.promotion.environment_link import release_key
from mlops_runtime.promotion.release_guard import standing_problem
from mlops_runtime.promotion.release_objects import ObjectReader, PackageObjects
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated
from mlops_runtime.registry.model_package import ABSENT, PackageError, RegisteredPackage, read_package, version_of
from mlops_runtime.registry.package_approval import ApprovalRule, approval_problems
from mlops_runtime.rollout.audit_chain import LOOK_BACK, AuditChain, Move
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.live_fleet import read_description

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

SOURCE_BINDING = "source_binding"  # metadata of a package with the binding of the release that it was taken from
_MOST_REASON = 4000  # characters of a refusal that fit into a cause of Step Functions and a message of SNS


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Outcome of an attempt.

    ``HELD`` is a valid package that may not be released now. ``is_new`` is false for a refusal that was already recorded. URI and
    hash of the record are set for a release.
    """

    outcome: Literal["RELEASED", "HELD", "REFUSED"]
    reason: str
    is_new: bool = True
    record_uri: str = ""
    record_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWriter:
    """The only writer of a group's releases."""

    sagemaker: "SageMakerClient"
    chain: AuditChain  # the audit chain of releases: the endpoint's, or the group's own
    automation: Automation  # the unit's freeze calendar and pause
    rule: ApprovalRule  # rule for valid approvals
    objects: ObjectReader  # reader of the released objects; the record is written to its bucket
    unit: str  # the business unit
    group: str  # the package group
    is_served: bool  # whether the chain's row is an endpoint's, so that only its live version may be released

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "ReleaseWriter":
        """Create it from the function's environment variables.

        Args:
            environ: The variables of ``AuditChain``, ``Automation`` and ``ApprovalRule``, and ``ARTIFACTS_BUCKET``,
                ``MODEL_PACKAGE_GROUP``, ``NAMES`` (comma-separated) and ``SERVED``.
            client: Returns the boto3 client of a service name.
        """
        names = tuple(name for name in environ["NAMES"].split(",") if name)
        return cls(
            sagemaker=client("sagemaker"),
            chain=AuditChain.from_environment(environ, client),
            automation=Automation.from_environment(environ, client("dynamodb")),
            rule=ApprovalRule.from_environment(environ),
            objects=ObjectReader(s3=client("s3"), bucket=environ["ARTIFACTS_BUCKET"], names=names),
            unit=environ["UNIT"],
            group=environ["MODEL_PACKAGE_GROUP"],
            is_served=environ.get("SERVED") == "true",
        )

    def release(self, request: ReleaseRequest, *, execution: str, now: datetime) -> Released:
        """Release a package, or return why it is held or refused.

        Args:
            request: The package to release.
            execution: ARN of the execution of the Release machine.
            now: Current time of the cloud.

        Raises:
            AuditError: If other writers kept moving the chain's head.
        """
        if rests := self.automation.rests(now):
            return Released(outcome="HELD", reason=rests)
        if problem := self._standing(self.chain.table.read(), request.package_arn, now):
            return Released(outcome="HELD", reason=problem)
        attempt = _Attempt(request=request, execution=execution, now=now)
        description = read_description(self.sagemaker, request.package_arn)
        if description is None:
            return self._refuse(attempt, None, [f"{request.package_arn} is not in the registry"])
        try:
            package = read_package(description)
        except PackageError as error:
            return self._refuse(attempt, None, error.problems)
        found = self.objects.prove(
            description.get("CustomerMetadataProperties", {}), artifact_uri=package.spec.artifact_uri
        )
        problems = [*self._package_problems(description, package, now), *found.problems]
        known, known_problems = self._known(package, found)
        problems += known_problems
        if problems:
            return self._refuse(attempt, package, problems)
        recorded: AuditRecord | str = self.chain.append(lambda row: self._next(row, attempt, package))
        if isinstance(recorded, str):
            return Released(outcome="HELD", reason=recorded)
        metadata = description.get("CustomerMetadataProperties", {})
        return self._written(known or self._record(package, found, recorded, metadata=metadata))

    def _package_problems(self, description: Mapping[str, Any], package: RegisteredPackage, now: datetime) -> list[str]:
        problems = approval_problems(description, package, rule=self.rule, now=now)
        if package.spec.group != self.group:
            problems.append(f"it is of group {package.spec.group!r}, expected {self.group!r}")
        return problems

    def _standing(self, row: LockRow, package_arn: str, now: datetime) -> str | None:
        return standing_problem(row, now=now, package_arn=package_arn) if self.is_served else None

    def _next(self, row: LockRow, attempt: "_Attempt", package: RegisteredPackage) -> Move | AuditRecord | str:
        """Return the record of a release, the record of an earlier attempt, or why the live version is not released.

        The row is that of the conditional write, so it includes a rollout that was recorded in the meantime.
        """
        package_arn = attempt.request.package_arn
        if problem := self._standing(row, package_arn, attempt.now):
            return problem
        live = live_pointer(row) if self.is_served else None
        if live is not None and live.container_sha256 != package.container_sha256:
            return f"{package_arn} is live as {live.container_sha256}, but is now {package.container_sha256}"
        for earlier in self.chain.newest(row, LOOK_BACK):
            if (
                earlier.outcome is Outcome.RELEASED
                and earlier.container_sha256 == package.container_sha256
                and earlier.candidate_package == package.arn
            ):
                return earlier
        reason = f"other accounts may take {version_of(package.arn)}, approved by {package.approved_by}"
        return Move(record=_audit(row, Outcome.RELEASED, reason, attempt, package))

    def _refuse(self, attempt: "_Attempt", package: RegisteredPackage | None, problems: Sequence[str]) -> Released:
        """Record a refusal, unless the newest records already have the same one, since the schedule retries."""
        package_arn = attempt.request.package_arn
        reason = f"{version_of(package_arn)} is not released: {'; '.join(problems)}"[:_MOST_REASON]

        def follow(row: LockRow) -> Move | AuditRecord:
            for earlier in self.chain.newest(row, LOOK_BACK):
                same = (earlier.outcome, earlier.candidate_package, earlier.reason)
                if same == (Outcome.REFUSED, package_arn, reason):
                    return earlier
            return Move(record=_audit(row, Outcome.REFUSED, reason, attempt, package))

        recorded = self.chain.append(follow)
        return Released(outcome="REFUSED", reason=reason, is_new=recorded.execution == attempt.execution)

    def _record(
        self, package: RegisteredPackage, found: PackageObjects, recorded: AuditRecord, *, metadata: Mapping[str, str]
    ) -> ReleaseRecord:
        _, _, _, region, account, _ = package.arn.split(":", 5)
        origin = metadata.get(SOURCE_BINDING, ABSENT)
        return ReleaseRecord(
            unit=self.unit,
            group=self.group,
            account=account,
            region=region,
            binding=package.container_sha256,
            package=package.spec,
            artifact=_proven(found.artifact),
            evaluation=_proven(found.evaluation),
            baseline=_proven(found.baseline),
            gate=found.gate,
            approved_by=str(package.approved_by),
            approval=package.approval_description,
            execution=recorded.execution,
            released_at=recorded.at,
            audit_chain=recorded.endpoint,
            audit_sequence=recorded.sequence,
            audit_hash=content_hash(recorded),
            origin=None if origin == ABSENT else origin,
        )

    def _known(self, package: RegisteredPackage, found: PackageObjects) -> tuple[ReleaseRecord | None, list[str]]:
        """Return the record of an earlier release of the same content, and problems if it is not of this package."""
        content = self._stored(package.container_sha256)
        if content is None:
            return None, []
        uri = self._uri(package.container_sha256)
        try:
            known = from_json(ReleaseRecord, content)
        except ContractError as error:
            return None, [f"{uri} is not the record of a release: {error}"]
        if known.package.package_arn != package.arn:
            return None, [f"the same content was already released as {version_of(str(known.package.package_arn))}"]
        present = (self.group, package.spec, found.artifact, found.evaluation, found.baseline, found.gate)
        if (known.group, known.package, known.artifact, known.evaluation, known.baseline, known.gate) != present:
            return None, [f"{uri} was written for other objects than the package's current ones"]
        return known, []

    def _written(self, record: ReleaseRecord) -> Released:
        """Write the record unless it exists, and return the release with the stored content."""
        content, key = canonical_json(record), release_key(group=self.group, binding=record.binding)
        try:
            self.chain.s3.put_object(
                Bucket=self.objects.bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in CONDITION_FAILED:
                raise
            content = self._stored(record.binding) or content
        return Released(
            outcome="RELEASED",
            reason=f"released as {version_of(str(record.package.package_arn))} at {record.released_at}",
            record_uri=self._uri(record.binding),
            record_sha256=hashlib.sha256(content).hexdigest(),
        )

    def _stored(self, binding: str) -> bytes | None:
        key = release_key(group=self.group, binding=binding)
        with Tolerated("NoSuchKey"):
            return self.chain.s3.get_object(Bucket=self.objects.bucket, Key=key)["Body"].read()
        return None

    def _uri(self, binding: str) -> str:
        return f"s3://{self.objects.bucket}/{release_key(group=self.group, binding=binding)}"


def _proven(found: ReleasedObject | None) -> ReleasedObject:
    if found is None:
        raise TypeError("an object without a problem must be verified, got none")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    request: ReleaseRequest
    execution: str
    now: datetime


def _audit(
    row: LockRow, outcome: Outcome, reason: str, attempt: _Attempt, package: RegisteredPackage | None
) -> AuditRecord:
    live = live_pointer(row)
    record = AuditRecord(
        endpoint=row.endpoint,
        sequence=row.audit_sequence + 1,
        previous=row.audit_head,
        outcome=outcome,
        reason=reason,
        execution=attempt.execution,
        at=str(to_dict(attempt.now)),
        requested_by=attempt.request.requested_by,
        serving_config=None if live is None else live.config,
        serving_package=None if live is None else live.model_package_arn,
        candidate_package=attempt.request.package_arn,
    )
    if package is None:
        return record
    spec = package.spec
    return replace(
        record,
        model_sha256=spec.model_sha256,
        training_set_id=spec.training_set_id,
        container_sha256=package.container_sha256,
        flavor=spec.flavor,
        trust=spec.trust,
    )
