"""What ingest leaves in S3 for whoever delivered a batch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedBatch:
    """Why a delivered batch was not ingested: every problem at once. The object stays where it is; ``etag`` says which one it was.

    ``rejected_at`` is when its delivery reached the queue.
    """

    table: str
    key: str
    uri: str
    etag: str
    bytes: int
    rejected_at: str
    problems: tuple[str, ...]
    format: Literal["mlops.rejected-batch/1"] = "mlops.rejected-batch/1"
