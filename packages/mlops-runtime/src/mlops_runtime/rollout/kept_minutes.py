"""The minutes that a verdict was computed from, stored with its audit record and verified by their hash.

The function that compares fleets overwrites its object at each poll. When the record is written, the last state is copied into the
audit bucket under its own key, so that a disputed verdict can be computed again as long as records are retained.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import ContractError, from_dict
from mlops_runtime.contracts.rollout import AuditRecord, RolloutVerdict, minutes_key
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Evidence, Minute, compare
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.rollout_verdict import left_out_note
from mlops_runtime.rollout.seals import readable_records
from mlops_runtime.rollout.verdict import Compared, judge

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# 480 minutes of three comparisons have some hundred kilobytes
MOST_BYTES = 5_000_000

logger = logging.getLogger(__name__)


class MinutesError(Exception):
    """The minutes of a verdict cannot be read; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMinutes:
    """Stored minutes of a comparison."""

    document: Mapping[str, Any]  # the whole object
    compared: tuple[Compared, ...]  # the comparisons: failed responses first, then slow ones, one for each limit

    def sentence(self) -> str:
        """Return the sentence that this version computes from the minutes."""
        is_requested = self.document.get("request", {}).get("max_latency_ratio") is not None
        left_out = left_out_note(self.compared[0]) if is_requested and len(self.compared) == 1 else ""
        return judge(self.compared[0], self.compared[1:], left_out_note=left_out).sentence


def read_bytes(s3: "S3Client", verdict: RolloutVerdict) -> bytes:
    """Return the bytes of a verdict's minutes.

    Raises:
        MinutesError: If they cannot be read, or their hash is not the verdict's.
    """
    bucket, _, key = verdict.minutes_uri.removeprefix("s3://").partition("/")
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read(MOST_BYTES + 1)
    except (BotoCoreError, ClientError) as error:
        raise MinutesError(f"{verdict.minutes_uri} cannot be read: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != verdict.minutes_sha256:
        raise MinutesError(f"{verdict.minutes_uri} is not what the verdict was computed from: its SHA-256 is {found}")
    return content


def written_minutes(s3: "S3Client", verdict: RolloutVerdict) -> bytes | None:
    """Return the bytes of a verdict's minutes; None if they cannot be read, which must not fail the record."""
    try:
        return read_bytes(s3, verdict)
    except MinutesError as error:
        logger.warning("the minutes of a verdict are not kept with its record: %s", error)
        return None


def read_minutes(content: bytes) -> KeptMinutes:
    """Parse stored minutes.

    Raises:
        MinutesError: If this version cannot read them, or nothing was compared.
    """
    try:
        document = json.loads(content)
        compared = tuple(_compared(each) for each in document["compared"])
    except (ValueError, KeyError, TypeError, ContractError) as error:
        raise MinutesError(f"the minutes cannot be read by this version: {error}") from error
    if not compared:
        raise MinutesError("nothing was compared")
    return KeptMinutes(document=document, compared=compared)


def _compared(document: Mapping[str, Any]) -> Compared:
    counts = tuple(Counts(**each) for each in document["history"])
    minutes = tuple(Minute(new=Counts(**each["new"]), old=Counts(**each["old"])) for each in document["minutes"])
    rest = {name: value for name, value in document.items() if name not in ("history", "minutes", "rule")}
    return Compared(history=counts, minutes=minutes, rule=from_dict(ComparisonRule, document["rule"]), **rest)


def running_evidence(compared: Compared) -> list[Evidence]:
    """Return the evidence up to each minute."""
    return [
        compare(compared.minutes[:number], history=compared.history, rule=compared.rule, alone_from=compared.alone_from)
        for number in range(1, len(compared.minutes) + 1)
    ]


def beside(record: AuditRecord, bucket: str) -> AuditRecord:
    """Return a record whose verdict has the URI of its minutes in the audit bucket.

    Args:
        record: With its sequence in the chain.
        bucket: Audit bucket.
    """
    if record.verdict is None:
        return record
    uri = f"s3://{bucket}/{minutes_key(record.endpoint, record.sequence, record.verdict.minutes_sha256)}"
    return replace(record, verdict=replace(record.verdict, minutes_uri=uri))


def broken_minutes(objects: Mapping[str, bytes], minutes: Mapping[str, bytes]) -> list[str]:
    """Return the problems of the minutes that records name; other objects were left by interrupted writers and are ignored.

    Args:
        objects: Content of each audit object by key.
        minutes: Content of each object of minutes by key.
    """
    problems: list[str] = []
    for record, _ in readable_records(objects):
        if record.verdict is None:
            continue
        name = minutes_key(record.endpoint, record.sequence, record.verdict.minutes_sha256)
        if not record.verdict.minutes_uri.endswith(f"/{name}"):
            continue
        found = minutes.get(name)
        if found is None:
            problems.append(f"{name} is missing")
        elif hashlib.sha256(found).hexdigest() != record.verdict.minutes_sha256:
            problems.append(f"{name} was changed after the verdict of record {record.sequence} was computed")
    return problems
