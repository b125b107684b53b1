"""Results of one scheduled run of the monitors: one result per monitor, and the report that contains them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from mlops_runtime.contracts.monitor import MetricValue, MonitorState
from mlops_runtime.monitor.spec import MonitorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured value with its 95 % confidence interval and the values that it is compared with.

    ``violated`` is whether it is beyond its limit; ``None`` without a limit or with too few rows to decide.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    limit: float | None = None
    rows: int | None = None
    violated: bool | None = None


# why a feature was not tested, or in part only
UntestedReason = Literal["few_rows", "few_clusters", "condition_unknown", "by_choice"]
# why a feature was not tested, or only partly


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """Drift of one feature: effect size, test and verdict.

    ``drifted`` is the verdict of this window, ``persistent`` whether enough of the last windows agree, ``agreed_with`` the ends
    of the windows that do. ``rule`` is the test that gave the p-value, ``description`` explains it. ``untested`` is why there
    was no test, ``in_part`` why only shares and types were tested, ``reason`` the category of either. ``psi`` is corrected for
    the expected effect of chance; ``raw_psi`` is the index over the cells that are not rare, which is below ``ordinary_psi`` in
    95 % of the windows without drift that have as many rows. ``feed_fault`` is a suspected fault in the feed of a feature that
    drifted, which a retraining would learn. ``few_clusters`` is the number of clusters in the baseline if there are fewer than
    20: one window is then not sufficient evidence.
    """

    name: str
    psi: float
    p_value: float
    drifted: bool
    mean_shift: float | None = None
    persistent: bool | None = None
    agreed_with: tuple[str, ...] | None = None
    rule: str | None = None
    description: str | None = None
    untested: str | None = None
    in_part: str | None = None
    reason: UntestedReason | None = None
    raw_psi: float | None = None
    ordinary_psi: float | None = None
    jensen_shannon: float | None = None
    l_infinity: float | None = None
    wasserstein: float | None = None
    null_rate: Measured | None = None
    new_rate: Measured | None = None
    feed_fault: str | None = None
    few_clusters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentQuality:
    """Quality of the rows of one segment, ``column=value``."""

    segment: str
    rows: int
    metrics: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasMetric:
    """One bias metric by its Clarify name (``DPL``, ``DI``), for a facet and the value that makes its group."""

    facet: str
    facet_value: str
    metric: Measured
    stage: Literal["pre_training", "post_training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult:
    """Result of one monitor for a window. A monitor without a state did not run.

    ``problems`` counts, by kind, problems of the input that only this monitor reads.
    """

    state: MonitorState = MonitorState.MONITOR_NOT_RUN
    problems: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrutiny:
    """Partly tested, untested and missing (``unknown``) features, out of the ``requested`` ones."""

    requested: int
    untested: tuple[str, ...] = ()
    in_part: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult(MonitorResult):
    """Drift of each feature. ``left_out`` are features that are counted but not tested, with the reason.

    ``scrutiny`` is the extent of testing; None if nothing was decided, or another engine decided. ``uncovered_rows`` are rows
    with conditions that the baseline lacks; None without conditions. ``too_few_rows`` are the ends of windows with too few rows
    to agree or disagree, which are not among the windows that a feature's persistence counts.
    """

    features: tuple[FeatureDrift, ...] = ()
    scrutiny: Scrutiny | None = None
    left_out: Mapping[str, str] | None = None
    uncovered_rows: int | None = None
    too_few_rows: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult(MonitorResult):
    """Quality of the labelled predictions.

    ``values`` are WAPE, bias and the ratio of WAPE to the holdout's, if defined; ``holdout`` are the baseline's metrics.
    ``metrics`` have intervals, limits and verdicts; ``segments`` have the same by segment, largest first. ``unjudged`` is why
    the labels that arrived are inconclusive. ``coverage`` is the share of the predictions due a label that have one,
    ``label_delay_hours`` the median time from call to label. ``confusion`` counts the rows of a model of ``classes``, with a
    row for each class of the label and a column for each predicted class.
    """

    rows: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    holdout: Mapping[str, float] = field(default_factory=dict)
    metrics: tuple[Measured, ...] = ()
    segments: tuple[SegmentQuality, ...] = ()
    unjudged: str | None = None
    coverage: float | None = None
    label_delay_hours: float | None = None
    classes: tuple[str, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateScore:
    """One metric of an earlier window: its estimate with interval, and the value that labels later showed."""

    name: str
    estimated: float
    low: float
    high: float
    measured: float

    @property
    def is_outside(self) -> bool:
        """Whether the measured value is outside the interval."""
        return not self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredWindow:
    """Estimates of an earlier window and its ``rows`` labelled predictions; the first metric decides whether it was correct."""

    window_from: str
    window_until: str
    rows: int
    metrics: tuple[EstimateScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatesResult(MonitorResult):
    """Estimated performance, before labels arrive.

    ``rows`` is the number of predictions in the window. ``metrics`` are estimates with their intervals, beside the holdout's.
    They are also stored if ``not_estimable`` explains that they are unreliable because earlier ones were wrong, so that they
    can be scored later. ``note`` is further information. ``scored`` are earlier windows whose labels arrived, newest first.
    ``beyond_limits`` is the number of estimates whose whole interval is worse than ``estimate_limits``, 0 unless labels
    confirmed earlier estimates; None without limits.
    """

    rows: int = 0
    metrics: tuple[Measured, ...] = ()
    not_estimable: str | None = None
    note: str | None = None
    scored: tuple[ScoredWindow, ...] = ()
    beyond_limits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasResult(MonitorResult):
    """Bias by facet, of the predictions and, if there are labels, of the labels."""

    metrics: tuple[BiasMetric, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainabilityResult(MonitorResult):
    """Mean absolute SHAP value of each feature over a sample of rows, and the NDCG of their ranking against the baseline's."""

    attributions: Mapping[str, float] | None = None
    ndcg: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyResult(MonitorResult):
    """Percentiles of model latency in milliseconds, beside those of the preceding weeks; no verdict with fewer than 100 calls."""

    calls: int = 0
    metrics: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """Age of the monitors' inputs, and the share of the predictions due a label that have one, as far as known."""

    capture_lag_hours: float
    label_lag_hours: float | None = None
    baseline_age_days: float | None = None
    label_coverage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """Results of one scheduled run for one window, with one result per monitor; stored beside the two Model Monitor files.

    A monitor that is not configured has no result. ``state`` is the combined state of all monitors, ``verdict`` the report in a
    sentence. ``hours_merged`` is the number of hours before the window that were added to have enough rows. ``suppressed`` is
    why no drift was published: a rollout ran. ``problems`` counts, by kind, the problems of the counts and others of the whole
    window. ``problem_objects`` has the newest capture object with each problem that concerns an object, ``problem_lines`` the
    first lines of it with that problem, from 1. ``baseline_uri`` is the location of the baseline and ``spec`` the thresholds of
    this run; a page or a replay needs both in addition to the counts. ``baseline_flaw`` is why the baseline cannot be used: it
    is missing or not the approved one. ``unannounced_calls`` counts calls whose inference ids look like the platform's own.
    ``live_since`` is when the evaluated model went live. ``metrics`` are the values that the run published, which confirm an
    alarm on one of them.

    ``analyzer`` is the program that ran in place of AWS's Model Monitor image, as in the embedded cloud.
    """

    endpoint: str
    variant: str
    window_from: str
    window_until: str
    rows: int
    baseline_sha256: str | None
    model_package_arn: str | None
    drift: DriftResult
    quality: QualityResult | None = None
    estimates: EstimatesResult | None = None
    bias: BiasResult | None = None
    explainability: ExplainabilityResult | None = None
    latency: LatencyResult | None = None
    staleness: Staleness | None = None
    state: MonitorState = MonitorState.MONITOR_NOT_RUN
    verdict: str = ""
    engine: Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"] | None = None
    analyzer: str | None = None
    hours_merged: int = 0
    suppressed: str | None = None
    problems: Mapping[str, int] | None = None
    problem_objects: Mapping[str, str] | None = None
    problem_lines: Mapping[str, tuple[int, ...]] | None = None
    baseline_uri: str | None = None
    baseline_flaw: str | None = None
    live_since: str | None = None
    unannounced_calls: int | None = None
    spec: MonitorSpec = field(default_factory=MonitorSpec)
    metrics: tuple[MetricValue, ...] = ()
    format: Literal["mlops.monitor-report/1"] = "mlops.monitor-report/1"


def monitor_states(report: MonitorReport) -> dict[str, MonitorState]:
    """Return the state of each monitor of a run, in display order.

    Args:
        report: Report of the run.
    """
    found = {each.name: getattr(report, each.name) for each in fields(report)}
    return {monitor: result.state for monitor, result in found.items() if isinstance(result, MonitorResult)}


def feed_faults(result: DriftResult) -> tuple[FeatureDrift, ...]:
    """Return the features that drifted in a window because their feed looks broken.

    Example:
        >>> feed_faults(DriftResult())
        ()
    """
    return tuple(feature for feature in result.features if feature.drifted and feature.feed_fault is not None)


def is_confirmed(feature: FeatureDrift) -> bool:
    """Return whether a feature's drift is confirmed: by enough of the last windows or, if only one is required, by this one.

    Args:
        feature: The feature's result in a report.
    """
    return feature.drifted if feature.persistent is None else feature.persistent
