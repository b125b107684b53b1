"""Adapter of the checks of captured answers: reads captures and returns what they come to. It has no state."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

from mlops_runtime.rollout.answer_bodies import BodyVerdict, by_minute, judge_bodies
from mlops_runtime.rollout.answers_request import BodiesRequest
from mlops_runtime.rollout.capture_reader import CaptureReader
from mlops_runtime.rollout.fleet_minutes import HISTORY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# a clock of S3 that is ahead
_LATE = timedelta(minutes=10)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersFunction:
    """What the function ``rollout_answers`` does.

    Args:
        s3: Client.
    """

    s3: "S3Client"

    def bodies(self, request: BodiesRequest, *, now: datetime) -> BodyVerdict:
        """Return what the answers since the rollout began come to, held to those of the hours before.

        Args:
            request: Whose.
            now: The time in the cloud.
        """
        since = datetime.fromisoformat(request.since)
        reader = CaptureReader(s3=self.s3, destination=request.destination, endpoint=request.endpoint)
        spans = ((since - HISTORY, since - _SECOND), (since, now + _LATE))
        records = chain.from_iterable(reader.records(request.variant, *span) for span in spans)
        return judge_bodies(by_minute(records), since=since, false_alarm=request.false_alarm)
