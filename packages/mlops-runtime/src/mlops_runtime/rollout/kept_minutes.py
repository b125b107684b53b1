"""The minutes that a verdict was computed from, kept beside the record that names it, checked against its hash, read again.

The function that compares fleets overwrites its object at each look. What the last look wrote is copied into the bucket of records
when the record is made, under a key of its own, so that a verdict in doubt can be computed again for as long as records stay.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import ContractError, from_dict, from_json
from mlops_runtime.contracts.rollout import SEAL, AuditRecord, RolloutVerdict, minutes_key
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Evidence, Minute, compare
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.rollout_verdict import unsaid
from mlops_runtime.rollout.verdict import Compared, judge

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# of 480 minutes of three comparisons some hundred kilobytes
MOST_BYTES = 5_000_000

logger = logging.getLogger(__name__)


class MinutesError(Exception):
    """The minutes of a verdict cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMinutes:
    """What was compared, as it was written.

    Args:
        document: The whole object.
        compared: What was compared: failing answers first, then slow ones, at one limit each.
    """

    document: Mapping[str, Any]
    compared: tuple[Compared, ...]

    def sentence(self) -> str:
        """Return the sentence that this version computes from the minutes."""
        is_asked = self.document.get("request", {}).get("max_latency_ratio") is not None
        left_out = unsaid(self.compared[0]) if is_asked and len(self.compared) == 1 else ""
        return judge(self.compared[0], self.compared[1:], unsaid=left_out).sentence


def read_bytes(s3: "S3Client", verdict: RolloutVerdict) -> bytes:
    """Return the bytes of a verdict's minutes.

    Raises:
        MinutesError: If they cannot be read, or are not those of the verdict.
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
    """Return the bytes of a verdict's minutes, or None where they cannot be kept: that must not fail a record."""
    try:
        return read_bytes(s3, verdict)
    except MinutesError as error:
        logger.warning("the minutes of a verdict are not kept with its record: %s", error)
        return None


def read_minutes(content: bytes) -> KeptMinutes:
    """Return what was compared.

    Raises:
        MinutesError: If another version wrote it.
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
    """Return what the minutes up to each one come to."""
    return [
        compare(compared.minutes[:number], history=compared.history, rule=compared.rule, alone_from=compared.alone_from)
        for number in range(1, len(compared.minutes) + 1)
    ]


def beside(record: AuditRecord, bucket: str) -> AuditRecord:
    """Return a record whose verdict names its minutes beside the record.

    Args:
        record: With its place in the chain.
        bucket: Bucket of records.
    """
    if record.verdict is None:
        return record
    uri = f"s3://{bucket}/{minutes_key(record.endpoint, record.sequence, record.verdict.minutes_sha256)}"
    return replace(record, verdict=replace(record.verdict, minutes_uri=uri))


def broken_minutes(objects: Mapping[str, bytes], minutes: Mapping[str, bytes]) -> list[str]:
    """Return what is wrong with the minutes that records name beside them; what none names is left by a writer that died.

    Args:
        objects: Content of each audit object by key.
        minutes: Content of each object of minutes by key.
    """
    problems: list[str] = []
    for key, content in sorted(objects.items()):
        record = None
        if not key.endswith(SEAL):
            with suppress(ContractError):  # named by ``record_links.verify``
                record = from_json(AuditRecord, content)
        if record is None or record.verdict is None:
            continue
        name = minutes_key(record.endpoint, record.sequence, record.verdict.minutes_sha256)
        if not record.verdict.minutes_uri.endswith(f"/{name}"):
            continue
        found = minutes.get(name)
        if found is None:
            problems.append(f"{name} is missing")
        elif hashlib.sha256(found).hexdigest() != record.verdict.minutes_sha256:
            problems.append(
                f"{name} is changed: it is not what the verdict of record {record.sequence} was computed from"
            )
    return problems
