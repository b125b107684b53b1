"""The two entry points of the monitor: count a capture object, and decide on a window, from its evidence to its report."""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, event_source
from mlops_runtime.contracts.monitor import MetricValue, MonitorState, Violations, metric_namespace
from mlops_runtime.contracts.monitor_report import MonitorReport, MonitorResult, monitor_states
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.cloudwatch_metrics import Monitor, metric_data, metric_lines
from mlops_runtime.monitor.counting.counts import count, empty
from mlops_runtime.monitor.counting.problems import OBJECT_TOO_LARGE, invalid_values, sentence
from mlops_runtime.monitor.model_monitor.executions import MONITORS, MonitorName
from mlops_runtime.monitor.model_monitor_files import constraints, quality_statistics, statistics
from mlops_runtime.monitor.monitors.classification import usable_rows
from mlops_runtime.monitor.monitors.monitor_table import decide, metrics, overall, violations
from mlops_runtime.monitor.monitors.staleness import staleness
from mlops_runtime.monitor.prometheus_metrics import prometheus_text
from mlops_runtime.monitor.report_message import advice, chat_notification, message, verdict
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window import Window, stamp
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.window_reading import Place, gather, inventory, taken_back_among
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_events import EventBridgeClient

_log = logging.getLogger("mlops.monitor")
# the limit of a function, which runs for minutes; a job counts parts of an object in parallel
MAXIMUM_BYTES = 2 << 30
# violations that the traffic of a rollout may cause
_DRIFT = frozenset({"baseline_drift_check", "completeness_check", "categorical_values_check"})
Engine = Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"]


