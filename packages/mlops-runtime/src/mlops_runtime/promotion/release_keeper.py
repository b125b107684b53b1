"""Adapter of the Promote machine: verifies copies of a release, stores, signs and records them, and decides on the approval.

Every step is idempotent: keys derive from content, a release becomes the newest once, and an execution writes one record.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.promotion.environment_link import promotions_chain
from mlops_runtime.promotion.offer_table import Offer, OfferState, OfferTable
from mlops_runtime.promotion.release_plan import (
    Copy,
    ReleaseRefusedError,
    Target,
    copies,
    evidence_problems,
    registration,
    released_at,
)
from mlops_runtime.promotion.release_reader import copied_record
from mlops_runtime.promotion.target_environment import target_of
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated
from mlops_runtime.registry.model_package import PackageError, read_package
from mlops_runtime.registry.package_approval import changed_while_pending
from mlops_runtime.rollout.archive_signatures import SignedArchives, full_digest, stored_head
from mlops_runtime.rollout.audit_chain import LOOK_BACK, AuditChain, Move
from mlops_runtime.rollout.live_fleet import read_description
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import Sealer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

_OUTCOMES: dict[str, Outcome] = {
    "APPROVED": Outcome.REGISTERED,
    "REGISTERED": Outcome.REGISTERED,
    "REFUSED": Outcome.REFUSED,
    "FAILED": Outcome.FAILED,
}

_REQUEST = re.compile(r"(?:Extended )?Request ?ID: ?[\w+/=-]+", re.IGNORECASE)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseKeeper:
    """Processes a release after its objects were copied."""

    s3: "S3Client"
    sagemaker: "SageMakerClient"
    table: OfferTable
    target: Target  # the target environment
    archives: SignedArchives
    automation: Automation  # the unit's freeze calendar and pause
    chain: AuditChain  # the audit chain of promotions

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "ReleaseKeeper":
        """Create it from the function's environment variables.

        Args:
            environ: The variables.
            client: Returns the boto3 client of a service name.
        """
        dynamodb, target = client("dynamodb"), target_of(environ)
        return cls(
            s3=client("s3"),
            sagemaker=client("sagemaker"),
            table=OfferTable(dynamodb, environ["PROMOTIONS_TABLE"]),
            target=target,
            archives=SignedArchives.from_environment(environ, client),
            automation=Automation.from_environment(environ, dynamodb),
            chain=AuditChain(
                s3=client("s3"),
                bucket=environ["AUDIT_BUCKET"],
                table=RolloutTable(dynamodb, environ["PROMOTIONS_TABLE"], promotions_chain(target.group)),
                heads=environ["HEADS_BUCKET"],
                sealer=Sealer(kms=client("kms"), key=environ["SIGNING_KEY"]),
            ),
        )

    def keep(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Store the copied objects if they match their release, and return the arguments for its registration.

        Args:
            request: ``{"record_uri", "record_sha256", "execution"}``; with shared images also ``image_registry``, the account in
                whose registry the image was found.

        Returns:
            ``{"verdict", "reason", "may_pass"}`` for a refused release; for a stored one ``verdict``, its package's ``container``,
            ``metadata`` and ``content_types``, its ``binding``, ``released_at``, and ``package``, empty unless an earlier attempt
            registered it.
        """
        sha256, execution = str(request["record_sha256"]), str(request["execution"])
        try:
            record = copied_record(
                self.s3, target=self.target, uri=str(request["record_uri"]), sha256=sha256, execution=execution
            )
            container, metadata = registration(record, target=self.target, registry=request.get("image_registry"))
            self._keep(record, copies(record, target=self.target, execution=execution))
        except ReleaseRefusedError as refused:
            return {"verdict": "REFUSED", "reason": str(refused)[:4000], "may_pass": refused.may_pass}
        binding = metadata["container_sha256"]
        # before the package exists: an attempt may die once it is registered and before the offer has its ARN
        package = self._registered(self.table.read(sha256), binding)
        if package and not self._exists(package):
            words = "which an earlier attempt registered, was deleted: this release is not taken, but newer ones are"
            return {"verdict": "REFUSED", "reason": f"{package}, {words}", "may_pass": False}
        self.table.keep(sha256, binding)
        return {
            "verdict": "KEPT",
            "container": container,
            "metadata": metadata,
            "content_types": list(record.package.content_types),
            "binding": binding,
            "released_at": _moment(record),
            "package": package,
        }

    def _registered(self, offer: Offer | None, binding: str = "") -> str:
        """Return the package that an earlier attempt registered, also one that died before the offer had it; else ``""``.

        Args:
            binding: The package's binding. Default: any under which an attempt stored the release.
        """
        if offer is None or offer.package:
            return "" if offer is None else offer.package
        wanted = self.table.kept(offer.record_sha256)
        if binding:
            wanted &= {binding}
        return "" if not wanted else self._package_of(wanted, since=datetime.fromisoformat(offer.offered_at))

    def _exists(self, package: str) -> bool:
        """Return whether the registry has a package; people may delete one that waits for them."""
        return read_description(self.sagemaker, package) is not None

    def _package_of(self, bindings: Collection[str], *, since: datetime) -> str:
        """Return the oldest package of the group with one of these bindings; ``""`` without one."""
        pages = self.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self.target.group,
            ModelPackageType="Versioned",
            CreationTimeAfter=since,
            SortBy="CreationTime",
            SortOrder="Ascending",
        )
        for arn in (summary["ModelPackageArn"] for page in pages for summary in page["ModelPackageSummaryList"]):
            if _binding(self.sagemaker.describe_model_package(ModelPackageName=arn)) in bindings:
                return arn
        return ""

    def _keep(self, record: ReleaseRecord, found: tuple[Copy, ...]) -> None:
        tags, problems = {}, []
        for each in found:
            digest, tags[each.name] = self._digest(each.incoming)
            if digest is None:
                problems.append(f"the copy of the {each.name}, {each.source}, is missing or has no full-object SHA-256")
            elif digest != each.sha256:
                problems.append(
                    f"the {each.name}, {each.source}, was changed after its release: it has SHA-256 {digest}, the release has "
                    f"{each.sha256}"
                )
        if problems:
            raise ReleaseRefusedError(problems)
        by_name = {each.name: each for each in found}
        gate = None if "gate" not in by_name else self._read(by_name["gate"])
        if problems := evidence_problems(record, self._read(by_name["evaluation"]), gate):
            raise ReleaseRefusedError(problems)
        # the archive last, after its evaluation and baseline
        for each in reversed(found):
            self._copy(each, tags[each.name])
        archive = by_name["artifact"]
        self.archives.sign_copy(f"s3://{self.target.bucket}/{archive.key}", archive.sha256)

    def _digest(self, key: str) -> tuple[str | None, str]:
        """Return the full-object SHA-256 that S3 computed, and the ETag."""
        head = stored_head(self.s3, self.target.bucket, key)
        return (None, "") if head is None else (full_digest(head), head["ETag"])

    def _read(self, each: Copy) -> bytes:
        content = self.s3.get_object(Bucket=self.target.bucket, Key=each.incoming)["Body"].read()
        if (digest := hashlib.sha256(content).hexdigest()) != each.sha256:
            raise ReleaseRefusedError([f"the {each.name} was changed while it was read: {digest}, not {each.sha256}"])
        return content

    def _copy(self, each: Copy, tag: str) -> None:
        """Copy to the key that derives from the content, once; an existing object must have the same hash."""
        bucket = self.target.bucket
        with Tolerated(*CONDITION_FAILED):
            # claim: functions-know-conditional-copies
            self.s3.copy_object(
                Bucket=bucket,
                Key=each.key,
                CopySource={"Bucket": bucket, "Key": each.incoming},
                CopySourceIfMatch=tag,
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        digest, _ = self._digest(each.key)
        if digest != each.sha256:
            raise ReleaseRefusedError([f"s3://{bucket}/{each.key} has SHA-256 {digest}, the release has {each.sha256}"])

    def decide(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Decide whether the policy may approve a registered package, since the source approved it, or people must.

        Only now does it become the newest release: one that was never registered must not make an older one stale.

        Args:
            request: ``{"package", "binding", "record_sha256", "model_sha256", "released_at", "now"}``.

        Returns:
            ``{"may_approve", "is_approved", "is_other", "rest"}``; ``rest`` is the reason against an approval. ``is_other`` is true
            if the package is not the release: a caller that knows an offer can register another package with its client token
            first, which the registry then returns.
        """
        arn, sha256, binding = str(request["package"]), str(request["record_sha256"]), str(request["binding"])
        description = self.sagemaker.describe_model_package(ModelPackageName=arn)
        if (found := _binding(description)) != binding:
            rest = (
                f"{arn} was registered with the client token of this release, but is bound by {found}, not by {binding}"
            )
            return {"may_approve": False, "is_approved": False, "is_other": True, "rest": f"{rest}; delete it"}
        self.table.registered(sha256, arn)
        self.table.take(released_at=str(request["released_at"]), sha256=sha256)
        status, now = description["ModelApprovalStatus"], datetime.fromisoformat(request["now"]).astimezone(UTC)
        if status != "PendingManualApproval":
            rest = f"it is already {status}"
            return {"may_approve": False, "is_approved": status == "Approved", "is_other": False, "rest": rest}
        rests = [self.automation.rests(now)]
        first = self.table.first_release(str(request["model_sha256"]), sha256)
        if first != sha256:
            rests.append(
                f"this model was taken before, by the release of record {first[:16]}: a model that was rolled back here is not "
                "approved automatically again"
            )
        newest = self.table.newest()
        if newest is not None and newest[1] != sha256:
            rests.append(f"a newer release, of {newest[0]}, was taken in the meantime")
        if (changed := changed_while_pending(description)) is not None:
            rests.append(f"{changed} changed it after its registration")
        rest = "; ".join(each for each in rests if each)
        return {"may_approve": not rest, "is_approved": False, "is_other": False, "rest": rest}

    def record(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Store the outcome of a release in the audit chain and with its offer.

        A repeated refusal for the same reason is written once. The outcome names the undecided package of an earlier attempt; if
        the release is finally refused, the reason asks to reject that package.

        Args:
            request: The outcome as ``outcome``, ``reason``, ``package``, ``binding`` and ``may_pass``; the release as
                ``record_uri``, ``record_sha256`` and ``facts``; ``execution`` and ``now``.

        Returns:
            ``{"is_news", "reason", "package"}``: whether the outcome is new, and the values for notifications.
        """
        state: OfferState = request["outcome"]
        reason, sha256, execution = str(request["reason"]), str(request["record_sha256"]), str(request["execution"])
        package, at = str(request.get("package", "")), datetime.fromisoformat(request["now"]).astimezone(UTC)
        may_pass = bool(request.get("may_pass"))
        offer = self.table.read(sha256)
        if offer is not None and not package and offer.state not in ("REGISTERED", "APPROVED"):
            is_final, is_deleted = state == "REFUSED" and not may_pass, False
            try:
                package = self._registered(offer, str(request.get("binding") or ""))
                is_deleted = is_final and package != "" and not self._exists(package)
            except ClientError as error:  # the record must not depend on it; the next attempt looks again
                logger.warning("packages of earlier attempts of release %s were not read: %s", sha256, error)
                package = package or offer.package
            if package and is_final and not is_deleted:
                reason = f"reject {package}, which an earlier attempt registered: {reason}"
        is_news = offer is None or (offer.state, _without_ids(offer.reason)) != (state, _without_ids(reason[:2000]))
        earlier = self.chain.record_of(execution)
        facts = {name: str(value) for name, value in (request.get("facts") or {}).items() if value}
        if is_news and earlier is None:
            new = AuditRecord(
                endpoint="",
                sequence=0,
                previous="",
                outcome=_OUTCOMES[state],
                reason=reason,
                execution=execution,
                at=str(to_dict(at)),
                requested_by=f"{self.target.source_name}, {self.target.source.account} {self.target.source.region}",
                candidate_package=package or facts.get("source_package"),
                model_sha256=facts.get("model_sha256"),
                training_set_id=facts.get("training_set_id"),
                container_sha256=str(request.get("binding") or "") or None,
                source_record=facts.get("source_record"),
            )
            self.chain.append(lambda row: self._move(row, new))
        self.table.decide(
            sha256,
            state=state,
            reason=reason,
            package=package,
            may_pass=may_pass,
            at=str(to_dict(at)),
            source_package=facts.get("source_package", ""),
        )
        return {"is_news": is_news, "reason": reason, "package": package}

    def _move(self, row: LockRow, new: AuditRecord) -> Move | AuditRecord:
        """Return the next record, or an existing one: of this execution, or of the same registration for the same reason."""
        same = (Outcome.REGISTERED, new.candidate_package, _without_ids(new.reason))
        for known in self.chain.newest(row, LOOK_BACK):
            if known.execution == new.execution or (
                (known.outcome, known.candidate_package, _without_ids(known.reason)) == same
                and new.outcome is Outcome.REGISTERED
            ):
                return known
        sequence = row.audit_sequence + 1
        return Move(record=replace(new, endpoint=row.endpoint, sequence=sequence, previous=row.audit_head))


def _binding(description: Mapping[str, Any]) -> str:
    """Return the binding of a package in its registry, or the problem if the package cannot be read."""
    try:
        return read_package(description).container_sha256
    except PackageError as error:
        return f"nothing: {error}"


def _without_ids(reason: str) -> str:
    """Return a reason without AWS request ids, which differ in each response."""
    return _REQUEST.sub("", reason)


def _moment(record: ReleaseRecord) -> str:
    """Return the time of a release in a format whose strings sort like times."""
    return released_at(record).isoformat(timespec="microseconds")
