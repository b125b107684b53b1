"""Delivered batches, their rejection, and events about ingests. Standard library and boto3 alone."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, EventDetail, event_source, features_rejected
from mlops_runtime.contracts.features import INCOMING, REJECTED, SUFFIX, RejectedBatch

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client

_REASON = 2000  # characters; an event is at most 256 KB, and the report has all problems


class AnnounceError(RuntimeError):
    """The event bus did not accept an event; the operation itself succeeded, and repeating it publishes the event again."""


def unit_bus(
    events: "EventBridgeClient", *, bus: str, unit: str, detail_type: DetailType = DetailType.FEATURES_INGESTED
) -> Callable[[EventDetail], None]:
    """Return a callback for a client that puts ``MLOps Features Ingested`` on the unit's bus after each ingest.

    Args:
        events: Client; its caller needs ``events:PutEvents`` on the bus with ``events:source`` ``mlops.<unit>``.
        bus: Name of the unit's bus.
        detail_type: Type of the event. Default: ``MLOps Features Ingested``.

    Example:
        >>> store = FeatureStoreClient.glue(  # doctest: +SKIP
        ...     database="demand_features", announce=unit_bus(boto3.client("events"), bus=bus, unit="demand"))
    """

    def announce(detail: EventDetail) -> None:
        answer = events.put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": event_source(unit),
                    "DetailType": detail_type.value,
                    "Detail": canonical_json(detail).decode(),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            entry = answer["Entries"][0]
            raise AnnounceError(
                f"bus {bus!r} did not accept the event of {detail.subject}: {entry.get('ErrorCode')}: "
                f"{entry.get('ErrorMessage')}; repeat the operation to publish the event: nothing is written twice"
            )

    return announce


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivered object.

    Example:
        >>> delivery = Delivery(
        ...     bucket="b", path="incoming/stock_v1/2017-w31.parquet", etag="9b2c", bytes=1, now=datetime(2017, 8, 7, tzinfo=UTC)
        ... )
        >>> delivery.table, delivery.key, delivery.report_path
        ('stock_v1', '2017-w31', 'rejected/stock_v1/2017-w31.json')
    """

    bucket: str  # the incoming bucket
    path: str  # the object's key
    etag: str  # of the object that was read
    bytes: int
    now: datetime  # when the delivery reached the queue; used as the store's clock

    @property
    def uri(self) -> str:
        """S3 URI of the object."""
        return f"s3://{self.bucket}/{self.path}"

    @property
    def table(self) -> str:
        """Name of the table that the batch is for."""
        return self.path.removeprefix(INCOMING).partition("/")[0]

    @property
    def key(self) -> str:
        """Idempotency key of the batch."""
        return self.path.removeprefix(INCOMING).partition("/")[2].removesuffix(SUFFIX)

    @property
    def report_path(self) -> str:
        """Key of the report if the batch is rejected."""
        return f"{REJECTED}{self.path.removeprefix(INCOMING).removesuffix(SUFFIX)}.json"


def reject(
    delivery: Delivery, reason: str, problems: Sequence[str], *, s3: "S3Client", publish: Callable[[EventDetail], None]
) -> None:
    """Write a report of why a batch was rejected, then publish the event; idempotent.

    Args:
        delivery: The batch.
        reason: Reason for the event.
        problems: Every problem, for the report.
        s3: Client; its caller may put objects below ``rejected/``.
        publish: Puts ``MLOps Features Rejected`` on the unit's bus, see ``unit_bus``.
    """
    report = RejectedBatch(
        table=delivery.table,
        key=delivery.key,
        uri=delivery.uri,
        etag=delivery.etag,
        bytes=delivery.bytes,
        rejected_at=delivery.now.astimezone(UTC).isoformat(timespec="milliseconds"),
        problems=tuple(problems),
    )
    s3.put_object(
        Bucket=delivery.bucket, Key=delivery.report_path, Body=canonical_json(report), ContentType="application/json"
    )
    publish(
        features_rejected(
            delivery.table,
            reason=reason if len(reason) <= _REASON else f"{reason[:_REASON]}...",
            uri=delivery.uri,
            report_uri=f"s3://{delivery.bucket}/{delivery.report_path}",
            rejection_id=hashlib.sha256(f"{delivery.uri} {delivery.etag}".encode()).hexdigest()[:32],
        )
    )