def count_object(body: str, store: MonitorStore, table: RolloutTable) -> MonitorState:
    """Count the capture object of an "Object Created" event against the live model's baseline.

    Idempotent: counting an object again writes the same counts to the same key. After a promotion the counts against the new
    model's baseline are written next to the earlier ones. Events of other objects are ignored.

    See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html

    Returns:
        ``OK``, or ``NOT_YET_DEPLOYED`` if no model is live, so that there is no baseline.

    Raises:
        KeyError: If the event names no object; the message goes to the dead-letter queue.
        BaselineIntegrityError: If the baseline is missing or differs from the approved one; the message goes to the dead-letter
            queue, to be redriven when the baseline is restored.
    """
    detail = json.loads(body)["detail"]
    bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    if store.counts_key(key) is None:
        _log.warning(
            "%s is not a capture of this endpoint: expected capture/<endpoint>/<variant>/yyyy/mm/dd/hh/<name>.jsonl",
            key,
        )
        return MonitorState.OK
    text = table.read().live
    if text is None:
        return MonitorState.NOT_YET_DEPLOYED
    live = from_json(LivePointer, text)
    baseline = store.baseline(live.baseline_uri, live.baseline_sha256)
    if detail["object"].get("size", 0) > MAXIMUM_BYTES:
        _log.error("%s: %s", key, sentence(OBJECT_TOO_LARGE()))
        counts = replace(empty(baseline), malformed=1, problems={OBJECT_TOO_LARGE(): 1}, objects=1)
    else:
        lines, hour = store.lines(bucket, key), store.object_hour(key)
        counts = count(lines, baseline, since=live.since, announced=store.announced(), hour=hour)
    store.put_counts(str(store.counts_key(key, counts.baseline_sha256)), counts)
    entry = {
        "rows": counts.rows,
        "calls": counts.calls,
        "malformed": counts.malformed,
        "synthetic": counts.synthetic or 0,
    }
    _log.info(json.dumps({"counted": key, **entry}))
    return MonitorState.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideSettings:
    """Environment of the function ``monitor_decide``."""

    endpoint: str
    variant: str
    unit: str  # name of the business unit
    bus: str  # name of the unit's event bus
    window_hours: int  # length of a window in hours
    spec: MonitorSpec  # thresholds
    # metrics of calls and latency, see `call_metrics.sources`. Default: SageMaker's metrics
    traffic: Mapping[str, Any] | None = None
    period_hours: int | None = None  # hours between runs. Default: `window_hours`
    engine: Engine = "LAMBDA"  # engine that counts. Default: Lambda functions
    # monitors of SageMaker Model Monitor that run. Default: none, another engine counts
    model_monitors: tuple[MonitorName, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "DecideSettings":
        """Read ``ENDPOINT``, ``VARIANT``, ``UNIT``, ``EVENT_BUS``, ``WINDOW_HOURS`` and ``MONITOR``.

        Optional: ``TRAFFIC`` is the metric of calls that SageMaker does not count, ``{"namespace", "metric", "dimensions"}``, with
        the metric of their latency as ``latency``. ``PERIOD_HOURS`` is the time between runs, ``MODEL_MONITORS`` a comma-separated
        list of the monitors that SageMaker Model Monitor runs.
        """
        monitors = tuple(name for name in MONITORS if name in environment.get("MODEL_MONITORS", "").split(","))
        return cls(
            endpoint=environment["ENDPOINT"],
            variant=environment["VARIANT"],
            unit=environment["UNIT"],
            bus=environment["EVENT_BUS"],
            window_hours=int(environment["WINDOW_HOURS"]),
            spec=from_json(MonitorSpec, environment["MONITOR"]),
            traffic=json.loads(environment["TRAFFIC"]) if "TRAFFIC" in environment else None,
            period_hours=int(environment["PERIOD_HOURS"]) if "PERIOD_HOURS" in environment else None,
            engine="SAGEMAKER_MODEL_MONITOR" if monitors else "LAMBDA",
            model_monitors=monitors,
        )


def decide_window(
    now: datetime,
    settings: DecideSettings,
    *,
    store: MonitorStore,
    table: RolloutTable,
    cloudwatch: "CloudWatchClient",
    events: "EventBridgeClient",
    measured: Mapping[Monitor, MonitorResult] | None = None,
    executions: Callable[[Evidence, Window], Evidence] | None = None,
) -> MonitorReport:
    """Decide on the last window: write the report's files, publish the metrics, send the event ``MLOps Monitor Reported``.

    Args:
        now: Time of the scheduled event.
        settings: Endpoint, window, thresholds.
        store: The endpoint's objects.
        table: The endpoint's row: live version and rollout lock.
        cloudwatch: Client.
        events: Client.
        measured: Results of the window from elsewhere, by monitor. Default: none.
        executions: Adds the findings of an external engine to a window's evidence. Default: the platform's engine counted.
    """
    window = Window.before(now, settings.window_hours)
    place = Place(
        endpoint=settings.endpoint,
        variant=settings.variant,
        store=store,
        cloudwatch=cloudwatch,
        traffic=settings.traffic,
        period_hours=settings.period_hours or settings.window_hours,
    )
    row = table.read()
    evidence = gather(window, row=row, spec=settings.spec, place=place, now=now, measured=measured or {})
    if executions is not None:
        evidence = executions(evidence, window)
        evidence = replace(evidence, suppressed=evidence.suppressed or taken_back_among(row, window))
    return publish(evidence, window, now, settings, store=store, cloudwatch=cloudwatch, events=events)


def publish(
    evidence: Evidence,
    window: Window,
    now: datetime,
    settings: DecideSettings,
    *,
    store: MonitorStore,
    cloudwatch: "CloudWatchClient",
    events: "EventBridgeClient",
) -> MonitorReport:
    """Write report, violations and metrics of the evidence of any engine, and send the event."""
    spec = settings.spec
    report = build_report(
        evidence, spec, endpoint=settings.endpoint, variant=settings.variant, window=window, engine=settings.engine
    )
    found = violations(report, evidence)
    reported = [
        line for line in found.violations if evidence.suppressed is None or line.constraint_check_type not in _DRIFT
    ]
    store.put_violations(b"".join(canonical_json(line) + b"\n" for line in reported), window.end)
    uri = store.put_report(report, _files(evidence, found, window, now, spec), window.end)
    _publish_metrics(report.metrics, settings, now, cloudwatch)
    published = _published(report)
    store.put_metrics(prometheus_text(published))
    _send(published, uri, settings, events)
    synthetic = 0 if evidence.counts is None else evidence.counts.synthetic or 0
    _log.info(json.dumps({**to_dict(report), "synthetic": synthetic}))
    return report


def _publish_metrics(
    values: Sequence[MetricValue], settings: DecideSettings, now: datetime, cloudwatch: "CloudWatchClient"
) -> None:
    endpoint, variant = settings.endpoint, settings.variant
    if settings.engine == "PROCESSING":
        # jobs log to the account's shared log group, whose class may not support embedded metrics
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch_Logs_Log_Classes.html
        published: Any = metric_data(values, endpoint=endpoint, variant=variant, now=now)
        cloudwatch.put_metric_data(Namespace=metric_namespace(settings.unit), MetricData=published)
        return
    # CloudWatch extracts embedded metrics from lines that contain nothing else
    for line in metric_lines(values, unit=settings.unit, endpoint=endpoint, variant=variant, now=now):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _files(evidence: Evidence, found: Violations, window: Window, now: datetime, spec: MonitorSpec) -> dict[str, bytes]:
    """Return the files stored with the report: the page and a replay need only these and the baseline."""
    files = {"constraint_violations.json": canonical_json(found)}
    if evidence.baseline is None:
        return files
    files["objects.json"] = canonical_json(inventory(evidence, window, spec))
    if evidence.counts is not None:
        files["counts.json"] = canonical_json(evidence.counts)
        files["statistics.json"] = json.dumps(statistics(evidence.baseline, evidence.counts)).encode()
    files["constraints.json"] = json.dumps(constraints(evidence.baseline, spec)).encode()
    if evidence.labels is not None and "quality" not in evidence.measured:
        rows = usable_rows(evidence.labels.labelled, evidence.baseline)
        measured = quality_statistics(rows, evidence.baseline, evaluated_at=now)
        if measured is not None:
            files["model_quality_statistics.json"] = json.dumps(measured).encode()
    return files


def _published(report: MonitorReport) -> MonitorReport:
    """Return the report to publish: without drift while a rollout suppresses it; the stored report includes it."""
    if (
        report.suppressed is None
        or report.drift.state is not MonitorState.VIOLATION
        or report.baseline_flaw is not None
    ):
        return report
    published = replace(report, drift=replace(report.drift, state=MonitorState.OK, features=()))
    return replace(published, state=overall(monitor_states(published), None))


def _send(report: MonitorReport, uri: str, settings: DecideSettings, events: "EventBridgeClient") -> None:
    detail = EventDetail(
        id=f"{report.endpoint}/{report.variant}/{report.window_until}",
        subject=report.endpoint,
        outcome=report.state.value,
        reason=report.verdict,
        attributes={
            **{f"{monitor}_state": state.value for monitor, state in monitor_states(report).items()},
            "report_uri": uri,
            "advice": advice(report),
            "message": message(report, uri),
        },
        notification=chat_notification(report, uri),
    )
    entry = {
        "EventBusName": settings.bus,
        "Source": event_source(settings.unit),
        "DetailType": DetailType.MONITOR_REPORTED.value,
        "Detail": json.dumps(to_dict(detail)),
    }
    answer = events.put_events(Entries=[entry])  # type: ignore[list-item] # a plain dict
    if answer["FailedEntryCount"]:
        raise RuntimeError(f"the event bus {settings.bus!r} rejected the report's event: {answer['Entries']}")


def build_report(
    evidence: Evidence, spec: MonitorSpec, *, endpoint: str, variant: str, window: Window, engine: Engine = "LAMBDA"
) -> MonitorReport:
    """Return the report of one run.

    Args:
        evidence: The data that the run read.
        spec: Thresholds, included in the report.
        window: The evaluated window.
        engine: Engine that counted. Default: Lambda functions.
    """
    live, baseline = evidence.live, evidence.baseline
    found = decide(evidence, window, spec)
    report = MonitorReport(
        endpoint=endpoint,
        variant=variant,
        window_from=stamp(window.start),
        window_until=stamp(window.end),
        state=overall({name: result.state for name, result in found.items()}, evidence.flaw),
        rows=evidence.rows,
        baseline_sha256=None if baseline is None else content_hash(baseline),
        baseline_uri=None if live is None else live.baseline_uri,
        baseline_flaw=evidence.flaw,
        model_package_arn=None if live is None else live.model_package_arn,
        **found,
        staleness=staleness(evidence, found["quality"], window, spec),
        engine=engine,
        analyzer=evidence.analyzer,
        hours_merged=evidence.hours_merged,
        suppressed=evidence.suppressed,
        problems=_problems(evidence) or None,
        problem_objects={sentence(problem): key for problem, key in evidence.problem_objects.items()} or None,
        problem_lines={sentence(problem): lines for problem, lines in evidence.problem_lines.items()} or None,
        live_since=None if live is None else live.since,
        unannounced_calls=None if evidence.counts is None else evidence.counts.unannounced or 0,
        spec=spec,
    )
    return replace(report, verdict=verdict(report), metrics=metrics(report))


def _problems(evidence: Evidence) -> dict[str, int]:
    flaw = {} if evidence.flaw is None else {evidence.flaw: 1}
    baseline, counts = evidence.baseline, evidence.counts
    invalid = {} if baseline is None or counts is None else invalid_values(baseline, counts)
    return {**flaw, **{sentence(problem): times for problem, times in {**evidence.problems, **invalid}.items()}}
