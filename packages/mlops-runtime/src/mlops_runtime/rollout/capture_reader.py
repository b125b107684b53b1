"""Reader of a variant's capture records in S3: the newest objects of some hours, within limits for a function's time."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.capture import capture_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# for each call of records()
_MAXIMUM_OBJECTS, _MAXIMUM_BYTES = 100, 32 * 1024**2
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureReader:
    """Reader of an endpoint's captures.

    Args:
        s3: Client.
        destination: ``DestinationS3Uri`` of the endpoint's capture.
        endpoint: Name of the endpoint.
    """

    s3: "S3Client"
    destination: str
    endpoint: str

    def records(self, variant: str, first: datetime, last: datetime) -> Iterator[Mapping[str, Any]]:
        """Yield the records of full hours, from that of ``first`` to that of ``last``, inclusive; keys contain the hour of a call.

        Lines that are not JSON objects are skipped. The caller filters by the exact time.

        Args:
            variant: Name of the variant.
            first: A time in the first hour.
            last: A time in the last hour.
        """
        bucket, _, prefix = self.destination.removeprefix("s3://").partition("/")
        for key in self._newest(bucket, prefix.rstrip("/"), variant, first, last):
            for line in self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record

    def _newest(self, bucket: str, prefix: str, variant: str, first: datetime, last: datetime) -> list[str]:
        found: list[tuple[datetime, int, str]] = []
        hour = first.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        while hour <= last:
            folder = capture_key(prefix, self.endpoint, variant, hour, "").removesuffix(".jsonl")
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
            found += [(o["LastModified"], o["Size"], o["Key"]) for page in pages for o in page.get("Contents", [])]
            hour += _HOUR
        left, chosen = _MAXIMUM_BYTES, list[str]()
        for _, size, key in sorted(found, reverse=True)[:_MAXIMUM_OBJECTS]:
            left -= size
            if left < 0:
                break
            chosen.append(key)
        return chosen
