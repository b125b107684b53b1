"""The two runs of the monitor: count one capture object, and decide over a window."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import content_hash, from_json, to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, event_source
from mlops_runtime.contracts.monitor import MonitorReport, MonitorState, Violations, metric_namespace
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.counts import count, empty, merge
from mlops_runtime.monitor.decide import decide
from mlops_runtime.monitor.quality import measure
from mlops_runtime.monitor.report import Evidence, Window, build, drift_state, metric_data
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.statistics import statistics, violations
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_events import EventBridgeClient

_log = logging.getLogger("mlops.monitor")


def count_object(body: str, store: MonitorStore, table: RolloutTable) -> MonitorState:
    """Count the capture object that an "Object Created" event names, against the live model's baseline.

    Counting an object again writes the same counts to the same key. An event about anything else is left alone.

    See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html

    Args:
        body: The event as SQS carries it.
        store: The endpoint's objects.
        table: The endpoint's row: what is live.

    Returns:
        ``OK``, or ``NOT_YET_DEPLOYED`` when nothing is live and there is no baseline to count against.

    Raises:
        KeyError: If the event names no object; the message goes to the dead-letter queue.
    """
    detail = json.loads(body)["detail"]
    bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    target = store.counts_key(key)
    if target is None:
        return MonitorState.OK
    live = _live(table)
    if live is None:
        return MonitorState.NOT_YET_DEPLOYED
    counts = count(store.lines(bucket, key), store.baseline(live.baseline_uri), since=live.since)
    store.put_counts(target, counts)
    told = {
        "rows": counts.rows,
        "calls": counts.calls,
        "malformed": counts.malformed,
        "synthetic": counts.synthetic or 0,
    }
    _log.info(json.dumps({"counted": key, **told}))
    return MonitorState.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideSettings:
    """What ``monitor_decide`` is told by its environment."""

    endpoint: str
    variant: str
    unit: str
    bus: str
    window_hours: int
    spec: MonitorSpec
    traffic: Mapping[str, Any] | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "DecideSettings":
        """Read ``ENDPOINT``, ``VARIANT``, ``UNIT``, ``EVENT_BUS``, ``WINDOW_HOURS`` and ``MONITOR``.

        ``TRAFFIC`` says where calls are counted that SageMaker does not count: ``{"namespace", "metric", "dimensions"}``.
        """
        return cls(
            endpoint=environment["ENDPOINT"],
            variant=environment["VARIANT"],
            unit=environment["UNIT"],
            bus=environment["EVENT_BUS"],
            window_hours=int(environment["WINDOW_HOURS"]),
            spec=from_json(MonitorSpec, environment["MONITOR"]),
            traffic=json.loads(environment["TRAFFIC"]) if "TRAFFIC" in environment else None,
        )


def decide_window(
    now: datetime,
    settings: DecideSettings,
    *,
    store: MonitorStore,
    table: RolloutTable,
    cloudwatch: "CloudWatchClient",
    events: "EventBridgeClient",
) -> MonitorReport:
    """Decide over the last window: write the report's files, put the metrics, send ``MLOps Monitor Reported``.

    Args:
        now: The time that the schedule's event carries.
        settings: Endpoint, window, thresholds.
        store: The endpoint's objects.
        table: The endpoint's row: what is live.
        cloudwatch: Client.
        events: Client.
    """
    window = Window.before(now, settings.window_hours)
    evidence = gather(window, settings, store=store, live=_live(table), cloudwatch=cloudwatch)
    report = build(evidence, settings.spec, endpoint=settings.endpoint, variant=settings.variant, window=window)
    found, file = Violations(violations=()), None
    if evidence.baseline is not None and evidence.counts is not None:
        found = violations(evidence.baseline, evidence.counts, evidence.decisions, settings.spec)
        file = statistics(evidence.baseline, evidence.counts)
    uri = store.put_report(report, found, file, window.end)
    namespace = metric_namespace(settings.unit)
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=metric_data(report, settings.spec, now))  # type: ignore[arg-type] # plain dicts
    _send(report, uri, settings, events)
    _log.info(
        json.dumps({**to_dict(report), "synthetic": 0 if evidence.counts is None else evidence.counts.synthetic or 0})
    )
    return report


def gather(
    window: Window,
    settings: DecideSettings,
    *,
    store: MonitorStore,
    live: LivePointer | None,
    cloudwatch: "CloudWatchClient",
) -> Evidence:
    """Read what one decision needs. CloudWatch is only asked when no row was counted: to tell no traffic from no capture."""
    if live is None:
        return Evidence()
    baseline = store.baseline(live.baseline_uri)
    counted = store.counts_keys(settings.variant, window)
    digest = content_hash(baseline)
    counts = merge(empty(baseline), (part for part in store.counts(counted) if part.baseline_sha256 == digest))
    captured = {store.counts_key(key) for key in store.capture_keys(settings.variant, window)}
    before = window.extended(settings.spec.label_delay_hours)
    evidence = Evidence(
        live=live,
        baseline=baseline,
        counts=counts,
        quality=measure(store.labels(window), store.captures(settings.variant, before), since=live.since),
        uncounted=len(captured - set(counted)),
        # a synthetic call that was captured shows that capture works: without rows there was no traffic
        invocations=0 if counts.rows or counts.synthetic else _invocations(window, settings, cloudwatch),
    )
    if drift_state(evidence, settings.spec) not in (MonitorState.OK, MonitorState.VIOLATION):
        return evidence
    return replace(evidence, decisions=decide(baseline, counts, settings.spec))


def _live(table: RolloutTable) -> LivePointer | None:
    text = table.read().live
    return None if text is None else from_json(LivePointer, text)


def _invocations(window: Window, settings: DecideSettings, cloudwatch: "CloudWatchClient") -> int:
    """Return the variant's calls in the window.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    traffic = settings.traffic or {
        "namespace": "AWS/SageMaker",
        "metric": "Invocations",
        "dimensions": {"EndpointName": settings.endpoint, "VariantName": settings.variant},
    }
    answer = cloudwatch.get_metric_statistics(
        Namespace=traffic["namespace"],
        MetricName=traffic["metric"],
        Dimensions=[{"Name": name, "Value": value} for name, value in traffic["dimensions"].items()],
        StartTime=window.start,
        EndTime=window.end,
        Period=3600,
        Statistics=["Sum"],
    )
    return int(sum(point["Sum"] for point in answer["Datapoints"]))


def _send(report: MonitorReport, uri: str, settings: DecideSettings, events: "EventBridgeClient") -> None:
    states = {"drift_state": report.drift_state.value, "quality_state": report.quality_state.value}
    outcome = MonitorState.VIOLATION if MonitorState.VIOLATION.value in states.values() else report.drift_state
    detail = EventDetail(
        id=f"{report.endpoint}/{report.variant}/{report.window_until}",
        subject=report.endpoint,
        outcome=outcome.value,
        reason=f"drift {report.drift_state}, quality {report.quality_state} over {report.rows} rows",
        attributes={**states, "report_uri": uri},
    )
    entry = {
        "EventBusName": settings.bus,
        "Source": event_source(settings.unit),
        "DetailType": DetailType.MONITOR_REPORTED.value,
        "Detail": json.dumps(to_dict(detail)),
    }
    answer = events.put_events(Entries=[entry])  # type: ignore[list-item] # a plain dict
    if answer["FailedEntryCount"]:
        raise RuntimeError(f"the bus {settings.bus!r} refused the report's event: {answer['Entries']}")
