"""The alarms on a monitor's metrics as data: what each watches, how urgent it is, what happened and what to do.

Missing data breach only for heartbeats: that of the monitor, and that of the calls at the hours at which some are expected. What a
run finds is published at that run alone, and between two runs nothing has become better or worse.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs.drift_alarms.severity import Severity
from mlops_constructs.drift_alarms.traffic import ExpectedTraffic
from mlops_constructs.model_monitor import ModelMonitor
from mlops_runtime.monitor.spec import MonitorSpec

_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
# SageMaker delivers captures within minutes; https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
_CAPTURE_HOURS = 3
# An alarm looks back seven days at most, and two runs must fit, or each late run would ring.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html (EvaluationPeriods)
LONGEST_SCHEDULE = cdk.Duration.hours(84)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One alarm. ``name`` is its name for callers, ``id`` its construct id; ``feature`` has one of its own."""

    name: str
    id: str
    severity: Severity
    metric: Callable[[], cloudwatch.IMetric]
    threshold: float
    comparison: cloudwatch.ComparisonOperator
    description: str
    hours: int = 1
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.IGNORE


def children(
    monitor: ModelMonitor,
    *,
    wape_ratio: float,
    severities: Mapping[str, Severity],
    psi: Mapping[str, float],
    traffic: ExpectedTraffic | None,
) -> Iterator[Child]:
    """Yield the alarms of a monitor.

    Args:
        monitor: The monitor.
        wape_ratio: Live WAPE over the holdout's, above which quality rings.
        severities: Severities that differ, by name.
        psi: Largest PSI by feature.
        traffic: When calls are expected; None is never.
    """
    found = [*_drift(monitor), *_quality(monitor, wape_ratio), *_silence(monitor, traffic)]
    for child in found:
        yield replace(child, severity=severities.get(child.name, child.severity))
    for feature, limit in psi.items():
        yield _psi(monitor, feature, limit)


def names(monitor: ModelMonitor, *, traffic: ExpectedTraffic | None) -> tuple[str, ...]:
    """Return the names that ``severities`` may have."""
    return tuple(child.name for child in (*_drift(monitor), *_quality(monitor, 1), *_silence(monitor, traffic)))


def _drift(monitor: ModelMonitor) -> Iterator[Child]:
    spec = monitor.spec
    yield Child(
        name="suspect",
        id="Suspect",
        severity=Severity.WARNING,
        metric=monitor.metric_features_suspect,
        threshold=1,
        comparison=_AT_LEAST,
        description=f"at least one feature of the calls looked unlike the training data in the last window; {_after(spec)}",
    )
    yield Child(
        name="features",
        id="Features",
        severity=Severity.CRITICAL,
        metric=monitor.metric_features_drifted,
        threshold=1,
        comparison=_AT_LEAST,
        description="at least one feature of the calls no longer looks like the training data, in "
        f"{spec.alarm_windows} of {spec.of_windows} windows; the newest report names it and says how it changed: mend the feed if "
        "it broke, else let the model be trained again",
    )
    yield Child(
        name="baseline",
        id="Baseline",
        severity=Severity.CRITICAL,
        metric=monitor.metric_baseline_tampered,
        threshold=1,
        comparison=_AT_LEAST,
        description="the live model's baseline is gone, or not the one that was approved with it: nothing is compared with it; "
        "find out who wrote below evaluations/ (the bucket keeps versions), restore it, or roll back",
    )
    if monitor.engine.name == "SAGEMAKER_MODEL_MONITOR" or (monitor.engine.job and monitor.engine.job.attribution_rows):
        yield Child(
            name="explainability",
            id="Explainability",
            severity=Severity.WARNING,
            metric=monitor.metric_ndcg,
            threshold=spec.minimum_ndcg,
            comparison=_BELOW,
            description="the model's predictions rest on other features than when it was approved; compare the attributions of "
            "the newest report with the baseline's, and the features that moved",
        )


def _after(spec: MonitorSpec) -> str:
    """Return what to do about a feature that drifted in one window."""
    if spec.alarm_windows == 1:
        return (
            "one window alone makes it drift, so that the alarm Features rings too: the newest report names the feature"
        )
    return (
        f"wait for the next one, {spec.alarm_windows} of {spec.of_windows} make it drift, or look at once: the newest report names "
        "the feature"
    )


