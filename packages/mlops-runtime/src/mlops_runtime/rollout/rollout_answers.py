"""Adapter for checks of captured responses: reads captures and returns the verdict. Stateless."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlops_runtime.rollout.answer_bodies import BodyVerdict, by_minute, judge_bodies, read_time
from mlops_runtime.rollout.answers_request import BodiesRequest, PairsRequest
from mlops_runtime.rollout.capture_reader import CaptureReader
from mlops_runtime.rollout.fleet_minutes import HISTORY
from mlops_runtime.rollout.shadow_pairs import PairsVerdict, judge_pairs, paired

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersFunction:
    """Implementation of the function ``rollout_answers``.

    Args:
        s3: Client.
    """

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
