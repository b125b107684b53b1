"""Embedded time in MiniStack's timestamps.

Queued messages keep their real send time, from which visibility, delay and retention count; receivers read ``SentTimestamp`` as the
embedded time of sending. DynamoDB's time-to-live and timestamps, and the modification times of S3 objects, follow the embedded
clock.
"""

from typing import Any

from ministack.services import cloudwatch, dynamodb, eventbridge, lambda_svc, s3, scheduler, sqs, stepfunctions
from ministack.services.cloudformation import changesets, handlers, stacks

from mlops_local import clock

# CloudWatch keeps hourly values for 455 days, and accepts stamps of the last two weeks
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
_RETENTION = 455 * 86_400
_EVICTION = 3600.0  # embedded seconds between evictions of older values


# claim: metrics-are-stamped-and-kept
# claim: objects-carry-the-time-of-the-cloud
def install() -> None:
    """Put MiniStack's modules with timestamps on the embedded clock."""
    cloudwatch.time, cloudwatch.datetime = clock.EmbeddedTime(), clock.EmbeddedDatetime
    cloudwatch.TWO_WEEKS_SECONDS = _RETENTION
    dynamodb.time = clock.EmbeddedTime()
    eventbridge._now_ts, eventbridge.datetime = clock.now, clock.EmbeddedDatetime
    scheduler._now = clock.now
    for module in (changesets, handlers, s3, stacks):
        module.now_iso = clock.iso
    stepfunctions.now_iso, stepfunctions.datetime = clock.iso, clock.EmbeddedDatetime
    _evict_by_the_hour()
    _stamp_messages()
    _stamp_s3_events()
    _lock_objects()


def _evict_by_the_hour() -> None:
    """Evict old values hourly instead of scanning a metric's values at each new one."""
    evict, last = cloudwatch._evict_old_metrics, -_EVICTION

    def evict_old() -> None:
        nonlocal last
        if abs(clock.now() - last) >= _EVICTION:
            last = clock.now()
            evict()

    cloudwatch._evict_old_metrics = evict_old


def _stamp_messages() -> None:
    attributes, run_batch = sqs._build_sys_attrs, lambda_svc._run_sqs_batch

    def embedded_attributes(msg: dict[str, Any], names: list[str]) -> dict[str, str]:
        found: dict[str, str] = attributes(msg, names)
        if "SentTimestamp" in found:
            found["SentTimestamp"] = _milliseconds(msg["sent_at"])
        if msg.get("first_receive_at") and "ApproximateFirstReceiveTimestamp" in found:
            found["ApproximateFirstReceiveTimestamp"] = _milliseconds(msg["first_receive_at"])
        return found

    def embedded_batch(esm: Any, func_rec: Any, event: dict[str, Any], *rest: Any) -> None:
        for record in event["Records"]:
            for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
                record["attributes"][name] = embedded_stamp(record["attributes"][name])
        run_batch(esm, func_rec, event, *rest)

    sqs._build_sys_attrs, lambda_svc._run_sqs_batch = embedded_attributes, embedded_batch


def _stamp_s3_events() -> None:
    dispatch = eventbridge._dispatch_event

    def embedded_dispatch(event: dict[str, Any], view: Any = None) -> None:
        if event.get("Source") == "aws.s3":
            event = {**event, "Time": int(clock.now())}
        dispatch(event, view)

    eventbridge._dispatch_event = embedded_dispatch


def _lock_objects() -> None:
    """Start a bucket's default retention at embedded time, with which its end is compared."""
    apply = s3._apply_object_lock_from_headers

    def embedded_lock(bucket: str, key: str, headers: dict[str, Any], version: Any) -> None:
        apply(bucket, key, headers, version)
        default = (s3._bucket_object_lock.get(bucket) or {}).get("default_retention")
        kept = s3._object_retention.get((bucket, key, version))
        if default and kept and not headers.get("x-amz-object-lock-mode"):
            days = default.get("Days") or 365 * default.get("Years", 0)
            kept["RetainUntilDate"] = clock.iso(clock.now() + days * 86_400)

    s3._apply_object_lock_from_headers = embedded_lock


def embedded_stamp(stamp: str) -> str:
    """Return the embedded time of a real timestamp in milliseconds.

    The end of the millisecond counts: at its start, a message sent during a jump would get the previous due time.
    """
    return _milliseconds((int(stamp) + 1) / 1000)


def _milliseconds(real: float) -> str:
    return str(int(clock.at_real(real) * 1000))
