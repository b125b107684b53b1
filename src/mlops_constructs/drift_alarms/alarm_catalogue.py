"""The alarms of a monitor as data: severities, expected traffic, and the children of the composite alarms."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, get_args

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError, check_duration, check_whole
from mlops_constructs.model_monitor.monitor_interface import IModelMonitor
from mlops_runtime.monitor.spec import MonitorSpec

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
DAYS: tuple[Day, ...] = get_args(Day)

_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
PSI = "psi/"  # prefix of the names of alarms on a feature
# SageMaker delivers captures within minutes; https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
_CAPTURE_HOURS = 3
# An alarm evaluates at most seven days, and that must cover two runs, or it would fire on each late run.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html (EvaluationPeriods)
LONGEST_SCHEDULE = cdk.Duration.hours(84)


class Severity(StrEnum):
    """Urgency of an alarm, which selects its topic.

    ``WARNING`` needs attention in working hours: one window drifted, labels are late. ``CRITICAL`` needs a person on call: drift
    that persists, quality, bias or latency beyond their limits, a baseline that was tampered with, or missing data.
    """

    WARNING = "warning"
    CRITICAL = "critical"


@checked("InvalidExpectedTraffic")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTraffic:
    """Hours of the week in which an endpoint receives requests, in UTC, which CloudWatch's metric math uses.

    Args:
        start: First hour of a day, 0 to 23. Default: 0.
        end: Hour at which it ends, exclusive, 1 to 24; before ``start`` it is that of the next day. Default: 24.
        days: Calendar days of the hours. Default: all seven.
        max_silence: Duration within these hours without any request that fires the alarm: whole hours, up to two days.
            Default: two hours.

    Raises:
        ValidationError: With every value that is not allowed.

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
            f"end must differ from start, got {self.end} for both; omit both for the whole day"
            if self.end == self.start
            else None,
            None if self.days else "days must not be empty; omit expected_traffic if no requests are expected",
            check_duration("max_silence", silence, minimum=cdk.Duration.hours(1), maximum=cdk.Duration.days(2)),
        ]
        found = [problem for problem in problems if problem is not None]
        if not found and silence.to_seconds(integral=False) % 3600:
            found.append(
                f"max_silence must be whole hours, got {silence.to_human_string()}; requests are summed by the hour"
            )
        if found:
            raise ValidationError("InvalidExpectedTraffic", found)

    @property
    def silent_hours(self) -> int:
        """Consecutive expected hours without any request that fire the alarm."""
        return 2 if self.max_silence is None else int(self.max_silence.to_hours())

    def expression(self, calls: str) -> str:
        """Return metric math: the number of requests in expected hours, 0 without any, and 1 in all other hours.

        Without any data, FILL may return no value; the alarm then treats missing data as breaching.

        See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html (date and time functions)

        Args:
            calls: Id of the metric of requests.
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
    """One alarm; ``name`` is its public name."""

    name: str
    severity: Severity
    metric: Callable[[], cloudwatch.IMetric]
    description: str
    threshold: float = 1
    comparison: cloudwatch.ComparisonOperator = _AT_LEAST
    hours: int = 1
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.IGNORE

    @property
    def id(self) -> str:
        """Construct id; for an alarm on a feature's PSI, the feature's name."""
        return self.name.removeprefix(PSI) if self.name.startswith(PSI) else self.name.capitalize()


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
        wape_ratio: Ratio of the live WAPE to the holdout's above which ``quality`` fires.
        severities: Severities that differ from the defaults, by name.
        psi: Largest PSI by feature.
        traffic: Hours with expected requests; ``None`` without such an alarm.
    """
    found = [*_drift(monitor), *_quality(monitor, wape_ratio), *_silence(monitor, traffic)]
    for child in found:
        yield replace(child, severity=severities.get(child.name, child.severity))
    for feature, limit in psi.items():
        yield _psi(monitor, feature, limit)


def names(monitor: IModelMonitor, *, traffic: ExpectedTraffic | None) -> tuple[str, ...]:
    """Return the names that are allowed in ``severities``."""
    return tuple(child.name for child in (*_drift(monitor), *_quality(monitor, 1), *_silence(monitor, traffic)))


def _drift(monitor: IModelMonitor) -> Iterator[Child]:
    spec = monitor.spec
    yield Child(
        name="suspect",
        severity=Severity.WARNING,
        metric=monitor.metric_features_suspect,
        description=f"at least one feature of the requests differed from the training data in the last window; {_after(spec)}",
    )
    yield Child(
        name="features",
        severity=Severity.CRITICAL,
        metric=monitor.metric_features_drifted,
        description="at least one feature of the requests differs from the training data in "
        f"{spec.alarm_windows} of {spec.of_windows} windows; the newest report names it and its change: fix the data feed if "
        "it broke, otherwise retrain the model",
    )
    yield Child(
        name="baseline",
        severity=Severity.CRITICAL,
        metric=monitor.metric_baseline_tampered,
        description="the live model's baseline is missing, or is not the one approved with it, so requests are not compared "
        "with it; "
        "find out who wrote to evaluations/ (the bucket is versioned), restore it, or roll back",
    )
    if monitor.engine.name == "SAGEMAKER_MODEL_MONITOR" or (monitor.engine.job and monitor.engine.job.attribution_rows):
        yield Child(
            name="explainability",
            severity=Severity.WARNING,
            metric=monitor.metric_ndcg,
            threshold=spec.minimum_ndcg,
            comparison=_BELOW,
            description="the model's predictions depend on other features than when it was approved; compare the attributions of "
            "the newest report with the baseline's, and check the features that changed",
        )


