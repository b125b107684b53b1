"""Audit chain of an endpoint or unit: decide on the next record, append it with the live pointer, and verify the chain."""

import hashlib
import logging
import re
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_dict, from_json, to_dict
from mlops_runtime.contracts.passport import Passport, passport_key
from mlops_runtime.contracts.rollout import (
    SEAL,
    AuditRecord,
    AuditSeal,
    DiedExecution,
    LivePointer,
    LockRow,
    Outcome,
    RolloutVerdict,
    TakenBack,
    audit_key,
    next_taken_back,
    published_key,
    seal_key,
)
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.eks.live_slots import serving as read_slots
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.registry.model_package import PackageError, RegisteredPackage, read_package
from mlops_runtime.rollout.definition_hash import FIELD
from mlops_runtime.rollout.kept_minutes import beside, broken_minutes, written_minutes
from mlops_runtime.rollout.live_fleet import Serving, read_description, read_serving
from mlops_runtime.rollout.passport import broken_passports, passport_of, read_gate, sign_passport
from mlops_runtime.rollout.promotions import next_promoted
from mlops_runtime.rollout.record_links import LinkedRecord, time_of, verify
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import IsSigned, Sealer, broken_seals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 8  # against other writers of the same chain: a rollout and a rejection at most
LOOK_BACK = 10  # records in which a retry searches for its own
_AT_ONCE = 8  # objects read concurrently


