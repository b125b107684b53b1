"""The alarms of a monitor as data: severities, expected traffic, and the composite alarm's children."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, get_args

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_whole
from mlops_constructs.model_monitor.monitor_interface import IModelMonitor
from mlops_runtime.monitor.spec import MonitorSpec

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
DAYS: tuple[Day, ...] = get_args(Day)

_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
# SageMaker delivers captures within minutes; https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
_CAPTURE_HOURS = 3
# An alarm evaluates at most seven days, and two runs must fit, or each late run would raise it.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html (EvaluationPeriods)
LONGEST_SCHEDULE = cdk.Duration.hours(84)


class Severity(StrEnum):
    """How urgent an alarm is: whom it tells.

    ``WARNING`` needs attention in working hours: one window drifted, labels are late. ``CRITICAL`` is something that a
    person on call acts on: drift that persists, quality, bias or latency beyond their limits, a baseline that was tampered with,
    or silence.
    """

    WARNING = "warning"
    CRITICAL = "critical"


@checked("InvalidExpectedTraffic")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTraffic:
    """Hours of the week at which an endpoint is called. All times are UTC, which is what CloudWatch reads off its data.

    Args:
        start: First hour of a day, 0 to 23. Default: 0.
        end: Hour before which it ends, 1 to 24; up to ``start`` it is that of the next day. Default: 24.
        days: Days on which the hours lie, as the clock has them. Default: all seven.
        max_silence: How long, of these hours, without any call is an alarm: whole hours, up to two days. Default: two hours.

    Raises:
        ValidationError: With every value that is not possible.

    Example:
        >>> ExpectedTraffic(start=7, end=20).expression("calls")
        'IF((HOUR(TIME_SERIES(1)) >= 7 AND HOUR(TIME_SERIES(1)) < 20), FILL(calls, 0), 1)'
    """

    start: int = 0
    end: int = 24
    days: tuple[Day, ...] = DAYS
    max_silence: cdk.Duration | None = None

    def __post_init__(self) -> None:
        silence = cdk.Duration.hours(2) if self.max_silence is None else self.max_silence
        problems = [
            check_whole("start", self.start, minimum=0, maximum=23),
            check_whole("end", self.end, minimum=1, maximum=24),
            f"end must differ from start, got {self.end} for both; leave both out for the whole day"
            if self.end == self.start
            else None,
            None if self.days else "days must not be empty; leave expected_traffic out where no call is expected",
            check_duration("max_silence", silence, minimum=cdk.Duration.hours(1), maximum=cdk.Duration.days(2)),
        ]
        found = [problem for problem in problems if problem is not None]
        if not found and silence.to_seconds(integral=False) % 3600:
            found.append(
                f"max_silence must be whole hours, got {silence.to_human_string()}; calls are summed by the hour"
            )
        if found:
            raise ValidationError("InvalidExpectedTraffic", found)

    @property
    def silent_hours(self) -> int:
        """Expected hours in a row without any call that are an alarm."""
        return 2 if self.max_silence is None else int(self.max_silence.to_hours())

    def expression(self, calls: str) -> str:
        """Return metric math: the calls of the hours at which some are expected, 0 without any, and 1 at all other hours.

        Where there is no data at all, which FILL may leave missing, missing data breach.

        See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html (date and time functions)

        Args:
            calls: Id of the metric of calls.
        """
        hour, day = "HOUR(TIME_SERIES(1))", "DAY(TIME_SERIES(1))"
        joined = "AND" if self.start < self.end else "OR"
        parts = []
        if (self.start, self.end) != (0, 24):
            parts.append(f"({hour} >= {self.start} {joined} {hour} < {self.end})")
        if set(self.days) != set(DAYS):
            numbers = sorted(DAYS.index(name) + 1 for name in set(self.days))
            parts.append("(" + " OR ".join(f"{day} == {number}" for number in numbers) + ")")
        known = f"FILL({calls}, 0)"
        return f"IF({' AND '.join(parts)}, {known}, 1)" if parts else known


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
    monitor: IModelMonitor,
    *,
    wape_ratio: float,
    severities: Mapping[str, Severity],
    psi: Mapping[str, float],
    traffic: ExpectedTraffic | None,
) -> Iterator[Child]:
    """Yield the alarms of a monitor.

    Args:
        monitor: The monitor.
        wape_ratio: Live WAPE over the holdout's, above which ``quality`` fires.
        severities: Severities that differ, by name.
        psi: Largest PSI by feature.
        traffic: When calls are expected; None is never.
    """
    found = [*_drift(monitor), *_quality(monitor, wape_ratio), *_silence(monitor, traffic)]
    for child in found:
        yield replace(child, severity=severities.get(child.name, child.severity))
    for feature, limit in psi.items():
        yield _psi(monitor, feature, limit)


def names(monitor: IModelMonitor, *, traffic: ExpectedTraffic | None) -> tuple[str, ...]:
    """Return the names that ``severities`` may have."""
    return tuple(child.name for child in (*_drift(monitor), *_quality(monitor, 1), *_silence(monitor, traffic)))


def _drift(monitor: IModelMonitor) -> Iterator[Child]:
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
        f"{spec.alarm_windows} of {spec.of_windows} windows; the newest report names it and how it changed: fix the feed if "
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
        return "one window is enough for drift, so the alarm Features fires too: the newest report names the feature"
    return (
        f"wait for the next window, since drift needs {spec.alarm_windows} of {spec.of_windows}, or check now: the newest "
        "report names the feature"
    )


def _quality(monitor: IModelMonitor, wape_ratio: float) -> Iterator[Child]:
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
    if spec.estimate_limits:
        limits = ", ".join(f"{name} {limit:g}" for name, limit in spec.estimate_limits.items())
        yield Child(
            name="estimates",
            id="Estimates",
            severity=Severity.WARNING,
            metric=monitor.metric_estimates_beyond_limits,
            threshold=1,
            comparison=_AT_LEAST,
            description=f"before labels come, a metric is expected to be worse than its limit ({limits}), with the whole of its "
            "interval, and labels confirmed earlier estimates; nothing is measured yet: check which inputs moved, and that "
            "labels come",
        )
    yield Child(
        name="bias",
        id="Bias",
        severity=Severity.CRITICAL,
        metric=monitor.metric_bias_violations,
        threshold=1,
        comparison=_AT_LEAST,
        description=f"a bias metric is more than {spec.maximum_bias_shift:g} from the baseline's, with the whole of its interval; "
        "the newest report names the group and the metric: ask the model's owner before it is trained again",
    )
    yield Child(
        name="latency",
        id="Latency",
        severity=Severity.CRITICAL,
        metric=monitor.metric_latency_violations,
        threshold=1,
        comparison=_AT_LEAST,
        description=f"the model takes more than {spec.maximum_latency_ratio:g} times as long as in the weeks before, or longer "
        "than its limit; check instances, scaling, request sizes and the last deployment",
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
        description=f"no label has arrived for {late} hours, longer than the label delay, so model quality is unknown; "
        "ask the team that uploads the ground truth",
    )


def _silence(monitor: IModelMonitor, traffic: ExpectedTraffic | None) -> Iterator[Child]:
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
            "two scheduled times in a row: the endpoint is not monitored; check its log, its dead letters and that its "
            "rule is enabled",
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
            description=f"no call for {traffic.silent_hours} hours with expected traffic; ask the endpoint's callers, and "
            "check its errors",
            hours=traffic.silent_hours,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )


def _psi(monitor: IModelMonitor, feature: str, limit: float) -> Child:
    return Child(
        name=f"psi/{feature}",
        id=feature,
        severity=Severity.WARNING,
        metric=lambda: monitor.metric_psi(feature),
        threshold=limit,
        comparison=_ABOVE,
        description=f"the PSI of {feature} is above {limit:g}; the newest report shows its distribution beside the baseline's",
    )


def _calls(monitor: IModelMonitor, traffic: ExpectedTraffic) -> cloudwatch.IMetric:
    hour = cdk.Duration.hours(1)
    calls = monitor.endpoint.metric_invocations().with_(period=hour, statistic=cloudwatch.Stats.SUM)
    return cloudwatch.MathExpression(
        expression=traffic.expression("calls"),
        using_metrics={"calls": calls},
        period=hour,
        label="calls when some are expected",
    )
