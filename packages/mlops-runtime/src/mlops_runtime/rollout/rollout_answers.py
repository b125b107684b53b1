"""Adapter for checks of captured responses: reads captures from S3 and returns the verdict. Stateless."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.capture import capture_key
from mlops_runtime.rollout.answer_bodies import BodyVerdict, by_minute, judge_bodies, read_time
from mlops_runtime.rollout.evidence_requests import BodiesRequest, PairsRequest
from mlops_runtime.rollout.fleet_minutes import HISTORY
from mlops_runtime.rollout.shadow_pairs import PairsVerdict, judge_pairs, paired

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# for each call of records()
_MAXIMUM_OBJECTS, _MAXIMUM_BYTES = 100, 32 * 1024**2
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersFunction:
    """Implementation of the function ``rollout_answers``."""

    s3: "S3Client"

    def pairs(self, request: PairsRequest, *, since: datetime, now: datetime) -> PairsVerdict:
        """Return the verdict on a shadow's responses, compared with the live model's to the same requests.

        Args:
            request: Endpoint, variants and tolerance.
            since: When the shadow began.
            now: Current time of the cloud.
        """
        reader = CaptureReader(s3=self.s3, destination=request.destination, endpoint=request.endpoint)
        live, shadow = (_since(reader.records(each, since, now), since) for each in (request.live, request.shadow))
        return judge_pairs(paired(live, shadow), request.tolerance)

    def bodies(self, request: BodiesRequest, *, now: datetime) -> BodyVerdict:
        """Return the verdict on the responses since the rollout began, compared with those of the hours before.

        Args:
            request: Endpoint, variant and start of the rollout.
            now: Current time of the cloud.
        """
        since = datetime.fromisoformat(request.since)
        reader = CaptureReader(s3=self.s3, destination=request.destination, endpoint=request.endpoint)
        # the hours before the start are read separately, so that many later captures leave room for earlier ones
        hour = since.replace(minute=0, second=0, microsecond=0)
        spans = ((hour - HISTORY, hour - _HOUR), (hour, now))
        records = chain.from_iterable(reader.records(request.variant, *span) for span in spans)
        return judge_bodies(by_minute(records), since=since, false_alarm=request.false_alarm)


def _since(records: Iterable[Mapping[str, Any]], start: datetime) -> Iterator[Mapping[str, Any]]:
    """Skip earlier calls: another shadow may have run in the same hour."""
    for record in records:
        at = read_time(record)
        if at is not None and at >= start.replace(microsecond=0):
            yield record


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureReader:
    """Reader of an endpoint's captures."""

    s3: "S3Client"
    destination: str  # `DestinationS3Uri` of the endpoint's capture
    endpoint: str

    def records(self, variant: str, first: datetime, last: datetime) -> Iterator[Mapping[str, Any]]:
        """Yield the records of full hours, from that of ``first`` to that of ``last``, inclusive; keys contain the hour of a call.

        Lines that are not JSON objects are skipped. The caller filters by the exact time.
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
