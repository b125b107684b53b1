"""What one scheduled run of the monitors found: one result a monitor, and the report that holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from mlops_runtime.contracts.monitor import MetricValue, MonitorState
from mlops_runtime.monitor.spec import MonitorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number that people know, with its interval at 95 % and what it is compared with.

    ``violated`` is whether it is worse than it may be; ``None`` where nothing is asked of it or too few rows say.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature moved: effect size, test and verdict.

    ``drifted`` is this window's verdict, ``persistent`` whether enough of the last windows agree, ``agreed_with`` when those ended
    that do. ``rule`` is what gave the p-value and ``description`` says it in words. ``untested`` is why there was no test,
    ``in_part`` why only shares and types were tested, ``reason`` the kind of either. ``psi`` has what chance brings taken out;
    ``raw_psi`` is the index of the cells that are not rare, which is below ``ordinary_psi`` in 95 % of the quiet windows of as many
    rows. ``feed_fault`` is what looks broken in the feed of a feature that drifted; a retraining would learn it.
    ``few_clusters`` is how many the baseline has where they are fewer than 20: then one window is not evidence.
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
    """What one monitor found in a window. A monitor without a state did not run.

    ``problems`` are those of what it alone reads, by what and how often.
    """

    state: MonitorState = MonitorState.MONITOR_NOT_RUN
    problems: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrutiny:
    """What of the features that were asked for was tested; ``unknown`` are those without a result."""

    asked: int
    untested: tuple[str, ...] = ()
    in_part: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult(MonitorResult):
    """Drift of each feature. ``left_out`` are features that are counted and not tested, with the reason.

    ``scrutiny`` is what was tested; None where nothing was decided, or another engine decided. ``uncovered_rows`` are of
    conditions that the baseline does not know; None without conditions. ``too_few_rows`` is when windows ended, beside those that
    a feature's persistence counts, that had too few rows to agree or disagree.
    """

    features: tuple[FeatureDrift, ...] = ()
    scrutiny: Scrutiny | None = None
    left_out: Mapping[str, str] | None = None
    uncovered_rows: int | None = None
    too_few_rows: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult(MonitorResult):
    """Quality of the labelled predictions.

    ``values`` are WAPE, bias and the ratio of WAPE to the holdout's, as far as they are defined; ``holdout`` are the baseline's
    metrics. ``metrics`` have intervals, limits and verdicts, ``segments`` the same by segment, the largest first. ``unjudged`` is
    why labels that came say nothing for sure. ``coverage`` is the share of the predictions that were due a label and have one,
    ``label_delay_hours`` the median time from call to label. ``confusion`` counts the rows of a model of ``classes``: a line for
    each class of the label, a column for each predicted class.
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
    """One metric of an earlier window: as it was estimated, with its interval, and as labels then showed it."""

    name: str
    estimated: float
    low: float
    high: float
    measured: float

    @property
    def is_outside(self) -> bool:
        """Whether what labels showed lies outside the interval."""
        return not self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredWindow:
    """The estimates of an earlier window beside its ``rows`` labelled predictions; its first metric says whether it was right."""

    window_from: str
    window_until: str
    rows: int
    metrics: tuple[EstimateScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatesResult(MonitorResult):
    """Performance as it is expected before labels come.

    ``rows`` are the predictions of the window. ``metrics`` are estimates with their intervals, beside the holdout's; they are
    kept where ``not_estimable`` says that they are not to be believed because the last ones were wrong, so that they can be
    scored. ``note`` says what else is to be known. ``scored`` are earlier windows whose labels came, the newest first.
    ``beyond_limits`` is how many estimates are worse than ``estimate_limits`` with their whole interval, 0 unless labels confirmed
    earlier estimates; None where nothing is asked of them.
    """

    rows: int = 0
    metrics: tuple[Measured, ...] = ()
    not_estimable: str | None = None
    note: str | None = None
    scored: tuple[ScoredWindow, ...] = ()
    beyond_limits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasResult(MonitorResult):
    """Bias by facet: of predictions alone, and of labels where there are some."""

    metrics: tuple[BiasMetric, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainabilityResult(MonitorResult):
    """Mean absolute SHAP value of each feature over a sample of rows, and the NDCG of their ranking against the baseline's."""

    attributions: Mapping[str, float] | None = None
    ndcg: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyResult(MonitorResult):
    """Percentiles of the model's latency in milliseconds, beside those of the weeks before; of fewer than 100 calls no verdict."""

    calls: int = 0
    metrics: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """How old what the monitors rest on is, and the share of the predictions due a label that have one, as far as is known."""

    capture_lag_hours: float
    label_lag_hours: float | None = None
    baseline_age_days: float | None = None
    label_coverage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """What one scheduled run decided over one window, kept beside the two Model Monitor files; one result a monitor.

    A monitor that is not configured has no result. ``state`` is the one of all monitors, ``verdict`` the whole report in a
    sentence. ``hours_merged`` is how many hours before the window were added to have rows enough. ``suppressed`` is why nothing
    was published as drift: a rollout ran. ``problems`` are those of the counts, and what else went wrong in the whole window, by
    what and how often; ``problem_objects`` has the newest capture object with each of those that an object has, and
    ``problem_lines`` the first lines of it with that problem, from 1. ``baseline_uri`` is where the baseline lies and ``spec`` the
    thresholds of this run: what a page or a replay needs beside the counts.
    ``baseline_flaw`` is why the baseline cannot be used: it is missing or not the one that was approved. ``unannounced_calls``
    have inference ids that look like the platform's own. ``live_since`` is when the evaluated model went live. ``metrics`` are the
    values that the run
    published: what confirms an alarm on one of them.

    ``analyzer`` is what ran in place of AWS's image of Model Monitor, as on the embedded cloud.
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
        report: The run's.
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
    """Return whether a feature's drift counts: enough of the last windows agree, or where only one is asked for, this one.

    Args:
        feature: The feature's verdict in a report.
    """
    return feature.drifted if feature.persistent is None else feature.persistent