def _after(spec: MonitorSpec) -> str:
    """Return the action for a feature that drifted in one window."""
    if spec.alarm_windows == 1:
        return (
            "one window is enough for drift, so the alarm Features fires as well: the newest report names the feature"
        )
    return (
        f"wait for the next window, since drift needs {spec.alarm_windows} of {spec.of_windows}, or check now: the newest "
        "report names the feature"
    )


def _quality(monitor: IModelMonitor, wape_ratio: float) -> Iterator[Child]:
    spec = monitor.spec
    yield Child(
        name="quality",
        severity=Severity.CRITICAL,
        metric=monitor.metric_wape_ratio_low,
        threshold=wape_ratio,
        comparison=_ABOVE,
        description=f"the live WAPE is more than {wape_ratio} times that of the model's holdout, over its whole confidence "
        "interval; compare the report's quality with quality_baseline, and check that the labels are correct",
    )
    limits = ", ".join(f"{name} {limit:g}" for name, limit in spec.quality_limits.items())
    yield Child(
        name="limits",
        severity=Severity.CRITICAL,
        metric=monitor.metric_quality_violations,
        description=f"a metric of the live model is worse than its limit ({limits or 'from the holdout'}), over its whole "
        "confidence interval; the newest report shows each by segment: check that the labels are correct, then retrain or roll "
        "back",
    )
    if spec.estimate_limits:
        limits = ", ".join(f"{name} {limit:g}" for name, limit in spec.estimate_limits.items())
        yield Child(
            name="estimates",
            severity=Severity.WARNING,
            metric=monitor.metric_estimates_beyond_limits,
            description=f"an estimate made before labels arrive is worse than its limit ({limits}), over its whole confidence "
            "interval, and labels confirmed earlier estimates; nothing is measured yet: check which inputs changed, and that "
            "labels arrive",
        )
    yield Child(
        name="bias",
        severity=Severity.CRITICAL,
        metric=monitor.metric_bias_violations,
        description=f"a bias metric differs from the baseline's by more than {spec.maximum_bias_shift:g}, over its whole "
        f"confidence "
        "interval; the newest report names the group and the metric: ask the model's owner before it is retrained",
    )
    yield Child(
        name="latency",
        severity=Severity.CRITICAL,
        metric=monitor.metric_latency_violations,
        description=f"the model takes more than {spec.maximum_latency_ratio:g} times as long as in the weeks before, or longer "
        "than its limit; check instances, scaling, request sizes and the last deployment",
    )
    # the monitor searches for labels in the window and the delay before it, so it reports no longer lag
    delay = max(spec.label_delay_hours, 1)
    late = min(2 * delay, delay + int(monitor.window.to_hours()))
    yield Child(
        name="labels",
        severity=Severity.WARNING,
        metric=monitor.metric_label_lag_hours,
        threshold=late,
        description=f"no label has arrived for {late} hours, longer than the label delay, so model quality is unknown; "
        "ask the team that uploads the ground truth",
    )


def _silence(monitor: IModelMonitor, traffic: ExpectedTraffic | None) -> Iterator[Child]:
    yield Child(
        name="capture",
        severity=Severity.CRITICAL,
        metric=monitor.metric_capture_lag_hours,
        threshold=_CAPTURE_HOURS,
        description=f"requests arrived, and for {_CAPTURE_HOURS} hours none was captured, so data and quality are not monitored; "
        "check the endpoint's data capture, and the policy and key of the bucket",
    )
    yield Child(
        name="unannounced",
        severity=Severity.CRITICAL,
        metric=monitor.metric_unannounced_calls,
        description="requests have inference ids like those of the platform's own requests, but no execution announced them: they "
        "are counted like all other requests; the newest report names an object that contains some: find out who sends them",
    )
    hours = -(-int(monitor.interval.to_seconds(integral=False)) // 3600)
    if hours <= LONGEST_SCHEDULE.to_hours():
        yield Child(
            name="heartbeat",
            severity=Severity.CRITICAL,
            metric=monitor.metric_heartbeat,
            comparison=_BELOW,
            description=f"the monitor's function {'Decide' if monitor.engine.job is None else 'Start'} did not run, or failed, at "
            "two consecutive scheduled times, so the endpoint is not monitored; check its log, its dead-letter queue and that its "
            "rule is enabled",
            hours=2 * hours,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )
    if traffic is not None:
        yield Child(
            name="traffic",
            severity=Severity.CRITICAL,
            metric=lambda: _calls(monitor, traffic),
            comparison=_BELOW,
            description=f"no request for {traffic.silent_hours} hours with expected traffic; ask the endpoint's callers, and "
            "check its errors",
            hours=traffic.silent_hours,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )


def _psi(monitor: IModelMonitor, feature: str, limit: float) -> Child:
    return Child(
        name=f"{PSI}{feature}",
        severity=Severity.WARNING,
        metric=lambda: monitor.metric_psi(feature),
        threshold=limit,
        comparison=_ABOVE,
        description=f"the PSI of {feature} is above {limit:g}; the newest report shows its distribution and the baseline's",
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
