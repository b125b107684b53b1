"""Adapter of ``audit``: appends to the chain and moves the live pointer with it.

The row's conditional write comes first and carries the record; the object follows. A writer that dies between the two leaves a
row that says what to write, and whoever comes next writes it before anything else. So there is one object a sequence, in every
order of crashes and retries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome, audit_key
from mlops_runtime.registry.package import PackageError, RegisteredPackage, read_package
from mlops_runtime.rollout.audit import Claim, is_same, next_live, next_record, verify
from mlops_runtime.rollout.serving import Serving, read_description, read_serving
from mlops_runtime.rollout.table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

ATTEMPTS = 8  # against other writers of the same chain: a rollout and a rejection at most
LOOK_BACK = 10  # records among which a retry finds its own


class AuditError(Exception):
    """The chain cannot be appended to; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain:
    """One endpoint's chain of immutable objects and its head in the rollout table.

    Args:
        s3: Client.
        bucket: Audit bucket.
        table: The endpoint's row.
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


def record(claim: Claim, *, sagemaker: "SageMakerClient", chain: AuditChain) -> dict[str, Any]:
    """Append what came of an execution, once, and move the live pointer to what serves.

    The pointer moves only for the execution that holds the lock, and never for a rejection, which has no rollout.

    Returns:
        ``{"sequence", "serving_config", "outcome"}`` of the record.

    Raises:
        AuditError: If other writers kept moving the head.
    """
    serving = read_serving(sagemaker, chain.table.endpoint)
    package = _package(sagemaker, serving)
    for _ in range(ATTEMPTS):
        row = chain.table.read()
        if row.audit_last is not None:
            chain.write(from_json(AuditRecord, row.audit_last))
        for earlier in chain.newest(row, LOOK_BACK):
            if is_same(earlier, claim, serving):
                return _answer(earlier)
        new = next_record(row, claim, serving)
        moves = claim.outcome is not Outcome.REJECTED and row.owner == claim.execution
        live = next_live(row, claim, serving, package) if moves else None
        if chain.table.move_head(row, new, content_hash(new), live, claim.execution if moves else None):
            chain.write(new)
            return _answer(new)
    raise AuditError(f"the audit chain of {chain.table.endpoint} moved {ATTEMPTS} times while it was appended to")


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