def _quality(monitor: ModelMonitor, wape_ratio: float) -> Iterator[Child]:
    spec = monitor.spec
    yield Child(
        name="quality",
        id="Quality",
        severity=Severity.CRITICAL,
        metric=monitor.metric_wape_ratio_low,
        threshold=wape_ratio,
        comparison=_ABOVE,
        description=f"the live WAPE is more than {wape_ratio} times that of the model's holdout, with the whole of its "
        "interval; compare the report's quality with quality_baseline, and check that the labels are right",
    )
    limits = ", ".join(f"{name} {limit:g}" for name, limit in spec.quality_limits.items())
    yield Child(
        name="limits",
        id="Limits",
        severity=Severity.CRITICAL,
        metric=monitor.metric_quality_violations,
        threshold=1,
        comparison=_AT_LEAST,
        description=f"a metric of the live model is worse than its limit ({limits or 'from the holdout'}), with the whole of its "
        "interval; the newest report shows each by segment: check that the labels are right, then train again or roll back",
    )
    yield Child(
        name="bias",
        id="Bias",
        severity=Severity.CRITICAL,
        metric=monitor.metric_bias_violations,
        threshold=1,
        comparison=_AT_LEAST,
        description=f"a bias metric is more than {spec.maximum_bias_shift:g} from the baseline's, with the whole of its interval; "
        "the newest report names the group and the metric: ask whoever answers for the model before it is trained again",
    )
    yield Child(
        name="latency",
        id="Latency",
        severity=Severity.CRITICAL,
        metric=monitor.metric_latency_violations,
        threshold=1,
        comparison=_AT_LEAST,
        description=f"the model takes more than {spec.maximum_latency_ratio:g} times as long as in the weeks before, or longer "
        "than its limit; look at instances, scaling and size of the requests, and at what was deployed last",
    )
    # the monitor looks for labels in the window and the delay before it, and knows no longer lag than that
    delay = max(spec.label_delay_hours, 1)
    late = min(2 * delay, delay + int(monitor.window.to_hours()))
    yield Child(
        name="labels",
        id="Labels",
        severity=Severity.WARNING,
        metric=monitor.metric_label_lag_hours,
        threshold=late,
        comparison=_AT_LEAST,
        description=f"no label has come for {late} hours, longer than one may take, so nobody knows how good the model is; "
        "ask whoever uploads the ground truth",
    )


def _silence(monitor: ModelMonitor, traffic: ExpectedTraffic | None) -> Iterator[Child]:
    yield Child(
        name="capture",
        id="Capture",
        severity=Severity.CRITICAL,
        metric=monitor.metric_capture_lag_hours,
        threshold=_CAPTURE_HOURS,
        comparison=_AT_LEAST,
        description=f"calls were made, and for {_CAPTURE_HOURS} hours none was captured: data and quality are not watched; check "
        "the endpoint's data capture and the bucket's policy and key",
    )
    yield Child(
        name="unannounced",
        id="Unannounced",
        severity=Severity.CRITICAL,
        metric=monitor.metric_unannounced_calls,
        threshold=1,
        comparison=_AT_LEAST,
        description="calls came with inference ids like those of the platform's own, which no execution announced: they are "
        "counted as all others; the newest report names an object that has some: find out who sends them",
    )
    hours = -(-int(monitor.interval.to_seconds(integral=False)) // 3600)
    if hours <= LONGEST_SCHEDULE.to_hours():
        yield Child(
            name="heartbeat",
            id="Heartbeat",
            severity=Severity.CRITICAL,
            metric=monitor.metric_heartbeat,
            threshold=1,
            comparison=_BELOW,
            description=f"the monitor's function {'Decide' if monitor.engine.job is None else 'Start'} did not run, or failed, at "
            "two of its times in a row: nobody watches; read its log, its dead letters and whether its rule is enabled",
            hours=2 * hours,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )
    if traffic is not None:
        yield Child(
            name="traffic",
            id="Traffic",
            severity=Severity.CRITICAL,
            metric=lambda: _calls(monitor, traffic),
            threshold=1,
            comparison=_BELOW,
            description=f"no call for {traffic.silent_hours} hours at which some are expected; ask whoever calls the endpoint, and "
            "look at its errors",
            hours=traffic.silent_hours,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )


def _psi(monitor: ModelMonitor, feature: str, limit: float) -> Child:
    return Child(
        name=f"psi/{feature}",
        id=feature,
        severity=Severity.WARNING,
        metric=lambda: monitor.metric_psi(feature),
        threshold=limit,
        comparison=_ABOVE,
        description=f"the PSI of {feature} is above {limit:g}; the newest report shows its distribution beside the baseline's",
    )


def _calls(monitor: ModelMonitor, traffic: ExpectedTraffic) -> cloudwatch.IMetric:
    hour = cdk.Duration.hours(1)
    calls = monitor.endpoint.metric_invocations().with_(period=hour, statistic=cloudwatch.Stats.SUM)
    return cloudwatch.MathExpression(
        expression=traffic.expression("calls"),
        using_metrics={"calls": calls},
        period=hour,
        label="calls when some are expected",
    )