_OF_NO_VERSION = (Outcome.REJECTED, Outcome.ASKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The outcome that a state machine reports.

    ``plan`` is the preflight's, empty without one. ``candidate`` describes a retraining's model that never became a package:
    ``model_sha256``, ``training_set_id``. ``machine_sha256`` is the hash of the Deploy machine's definition, None if unknown.
    ``verdict`` is the result of the comparison of both fleets, None without a comparison.
    """

    outcome: Outcome
    reason: str
    execution: str
    at: datetime
    request: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    candidate: Mapping[str, Any] = field(default_factory=dict)
    machine_sha256: str | None = None
    verdict: RolloutVerdict | None = None


def claim_from(event: Mapping[str, Any]) -> Claim:
    """Build a claim from the arguments of ``rollout_record``.

    Raises:
        ContractError: If an argument is missing or invalid.
    """
    missing = [name for name in ("outcome", "execution", "now") if not isinstance(event.get(name), str)]
    if missing:
        raise ContractError(f"not a valid claim: {', '.join(missing)} must be a string")
    outcomes = [outcome.value for outcome in Outcome]
    if event["outcome"] not in outcomes:
        raise ContractError(
            f"not a valid claim: outcome must be one of {', '.join(outcomes)}, got {event['outcome']!r}"
        )
    return Claim(
        outcome=Outcome(event["outcome"]),
        reason=str(event.get("reason", "")),
        execution=event["execution"],
        at=datetime.fromisoformat(event["now"]),
        request=_object(event, "request"),
        plan=_object(event, "plan"),
        candidate=_object(event, "candidate"),
        machine_sha256=_sha256(event.get(FIELD)),
        verdict=from_dict(RolloutVerdict, event["verdict"]) if event.get("verdict") else None,
    )


def next_record(row: LockRow, claim: Claim, serving: Serving | None, package: RegisteredPackage | None) -> AuditRecord:
    """Return the record that follows the row's head. It states the version that is live, regardless of the claimed one.

    Args:
        row: The endpoint's row.
        claim: The outcome that the execution reports.
        serving: The live version.
        package: Its package; None without a deployable one.
    """
    outcome, reason = _true_outcome(claim, serving, None if package is None else package.container_sha256)
    died = died_of(claim)
    planned = _planned_live(claim) if claim.plan.get("config_name") else {}
    version = None if serving is None or not serving.is_answering else serving.version
    promoted = None if outcome is not Outcome.PROMOTED or package is None else package.spec
    return AuditRecord(
        endpoint=row.endpoint,
        sequence=row.audit_sequence + 1,
        previous=row.audit_head,
        outcome=outcome,
        reason=reason if died is None else "; ".join(part for part in (_tells_of(died), reason) if part),
        execution=claim.execution,
        at=str(to_dict(claim.at)),
        requested_by=str(_first(claim.plan.get("requested_by"), claim.request.get("requested_by"), "unknown")),
        serving_config=None if serving is None or not serving.is_answering else serving.config,
        serving_package=None if version is None else version.package,
        candidate_package=_first(
            None if died is None else died.model_package_arn,
            claim.plan.get("candidate_package"),
            claim.request.get("model_package_arn"),
        ),
        model_sha256=_first(planned.get("model_sha256"), claim.candidate.get("model_sha256")),
        training_set_id=_first(planned.get("training_set_id"), claim.candidate.get("training_set_id")),
        spec_sha256=planned.get("spec_sha256"),
        recovers=None if died is None else died.execution,
        container_sha256=planned.get("container_sha256"),
        golden_sha256=claim.plan.get("golden_sha256") if outcome is Outcome.PROMOTED else None,
        flavor=_first(promoted and promoted.flavor, claim.candidate.get("flavor")),
        trust=_first(promoted and promoted.trust, claim.candidate.get("trust")),
        verdict=claim.verdict,
    )


def last_record(row: LockRow) -> AuditRecord | None:
    """Return the record at a row's head; None before the first record, or if the stored record does not match the row's head."""
    if row.audit_last is None:
        return None
    try:
        record = from_json(AuditRecord, row.audit_last)
    except ContractError:
        return None
    named = (row.endpoint, row.audit_sequence, row.audit_head)
    return record if (record.endpoint, record.sequence, content_hash(record)) == named else None


def not_before(record: AuditRecord, earlier: AuditRecord | None) -> AuditRecord:
    """Return the record with a time not before the previous record's: two executions may end at almost the same time."""
    before, now = (None if earlier is None else time_of(earlier)), time_of(record)
    if earlier is None or before is None or now is None or now >= before:
        return record
    return replace(record, at=earlier.at)


def died_of(claim: Claim) -> DiedExecution | None:
    """Return the execution that a claim's request recovers."""
    try:
        return from_dict(DiedExecution, claim.request["died"]) if claim.request.get("died") is not None else None
    except ContractError:
        return None  # a request that preflight rejected


def without_died(claim: Claim) -> Claim:
    """Return a recovery's claim without the dead execution, which had written its own record before it died."""
    return replace(claim, request={**claim.request, "died": None})


def next_live(
    row: LockRow, claim: Claim, serving: Serving | None, package: RegisteredPackage | None
) -> LivePointer | None:
    """Return the live pointer for the version that is live.

    A config that neither plan nor row contains was created elsewhere, or by an execution that died before recording it. Its pointer
    is rebuilt from its package, with an empty spec hash so that the next deployment of the spec applies, and with the recorded
    version as its previous one.
    """
    if serving is None or not serving.is_answering:
        return None
    known = None if row.live is None else from_json(LivePointer, row.live)
    if claim.plan.get("config_name") == serving.config:
        # between slots, the next execution can still return the traffic to the recorded version
        if claim.plan.get("eks") and claim.outcome is not Outcome.PROMOTED and known is not None:
            return known
        return _on_probation(from_dict(LivePointer, claim.plan["live"]), claim)
    if known is not None and known.config == serving.config:
        return known
    if serving.version is None or package is None:
        return None
    return LivePointer(
        endpoint=row.endpoint,
        config=serving.config,
        model=serving.version.model,
        model_package_arn=package.arn,
        model_sha256=package.spec.model_sha256,
        artifact_uri=package.spec.artifact_uri,
        baseline_uri=package.spec.baseline_uri,
        evaluation_uri=package.spec.evaluation_uri,
        training_set_id=package.spec.training_set_id,
        spec_sha256="",
        spec_uri="",
        execution=claim.execution,
        since=str(to_dict(claim.at)),
        baseline_sha256=package.spec.baseline_sha256,
        artifact_sha256=package.spec.artifact_sha256,
        container_sha256=package.container_sha256,
        image=package.spec.needed_image,
        flavor=package.spec.flavor,
        trained_until=package.spec.trained_until,
        previous=None if known is None else known.config,
        kept=None
        if known is None
        else tuple(c for c in (known.previous, *(known.kept or ())) if c is not None) or None,
    )


def _on_probation(live: LivePointer, claim: Claim) -> LivePointer:
    """Return the pointer with the time of its record, when a new model's probation begins."""
    live = replace(live, since=str(to_dict(claim.at)))
    seconds = claim.plan.get("probation", 0)
    return replace(live, probation_until=str(to_dict(claim.at + timedelta(seconds=seconds)))) if seconds else live


def is_same(record: AuditRecord, claim: Claim, serving: Serving | None) -> bool:
    """Whether a record already reports this execution's outcome: with the same live config, or a rejection or a question."""
    if record.execution == claim.execution and record.outcome is claim.outcome and claim.outcome in _OF_NO_VERSION:
        return True
    config = None if serving is None or not serving.is_answering else serving.config
    return record.execution == claim.execution and record.serving_config == config


def _tells_of(died: DiedExecution) -> str:
    about = "" if died.model_package_arn is None else f" of {died.model_package_arn}"
    return (
        f"recovers {died.execution.rpartition(':')[2]}, which ended {died.status}: {died.reason}{about}, requested by "
        f"{died.requested_by}"
    )


def _planned_live(claim: Claim) -> Mapping[str, Any]:
    return claim.plan.get("live") or {}


def _true_outcome(claim: Claim, serving: Serving | None, container: str | None) -> tuple[Outcome, str]:
    planned, previous = claim.plan.get("config_name"), claim.plan.get("previous_config")
    settled = serving is not None and serving.status == "InService"
    config = None if serving is None else serving.config
    if claim.outcome is Outcome.PROMOTED and not (settled and config == planned):
        found = "no endpoint" if serving is None else f"{config}, {serving.status}"
        outcome = Outcome.ROLLED_BACK if settled and config == previous else Outcome.FAILED
        return outcome, f"meant to promote {planned}, but the endpoint has {found}; {claim.reason}".rstrip("; ")
    wanted = _planned_live(claim).get("container_sha256") if claim.outcome is Outcome.PROMOTED else None
    if wanted != container and wanted is not None:
        found = "can no longer be deployed" if container is None else f"has {container}"
        reason = f"{planned} is live, but its package, planned as {wanted}, {found}: it was changed in the meantime; {claim.reason}"
        return Outcome.FAILED, reason.rstrip("; ")
    if claim.outcome is Outcome.ROLLED_BACK and planned is not None and config == planned:
        return Outcome.FAILED, f"meant to be rolled back, but {planned} still serves; {claim.reason}".rstrip("; ")
    return claim.outcome, claim.reason


def _object(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ContractError(f"not a valid claim: {name} must be an object, got {value!r}")
    return value


def _sha256(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) else None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


class AuditError(Exception):
    """A record cannot be appended to the chain; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The next record, and the attributes of the row that change with it; see ``RolloutTable.move_head``."""

    record: AuditRecord
    live: LivePointer | None = None
    owner: str | None = None
    pause: PauseState | None = None
    taken_back: tuple[TakenBack, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPart:
    """Problems of the records from ``first`` on; ``rest`` is the newest unchecked record, None if all are checked."""

    problems: tuple[str, ...]
    first: int
    rest: LinkedRecord | None


@dataclass(frozen=True, slots=True)
class _Span:
    """Range of sequences, inclusive; None is unbounded."""

    first: int | None = None
    last: int | None = None


_WHOLE = _Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain:
    """The chain of immutable audit objects of an endpoint or a unit, and its head in the row.

    Args:
        s3: Client.
        bucket: Audit bucket.
        table: The row.
        heads: Bucket in which heads are published.
        sealer: Signs records. Default: the chain is read-only.
    """

    s3: "S3Client"
    bucket: str
    table: RolloutTable
    heads: str
    sealer: Sealer | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], client: Callable[[str], Any]) -> "AuditChain":
        """Return an endpoint's writable chain from the environment variables of a function.

        Args:
            environment: With ``AUDIT_BUCKET``, ``ENDPOINT``, ``HEADS_BUCKET``, ``ROLLOUT_TABLE`` and ``SIGNING_KEY``.
            client: Returns the boto3 client of a service name.
        """
        return cls(
            s3=client("s3"),
            bucket=environment["AUDIT_BUCKET"],
            table=RolloutTable(client("dynamodb"), environment["ROLLOUT_TABLE"], environment["ENDPOINT"]),
            heads=environment["HEADS_BUCKET"],
            sealer=Sealer(kms=client("kms"), key=environment["SIGNING_KEY"]),
        )

    def write(self, record: AuditRecord, seal: AuditSeal | None) -> None:
        """Write a record and its seal if they are missing, and publish the seal as the chain's head.

        Other content under a record's key is overwritten, and remains as an older version of the object.
        """
        digest = content_hash(record)
        self._put(audit_key(record.endpoint, record.sequence, digest), canonical_json(record))
        if seal is None:
            return
        content = canonical_json(seal)
        self._put(seal_key(seal.endpoint, seal.sequence, seal.sha256), content)
        key = published_key(seal.endpoint, seal.sequence, seal.sha256)
        if not self._put_new(self.heads, key, content):
            logger.error("s3://%s/%s is published with other content", self.heads, key)

    def append(self, decide: Callable[[LockRow], Move | T]) -> AuditRecord | T:
        """Append a record that is decided on the row's state at the time of writing; its time is not before the last record's.

        Args:
            decide: Called with the row, again after each write of others. Returns the move to write, or a value to return instead.

        Returns:
            The new record, or the other value.

        Raises:
            AuditError: If other writers kept moving the head, or the chain was opened without a key.
        """
        for _ in range(ATTEMPTS):
            row = self.table.read()
            last = self._write_last(row)
            decided = decide(row)
            if not isinstance(decided, Move):
                return decided
            if self.sealer is None:
                raise AuditError(f"the audit chain of {self.table.endpoint} is read-only: it was opened without a key")
            new = not_before(decided.record, last)
            seal = self.sealer.seal(new)
            moved = self.table.move_head(
                row,
                new,
                seal.sha256,
                decided.live,
                decided.owner,
                seal=seal,
                pause=decided.pause,
                taken_back=decided.taken_back,
                promoted=next_promoted(row, new),
            )
            if moved:
                self.write(new, seal)
                return new
        raise AuditError(f"the audit chain of {self.table.endpoint} moved {ATTEMPTS} times while it was appended to")

    def newest(self, row: LockRow, count: int) -> list[AuditRecord]:
        """Return up to ``count`` records that end at the row's head, oldest first; fewer if one is missing or changed.

        They are read by the hashes that lead back from the head, so other objects in the bucket have no effect.
        """
        found: list[AuditRecord] = []
        digest, record = row.audit_head, last_record(row)
        for sequence in range(row.audit_sequence, max(0, row.audit_sequence - count), -1):
            record = record or read_record(
                self.s3, self.bucket, audit_key(self.table.endpoint, sequence, digest), digest
            )
            if record is None:
                break
            found.append(record)
            digest, record = record.previous, None
        return found[::-1]

    def record_of(self, execution: str) -> AuditRecord | None:
        """Return the record that an execution wrote, if it is among the newest."""
        row = self.table.read()
        last = last_record(row)
        if last is None or last.execution == execution:
            return last
        return next((record for record in self.newest(row, LOOK_BACK) if record.execution == execution), None)

    def problems(self, is_signed: IsSigned | None = None) -> list[str]:
        """Verify the whole chain, and return its problems.

        Args:
            is_signed: Returns whether the unit's key made a seal's signature. Default: signatures are not checked.
        """
        return list(self.part(is_signed, until=None, size=sys.maxsize).problems)

    def part(self, is_signed: IsSigned | None, *, until: LinkedRecord | None, size: int) -> ChainPart:
        """Verify a part of the chain, newest records first, from the hash of the part's last record.

        Adjacent parts share one record, so that times are compared across them. The newest part is read again if it has problems,
        until two reads have the same head: a writer moves the row before it writes the object.

        Args:
            is_signed: Returns whether the unit's key made a seal's signature. None: signatures are not checked.
            until: End of the part of newer records (``ChainPart.rest``). None: the newest records, from the row's head.
            size: Maximum number of records, at least 2.
        """
        seen = None
        for _ in range(ATTEMPTS):
            row = self.table.read()
            found = self._part(row, is_signed, until, size)
            if not found.problems or until is not None or row.audit_sequence == seen:
                break
            seen = row.audit_sequence
        return found

    def _part(self, row: LockRow, is_signed: IsSigned | None, until: LinkedRecord | None, size: int) -> ChainPart:
        last = row.audit_sequence if until is None else until.sequence
        first = max(1, last - size + 1)
        span = _Span(first=first if first > 1 else None, last=None if until is None else last)
        if until is not None:
            row = replace(row, audit_sequence=until.sequence, audit_head=until.sha256)
        objects = self.contents(span)
        problems = self._problems(row, objects, is_signed, span)
        if first == 1:
            return ChainPart(problems=tuple(problems), first=first, rest=None)
        start = audit_key(self.table.endpoint, first, "")[: -len(".json")]
        found = [hashlib.sha256(c).hexdigest() for k, c in objects.items() if k.startswith(start) and SEAL not in k]
        if len(found) != 1:
            problems.append(
                f"records before sequence {first} were not checked: the hash of their last record is unknown"
            )
            return ChainPart(problems=tuple(problems), first=first, rest=None)
        return ChainPart(problems=tuple(problems), first=first, rest=LinkedRecord(sequence=first, sha256=found[0]))

    def _problems(
        self, row: LockRow, objects: Mapping[str, bytes], is_signed: IsSigned | None, span: _Span
    ) -> list[str]:
        problems = verify(
            objects, endpoint=row.endpoint, head=row.audit_head, sequence=row.audit_sequence, first=span.first or 1
        )
        if is_signed is None:
            return problems
        problems += broken_seals(objects, self.published(span), row=row, is_signed=is_signed)
        problems += broken_passports(objects, self.passports(span), is_signed=is_signed)
        return problems + broken_minutes(objects, self.minutes(span))

    def contents(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the chain's records and seals by key."""
        return self._all(self.bucket, f"audit/{self.table.endpoint}/", span)

    def passports(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the passports of the chain's promotions by key."""
        return self._all(self.bucket, f"passports/{self.table.endpoint}/", span)

    def minutes(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the minutes of the chain's verdicts by key."""
        return self._all(self.bucket, f"minutes/{self.table.endpoint}/", span)

    def keep_minutes(self, record: AuditRecord, content: bytes | None) -> AuditRecord:
        """Write the minutes of a record's verdict to the audit bucket, and return the record with their URI.

        Args:
            record: With its sequence in the chain.
            content: The minutes; None if they cannot be read, which leaves the record unchanged.
        """
        named = beside(record, self.bucket)
        if content is None or named.verdict is None:
            return record
        self._put_new(self.bucket, named.verdict.minutes_uri.removeprefix(f"s3://{self.bucket}/"), content)
        return named

    def write_passport(self, passport: Passport) -> str:
        """Sign and write a passport, before the record that names it; return its hash.

        Raises:
            AuditError: If the chain was opened without a key.
        """
        if self.sealer is None:
            raise AuditError(f"the audit chain of {self.table.endpoint} is read-only: it was opened without a key")
        digest = content_hash(passport)
        key = passport_key(passport.endpoint, passport.sequence, digest)
        # an existing object has another signature of the same passport
        self._put_new(self.bucket, key, canonical_json(sign_passport(passport, self.sealer)))
        return digest

    def published(self, span: _Span = _WHOLE) -> dict[str, bytes]:
        """Return the published heads by key."""
        return self._all(self.heads, f"heads/{self.table.endpoint}/", span)

    def _write_last(self, row: LockRow) -> AuditRecord | None:
        """Write objects that an interrupted writer may have left out, and return the record at the head."""
        last = last_record(row)
        if last is not None:
            self.write(last, _seal_of(row))
        elif row.audit_sequence:
            logger.error("the record stored in the row of %s does not match the row's head", row.endpoint)
        return last

    def _put(self, key: str, content: bytes) -> None:
        if not self._put_new(self.bucket, key, content):
            logger.error("s3://%s/%s had other content than the chain; it is overwritten", self.bucket, key)
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType="application/json")

    def _put_new(self, bucket: str, key: str, content: bytes) -> bool:
        """Write an object unless it exists; False if it exists with other content."""
        try:
            self.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            return self._read(bucket, key) == content
        return True

    def _all(self, bucket: str, prefix: str, span: _Span) -> dict[str, bytes]:
        """Return objects by key; each key below a prefix begins with its sequence in eight digits."""
        after = prefix[:-1] if span.first is None else f"{prefix}{span.first:08d}"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, StartAfter=after)
        listed = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        end = None if span.last is None else f"{prefix}{span.last + 1:08d}"
        keys = list(takewhile(lambda key: end is None or key < end, listed))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(keys, pool.map(partial(self._read, bucket), keys), strict=True))

    def _read(self, bucket: str, key: str) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def read_record(s3: "S3Client", bucket: str, key: str, digest: str) -> AuditRecord | None:
    """Return the record of a key; None if it is missing or has another hash.

    Args:
        s3: Client.
        bucket: Audit bucket.
        key: Key, from ``audit_key``.
        digest: Expected hash of the record.
    """
    try:
        found: AuditRecord | None = from_json(AuditRecord, s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ContractError:
        found = None
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        found = None
    if found is None or content_hash(found) != digest:
        logger.error("s3://%s/%s is not the record that the chain's head leads to", bucket, key)
        return None
    return found


def _seal_of(row: LockRow) -> AuditSeal | None:
    try:
        seal = None if row.audit_seal is None else from_json(AuditSeal, row.audit_seal)
    except ContractError:
        return None
    named = (row.endpoint, row.audit_sequence, row.audit_head)
    return seal if seal is not None and (seal.endpoint, seal.sequence, seal.sha256) == named else None


def record(
    claim: Claim,
    *,
    sagemaker: "SageMakerClient",
    chain: AuditChain,
    slots: SlotReader | None = None,
    has_endpoint: bool = True,
) -> dict[str, object]:
    """Append an execution's outcome, once, and move the live pointer to the live version.

    The pointer moves only for the execution that holds the lock, and never for a rejection, which has no rollout.

    Args:
        claim: The outcome that the execution reports.
        sagemaker: Client.
        chain: The endpoint's chain and row.
        slots: Reader of the endpoint's slots on EKS. Default: a SageMaker endpoint.
        has_endpoint: Whether this account has the endpoint; without one, the chain has only rejections and questions.
            Default: True.

    Returns:
        ``{"sequence", "serving_config", "outcome"}`` of the record.

    Raises:
        AuditError: If other writers kept moving the head.
    """
    serving = None
    if has_endpoint:
        serving = read_serving(sagemaker, chain.table.endpoint) if slots is None else read_slots(slots.read())
    description = _described(sagemaker, serving)
    package = _package(description)
    minutes = None if claim.verdict is None else written_minutes(chain.s3, claim.verdict)

    def follow(row: LockRow) -> Move | AuditRecord:
        newest = chain.newest(row, LOOK_BACK)
        for earlier in newest:
            if is_same(earlier, claim, serving):
                return earlier
        died = died_of(claim)
        is_told = died is not None and any(earlier.execution == died.execution for earlier in newest)
        new = next_record(row, without_died(claim) if is_told else claim, serving, package)
        new = chain.keep_minutes(not_before(new, last_record(row)), minutes)
        if new.outcome is Outcome.PROMOTED:
            passport = passport_of(
                new,
                package,
                description,
                read_gate(chain.s3, description),
                machine_sha256=claim.machine_sha256,
            )
            new = replace(new, passport_sha256=chain.write_passport(passport))
        moves = claim.outcome not in _OF_NO_VERSION and row.owner == claim.execution
        live = next_live(row, claim, serving, package) if moves else None
        return Move(
            record=new,
            live=live,
            owner=claim.execution if moves else None,
            taken_back=next_taken_back(row, new) if moves else None,
        )

    return _answer(chain.append(follow))


def _answer(written: AuditRecord) -> dict[str, object]:
    return {
        "sequence": written.sequence,
        "serving_config": written.serving_config,
        "outcome": written.outcome.value,
    }


def _described(sagemaker: "SageMakerClient", serving: Serving | None) -> Mapping[str, Any]:
    """Return the description of the live package; empty without one."""
    if serving is None or serving.version is None or serving.version.package is None:
        return {}
    return read_description(sagemaker, serving.version.package) or {}


def _package(description: Mapping[str, Any]) -> RegisteredPackage | None:
    try:
        return read_package(description) if description else None
    except PackageError:
        return None  # an unusable package has no baseline to point at
