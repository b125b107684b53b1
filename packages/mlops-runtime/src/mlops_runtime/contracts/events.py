"""Events of the platform on the unit's bus: source ``mlops.<unit>``, detail types, version and id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from mlops_runtime.contracts.chat_notification import ChatNotification


class DetailType(StrEnum):
    """Detail types of the platform's events."""

    RETRAINING_REQUESTED = "MLOps Retraining Requested"
    RETRAINING_FINISHED = "MLOps Retraining Finished"
    ROLLOUT_FINISHED = "MLOps Rollout Finished"
    MODEL_RELEASED = "MLOps Model Released"
    MODEL_SERVED = "MLOps Model Served"
    PROMOTION_FINISHED = "MLOps Promotion Finished"
    MONITOR_REPORTED = "MLOps Monitor Reported"
    FEATURES_INGESTED = "MLOps Features Ingested"
    FEATURES_REJECTED = "MLOps Features Rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """Detail of every event. ``subject`` is the endpoint, pipeline or table; ``outcome`` is the result in one word.

    A request to register a model has the ``Candidate`` as JSON in the attribute ``candidate``. A monitor report has a
    ``notification`` that a rule can forward to a chat application unchanged.
    """

    id: str
    subject: str
    outcome: str
    reason: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    notification: ChatNotification | None = None
    version: Literal["mlops.event/1"] = "mlops.event/1"


def features_ingested(table: str, *, rows: int, ingest_id: str) -> EventDetail:
    """Return the detail of ``MLOps Features Ingested``: the number of rows that one append added to a table.

    Args:
        table: Name of the feature table.
        rows: Rows appended.
        ingest_id: Id of the append, the same in repeated events.

    Example:
        >>> features_ingested("weekly_demand_v1", rows=1200, ingest_id="2017-w31").attributes
        {'rows': '1200'}
    """
    return EventDetail(id=ingest_id, subject=table, outcome="INGESTED", attributes={"rows": str(rows)})


def features_rejected(table: str, *, reason: str, uri: str, report_uri: str, rejection_id: str) -> EventDetail:
    """Return the detail of ``MLOps Features Rejected``: a delivered batch failed its checks and no row of it was ingested.

    Args:
        table: Name of the batch's feature table.
        reason: Why the batch was rejected.
        uri: URI of the batch.
        report_uri: URI of the ``RejectedBatch``, which lists every problem.
        rejection_id: Id of the rejection, the same in repeated events.

    Example:
        >>> features_rejected("sales_v1", reason="it has no rows", uri="s3://b/incoming/sales_v1/a.parquet",
        ...                   report_uri="s3://b/rejected/sales_v1/a.json", rejection_id="9f2c").outcome
        'REJECTED'
    """
    return EventDetail(
        id=rejection_id,
        subject=table,
        outcome="REJECTED",
        reason=reason,
        attributes={"uri": uri, "report_uri": report_uri},
    )


def model_released(group: str, *, record_uri: str, record_sha256: str) -> EventDetail:
    """Return the detail of ``MLOps Model Released``: location and hash of the release record.

    Args:
        group: The package group.
        record_uri: URI of the ``ReleaseRecord``.
        record_sha256: Hash of its bytes; also the event's id, the same in repeated events.

    Example:
        >>> model_released("demand-forecast", record_uri="s3://b/releases/demand-forecast/0.json", record_sha256="0" * 64).outcome
        'RELEASED'
    """
    attributes = {"record_uri": record_uri, "record_sha256": record_sha256}
    return EventDetail(id=record_sha256, subject=group, outcome="RELEASED", attributes=attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusEvent:
    """An event as EventBridge delivers it to a target. In a schedule's event, ``resources`` has the ARN of its rule.

    See: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    """

    id: str
    source: str
    detail_type: str = field(metadata={"name": "detail-type"})
    time: datetime
    detail: Mapping[str, object]
    account: str | None = None
    resources: tuple[str, ...] | None = None
    region: str | None = None


def request_source(unit: str, caller: str = "${aws:userid}") -> str:
    """Return the event source of a person's request to a business unit, which contains the caller's IAM user id.

    Policies only allow a caller its own source, because IAM replaces the variable with the caller's id.

    See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html

    Args:
        unit: Name of the business unit.
        caller: ``UserId`` of ``sts:GetCallerIdentity``. Default: IAM's variable for it, for a policy.

    Example:
        >>> request_source("demand", "AROAEXAMPLE:anna"), request_source("demand")
        ('mlops.demand/AROAEXAMPLE:anna', 'mlops.demand/${aws:userid}')
    """
    return f"{event_source(unit)}/{caller}"


def event_source(unit: str) -> str:
    """Return the event source of a business unit.

    Example:
        >>> event_source("demand")
        'mlops.demand'
    """
    return f"mlops.{unit}"
