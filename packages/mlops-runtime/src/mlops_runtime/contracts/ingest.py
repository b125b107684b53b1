"""Where batches are delivered in S3, and what ingest leaves there for whoever delivered one."""

from dataclasses import dataclass
from typing import Literal

# a batch is incoming/<table>/<idempotency key>.parquet, the report of a rejected one rejected/<table>/<idempotency key>.json
INCOMING = "incoming/"
REJECTED = "rejected/"
SUFFIX = ".parquet"


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
