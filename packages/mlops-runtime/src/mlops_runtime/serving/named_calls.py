"""Calls whose rows have ids of their own, which are recorded before the call and searched when labels arrive."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.capture import NamedCall, named_calls_key, named_calls_prefix
from mlops_runtime.monitor.counting.capture_lines import bounded_lines
from mlops_runtime.monitor.window import hour_of, within

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READERS = 16
_CHUNK = 1 << 20


class CalledRow(NamedTuple):
    """A row that was sent: inference id of its call, index and number of rows in the call, and the hour."""

    inference_id: str
    row: int
    rows: int
    hour: datetime


def name_call(ids: Sequence[str], at: datetime) -> NamedCall:
    """Return a call of these rows. A single row's id is its inference id; several rows get one from their ids and the hour.

    A call that is repeated within the hour, as after an interruption, counts once; rows that are sent again later are another call.

    Example:
        >>> at = datetime(2017, 8, 7, 6, 30, tzinfo=UTC)
        >>> name_call(["order-7"], at).inference_id
        'order-7'
        >>> name_call(["order-7", "order-8"], at).inference_id
        'rows-2017080706-114c7e83b964121311c657d9c6fd2c9c'
    """
    if len(ids) == 1:
        return NamedCall(inference_id=ids[0], ids=tuple(ids))
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    return NamedCall(inference_id=f"rows-{at.astimezone(UTC):%Y%m%d%H}-{digest[:32]}", ids=tuple(ids))


def hours_before(
    s3: "S3Client", bucket: str, prefix: str, *, since: datetime, until: datetime
) -> Iterator[tuple[datetime, list[tuple[datetime, str]]]]:
    """Yield the hours that have objects ``<prefix>yyyy/mm/dd/hh/...``, newest first, with time and key of each object.

    Args:
        s3: Client.
        prefix: Key prefix before the hour.
        since: The first time; its whole hour is listed.
        until: The last time.
    """
    first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day > first - timedelta(days=1):
        found = []
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}{day:%Y/%m/%d}/"):
            for entry in page.get("Contents", []):
                hour = hour_of(entry["Key"], prefix)
                if hour is not None and first <= hour <= until:
                    found.append((hour, entry["LastModified"], entry["Key"]))
        found.sort(reverse=True)
        for hour, entries in groupby(found, key=lambda entry: entry[0]):
            yield hour, [(within(hour, written), key) for _, written, key in entries]
        day -= timedelta(days=1)


def read_side_by_side(s3: "S3Client", bucket: str, keys: Sequence[str]) -> Iterator[list[bytes]]:
    """Yield the lines of each object, in order; objects are read in parallel."""

    def lines(key: str) -> list[bytes]:
        return list(bounded_lines(s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK)))

    with ThreadPoolExecutor(_READERS) as pool:
        # in batches, so that memory does not grow with the number of objects
        for start in range(0, len(keys), _READERS):
            yield from pool.map(lines, keys[start : start + _READERS])


class NamedCalls:
    """Row ids that clients of an endpoint recorded for their calls."""

    def __init__(self, s3: "S3Client", *, bucket: str, endpoint: str) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint

    def put(self, calls: Sequence[NamedCall], *, at: datetime) -> None:
        """Write the row ids of calls, before the calls are made."""
        body = b"\n".join(map(canonical_json, calls))
        key = named_calls_key(self._endpoint, at, hashlib.sha256(body).hexdigest()[:32])
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)

    def find(self, ids: Collection[str], *, since: datetime, until: datetime) -> dict[str, CalledRow]:
        """Return the last recorded call of each id, if any.

        Args:
            since: Time of the oldest call to search.
            until: Time of the newest.
        """
        found: dict[str, CalledRow] = {}
        prefix, wanted = named_calls_prefix(self._endpoint), set(ids)
        for hour, objects in hours_before(self._s3, self._bucket, prefix, since=since, until=until):
            for lines in read_side_by_side(self._s3, self._bucket, [key for _, key in objects]):
                for call in (from_json(NamedCall, line) for line in lines):
                    for row, name in enumerate(call.ids):
                        if name in wanted:
                            found.setdefault(name, CalledRow(call.inference_id, row, len(call.ids), hour))
            if len(found) == len(wanted):
                break
        return found
