"""Capture records of one variant from S3: the newest objects of a time span, as many as a function reads in its time."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.capture import capture_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# of one span
_MAXIMUM_OBJECTS, _MAXIMUM_BYTES = 100, 32 * 1024**2
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureReader:
    """Reads captures.

    Args:
        s3: Client.
        destination: ``DestinationS3Uri`` of the endpoint's capture.
        endpoint: The endpoint.
    """

    s3: "S3Client"
    destination: str
    endpoint: str

    def records(self, variant: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """Yield the records of a variant that were written in a time span; a line that is not JSON is left out.

        Args:
            variant: Its name.
            since: Objects written before are left out.
            until: Objects written later are left out, too.
        """
        bucket, _, prefix = self.destination.removeprefix("s3://").partition("/")
        for key in self._newest(bucket, prefix.rstrip("/"), variant, since, until):
            for line in self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record

    def _newest(self, bucket: str, prefix: str, variant: str, since: datetime, until: datetime) -> list[str]:
        found: list[tuple[datetime, int, str]] = []
        hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        while hour <= until:
            folder = capture_key(prefix, self.endpoint, variant, hour, "").removesuffix(".jsonl")
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
            found += [(o["LastModified"], o["Size"], o["Key"]) for page in pages for o in page.get("Contents", [])]
            hour += _HOUR
        span = sorted((o for o in found if since.replace(microsecond=0) <= o[0] <= until), reverse=True)
        left, chosen = _MAXIMUM_BYTES, list[str]()
        for _, size, key in span[:_MAXIMUM_OBJECTS]:
            left -= size
            if left < 0:
                break
            chosen.append(key)
        return chosen
