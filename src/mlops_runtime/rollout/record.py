"""Adapter of ``audit``: appends to the chain and moves the live pointer with it.

The row's conditional write comes first and carries the record; the object follows. A writer that dies between the two leaves a
row that says what to write, and whoever comes next writes it before anything else. So there is one object a sequence, in every
order of crashes and retries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.automation import PauseState
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, Outcome, TakenBack, audit_key
from mlops_runtime.eks.gather import SlotReader
from mlops_runtime.eks.serving import serving as read_slots
from mlops_runtime.registry.package import PackageError, RegisteredPackage, read_package
from mlops_runtime.rollout.audit import Claim, died_of, is_same, next_live, next_record, verify, without_died
from mlops_runtime.rollout.serving import Serving, read_description, read_serving
from mlops_runtime.rollout.table import RolloutTable
from mlops_runtime.rollout.taken_back import next_taken_back

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

T = TypeVar("T")

ATTEMPTS = 8  # against other writers of the same chain: a rollout and a rejection at most
LOOK_BACK = 10  # records among which a retry finds its own


class AuditError(Exception):
    """The chain cannot be appended to; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A record that follows a row's head, and what moves with it; see ``RolloutTable.move_head``."""

    record: AuditRecord
    live: LivePointer | None = None
    owner: str | None = None
    pause: PauseState | None = None
    taken_back: tuple[TakenBack, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain:
    """One endpoint's, or one unit's, chain of immutable objects and its head in the row.

    Args:
        s3: Client.
        bucket: Audit bucket.
        table: The row.
    """

    s3: "S3Client"
    bucket: str
    table: RolloutTable

    def write(self, record: AuditRecord) -> None:
        """Write a record's object, unless it is there.

        Raises:
            AuditError: If another content stands in its place.
        """
        content = canonical_json(record)
        key = audit_key(record.endpoint, record.sequence, content_hash(record))
        try:
            self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            if self._read(key) != content:
                raise AuditError(
                    f"s3://{self.bucket}/{key} holds something else than the record at the head"
                ) from error

    def append(self, decide: Callable[[LockRow], Move | T]) -> AuditRecord | T:
        """Append what is decided on the row as it stands at the moment of writing.

        Args:
            decide: Gets the row, again after every move of another writer. Answers with what follows; anything else that it
                answers with is returned, and nothing is written.

        Returns:
            The new record, or the other answer.

        Raises:
            AuditError: If other writers kept moving the head.
        """
        for _ in range(ATTEMPTS):
            row = self.table.read()
            if row.audit_last is not None:
                self.write(from_json(AuditRecord, row.audit_last))
            decided = decide(row)
            if not isinstance(decided, Move):
                return decided
            new = decided.record
            moved = self.table.move_head(
                row,
                new,
                content_hash(new),
                decided.live,
                decided.owner,
                pause=decided.pause,
                taken_back=decided.taken_back,
            )
            if moved:
                self.write(new)
                return new
        raise AuditError(f"the audit chain of {self.table.endpoint} moved {ATTEMPTS} times while it was appended to")

    def newest(self, row: LockRow, count: int) -> list[AuditRecord]:
        """Return up to ``count`` records that end at the row's head, oldest first."""
        prefix = f"audit/{row.endpoint}/"
        after = f"{prefix}{max(0, row.audit_sequence - count):08d}~"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, StartAfter=after)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [from_json(AuditRecord, self._read(key)) for key in sorted(keys)]

    def problems(self) -> list[str]:
        """Return what is wrong with the whole chain; see ``verify``."""
        row, prefix = self.table.read(), f"audit/{self.table.endpoint}/"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        objects = {key: self._read(key) for key in keys}
        return verify(objects, endpoint=row.endpoint, head=row.audit_head, sequence=row.audit_sequence)

    def _read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()


def record(
    claim: Claim, *, sagemaker: "SageMakerClient", chain: AuditChain, slots: SlotReader | None = None
) -> dict[str, Any]:
    """Append what came of an execution, once, and move the live pointer to what serves.

    The pointer moves only for the execution that holds the lock, and never for a rejection, which has no rollout.

    Args:
        claim: What the execution says.
        sagemaker: Client.
        chain: The endpoint's chain and row.
        slots: Where the endpoint's slots are, if it is served on EKS. Default: SageMaker serves it.

    Returns:
        ``{"sequence", "serving_config", "outcome"}`` of the record.

    Raises:
        AuditError: If other writers kept moving the head.
    """
    serving = read_serving(sagemaker, chain.table.endpoint) if slots is None else read_slots(slots.read())
    package = _package(sagemaker, serving)

    def follow(row: LockRow) -> Move | AuditRecord:
        newest = chain.newest(row, LOOK_BACK)
        for earlier in newest:
            if is_same(earlier, claim, serving):
                return earlier
        died = died_of(claim)
        is_told = died is not None and any(earlier.execution == died.execution for earlier in newest)
        new = next_record(row, without_died(claim) if is_told else claim, serving)
        moves = claim.outcome is not Outcome.REJECTED and row.owner == claim.execution
        live = next_live(row, claim, serving, package) if moves else None
        return Move(
            record=new,
            live=live,
            owner=claim.execution if moves else None,
            taken_back=next_taken_back(row, new) if moves else None,
        )

    return _answer(chain.append(follow))


def _answer(written: AuditRecord) -> dict[str, Any]:
    return {
        "sequence": written.sequence,
        "serving_config": written.serving_config,
        "outcome": written.outcome.value,
    }


def _package(sagemaker: "SageMakerClient", serving: Serving | None) -> RegisteredPackage | None:
    if serving is None or serving.version is None or serving.version.package is None:
        return None
    description: Mapping[str, Any] | None = read_description(sagemaker, serving.version.package)
    try:
        return None if description is None else read_package(description)
    except PackageError:
        return None  # an unusable package has no baseline to point at
