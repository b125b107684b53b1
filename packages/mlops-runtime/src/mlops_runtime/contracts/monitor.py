"""What monitors exchange: baseline, counts, statistics, constraint violations, states, metrics.

The files ``statistics.json`` and ``constraint_violations.json`` have Model Monitor's shapes.
See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mlops_runtime.monitor.spec import MonitorSpec

METRIC_NAMESPACE = "MLOps"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBaseline:
    """One feature of a baseline.

    ``number``: ``edges`` are the inner edges of the quantile bins (n edges, n + 1 bins, bin i holds edges[i-1] <= x < edges[i]).
    With ``bounded`` the two outer bins hold what lies outside the baseline's range, so that they are empty in it.
    ``category``: ``levels`` are the most frequent levels. ``counts`` has one entry a bin or level, then what other levels there are
    (categories only), then null. Other levels are one cell ``other``; or, with ``tail``, that many cells into which levels fall by
    their CRC-32 modulo ``tail``, then a cell for levels that are new: those whose CRC-32 is not in ``known``. Without ``known``
    there were too many levels to tell new from rare, and the cell of new ones stays empty.

    ``quantiles`` are the 101 percentiles of the known values. ``overdispersion`` is the mean design effect of the cells,
    ``overdispersion_spread`` the squared coefficient of variation of the design effects, ``cell_overdispersion`` each cell's own,
    ``mean_overdispersion`` that of the mean, ``spread_overdispersion`` of the mean score of spread. All are 1, and
    ``overdispersion_spread`` 0, for independent rows. ``cluster_rows`` are the mean rows of a cluster; ``cluster_excess`` is how
    much more the statistic of a single cluster varies than the design effects explain, as a squared coefficient of variation;
    ``cell_jumps`` is how many rows of each cell come at once where a cluster brings many. ``unseen_share`` is the
    share of the rows that are of levels not seen before which later rows bring without any drift.
    """

    name: str
    type: Literal["number", "category"]
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    overdispersion: float = 1.0
    mean: float | None = None
    standard_deviation: float | None = None
    alarm: bool = False
    bounded: bool | None = None
    tail: int | None = None
    known: tuple[int, ...] | None = None
    quantiles: tuple[float, ...] | None = None
    overdispersion_spread: float | None = None
    cell_overdispersion: tuple[float, ...] | None = None
    mean_overdispersion: float | None = None
    unseen_share: float | None = None
    cluster_rows: float | None = None
    cluster_excess: float | None = None
    cell_jumps: tuple[float, ...] | None = None
    spread_overdispersion: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is known ahead of a call and changes what its features look like: a planned promotion, the hour of the week.

    ``column`` cuts the values of one of the model's inputs at ``edges``, or takes its text as it is when there are none. The others
    are read off the call's time in UTC; training rows have theirs in ``EvaluationPlan.timestamp``. ``week_of_month`` is 1 to 5.
    """

    name: str
    kind: Literal["column", "hour_of_week", "day_of_week", "week_of_month", "week_of_year"] = "column"
    edges: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBaseline:
    """Two features that are watched together, in a small table: their cells are put into groups, and pairs of groups counted.

    ``first_groups`` has the group of each cell of the first feature's baseline, ``second_groups`` of the second's. ``counts`` is
    the table row by row: ``(max(first_groups) + 1) * (max(second_groups) + 1)`` entries.
    """

    first: str
    second: str
    first_groups: tuple[int, ...]
    second_groups: tuple[int, ...]
    counts: tuple[int, ...]
    overdispersion: float = 1.0
    overdispersion_spread: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """A group for which bias is measured, in Clarify's words: rows of these ``values``, or above ``threshold``, against others."""

    name: str
    values: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What live data are compared with; its content hash names it. ``quality`` holds the model's own metrics on its holdout.

    ``features`` are in the order of the model's inputs. ``left_out`` names those that are counted and not tested, with the reason:
    unique identifiers. ``conditions`` are what features are compared given; ``strata`` are the baseline's counts for each
    combination of them. ``null_patterns`` is a category whose levels are the names of the columns that are null together, joined
    by ``+``; a row without a null is the level ``none``. ``segments`` are the columns by which quality is kept apart;
    ``positive`` is the label above which a row counts as positive for bias; ``bias`` the metrics of the holdout by
    ``<facet>=<value>/<metric>``, ``bias_deviation`` their standard deviations; ``attributions`` each feature's mean absolute SHAP
    value on the holdout.
    """

    features: tuple[FeatureBaseline, ...]
    rows: int
    training_set_id: str
    created: str
    prediction: FeatureBaseline | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    source: Literal["training", "live"] | None = None
    target: Literal["regression", "classification"] | None = None
    left_out: Mapping[str, str] | None = None
    conditions: tuple[Condition, ...] | None = None
    strata: "tuple[Stratum, ...] | None" = None
    null_patterns: FeatureBaseline | None = None
    pairs: tuple[PairBaseline, ...] | None = None
    segments: tuple[str, ...] | None = None
    facets: tuple[Facet, ...] | None = None
    positive: float | None = None
    bias: Mapping[str, float] | None = None
    bias_deviation: Mapping[str, float] | None = None
    attributions: Mapping[str, float] | None = None
    format: Literal["mlops.baseline/1"] = "mlops.baseline/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """Mergeable counts of one feature on its baseline's bins, in the baseline's order, with sums for the mean shift.

    The exact sum is ``sum`` plus all of ``sum_rest``, each term the nearest double to what the terms before it leave: one form for
    one value, so that merging in any order gives the same bytes. The same holds of the squares.
    """

    name: str
    counts: tuple[int, ...]
    sum: float = 0.0
    sum_squares: float = 0.0
    invalid: int = 0
    sum_rest: tuple[float, ...] | None = None
    sum_squares_rest: tuple[float, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Counts of the rows of one combination of conditions; ``key`` has one part a condition, joined by ``|``."""

    key: str
    rows: int
    features: tuple[FeatureCounts, ...]
    prediction: FeatureCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """Counts of two features' table, in the order of the baseline's."""

    first: str
    second: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of one capture object, or of a window of them. Merging across baseline hashes is an error.

    ``synthetic`` calls are the platform's own, of any model, which an execution announced; they are counted here and nowhere
    else. ``unannounced`` calls have ids that look like them and were announced by nobody: they count as all others.
    ``problems`` says what could not be counted and how often, by code and arguments: ``{"row_width[3,4]": 2}``; ``malformed`` is
    the sum of those that are whole lines. ``objects`` is how many capture objects were counted, ``earlier`` how many calls were
    left out because another model answered.
    """

    baseline_sha256: str
    rows: int
    calls: int
    features: tuple[FeatureCounts, ...]
    first: str
    last: str
    prediction: FeatureCounts | None = None
    malformed: int = 0
    synthetic: int | None = None
    unannounced: int | None = None
    strata: tuple[Stratum, ...] | None = None
    null_patterns: FeatureCounts | None = None
    pairs: tuple[PairCounts, ...] | None = None
    problems: Mapping[str, int] | None = None
    objects: int | None = None
    earlier: int | None = None
    format: Literal["mlops.counts/1"] = "mlops.counts/1"


class MonitorState(StrEnum):
    """What a monitor knows. Silence is a state of its own, never OK."""

    NOT_YET_DEPLOYED = "NOT_YET_DEPLOYED"
    NO_TRAFFIC = "NO_TRAFFIC"
    NO_CAPTURE = "NO_CAPTURE"
    NO_LABELS_YET = "NO_LABELS_YET"
    BASELINE_OLDER_THAN_MODEL = "BASELINE_OLDER_THAN_MODEL"
    MONITOR_NOT_RUN = "MONITOR_NOT_RUN"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    OK = "OK"
    VIOLATION = "VIOLATION"


# a monitor knows
TESTED = (MonitorState.OK, MonitorState.VIOLATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One line of ``constraint_violations.json``.

    Checks of quality, bias and attributions also have the members by which Model Monitor names what they are about:
    ``metric_name``, for bias ``facet`` and ``facet_value``, for attributions ``label``. ``feature_name`` says it in one.
    """

    feature_name: str
    constraint_check_type: str
    description: str
    metric_name: str | None = None
    facet: str | None = None
    facet_value: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Violations:
    """``constraint_violations.json``."""

    violations: tuple[Violation, ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature moved: effect size, test and verdict.

    ``drifted`` is this window's verdict, ``persistent`` whether enough of the last windows agree; ``rule`` is what gave the p-value
    and ``description`` says it in words. ``untested`` is why there was no test.
    """

    name: str
    psi: float
    p_value: float
    drifted: bool
    mean_shift: float | None = None
    persistent: bool | None = None
    rule: str | None = None
    description: str | None = None
    untested: str | None = None
    jensen_shannon: float | None = None
    l_infinity: float | None = None
    wasserstein: float | None = None
    null_rate: Measured | None = None
    new_rate: Measured | None = None


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


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value that a run published, by the monitor and the name of its metric; ``feature`` where a feature has its own."""

    monitor: str
    name: str
    value: float
    feature: str | None = None


MONITORS = ("drift", "quality", "bias", "explainability", "latency")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult:
    """What one monitor found in a window. One whose state nobody decided did not run.

    ``problems`` are those of what it alone reads, by what and how often.
    """

    state: MonitorState = MonitorState.MONITOR_NOT_RUN
    problems: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult(MonitorResult):
    """Drift of each feature. ``left_out`` are features that are counted and not tested, with the reason.

    ``uncovered_rows`` are of conditions that the baseline does not know; None without conditions.
    """

    features: tuple[FeatureDrift, ...] = ()
    left_out: Mapping[str, str] | None = None
    uncovered_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult(MonitorResult):
    """Quality of the labelled predictions.

    ``values`` are WAPE, bias and the ratio of WAPE to the holdout's, as far as they are defined; ``holdout`` are the baseline's
    metrics. ``metrics`` have intervals, limits and verdicts, ``segments`` the same by segment, the largest first. ``unjudged`` is
    why labels that came say nothing for sure. ``coverage`` is the share of the predictions that were due a label and have one,
    ``label_delay_hours`` the median time from call to label.
    """

    rows: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    holdout: Mapping[str, float] = field(default_factory=dict)
    metrics: tuple[Measured, ...] = ()
    segments: tuple[SegmentQuality, ...] = ()
    unjudged: str | None = None
    coverage: float | None = None
    label_delay_hours: float | None = None


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

    A monitor that nobody asked for has no result. ``state`` is the one of all monitors, ``verdict`` the whole report in a sentence.
    ``hours_merged`` is how many hours before the window were added to have rows enough. ``suppressed`` is why nothing was published
    as drift: a rollout ran. ``problems`` are those of the counts, and what else went wrong in the whole window, by what and how
    often; ``problem_objects`` has the newest capture object with each of those that an object has. ``baseline_uri`` is where the
    baseline lies and ``spec`` the thresholds of this run: what a page or a replay needs beside the counts. ``baseline_flaw`` is why
    the baseline cannot be used: it is missing or not the one that was approved. ``unannounced_calls`` have inference ids that look
    like the platform's own. ``live_since`` is when the model went live that is judged. ``metrics`` are the values that the run
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
    quality: QualityResult
    bias: BiasResult | None = None
    explainability: ExplainabilityResult | None = None
    latency: LatencyResult | None = None
    staleness: Staleness | None = None
    state: MonitorState | None = None
    verdict: str | None = None
    engine: Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"] | None = None
    analyzer: str | None = None
    hours_merged: int | None = None
    suppressed: str | None = None
    problems: Mapping[str, int] | None = None
    problem_objects: Mapping[str, str] | None = None
    baseline_uri: str | None = None
    baseline_flaw: str | None = None
    live_since: str | None = None
    unannounced_calls: int | None = None
    spec: MonitorSpec = field(default_factory=MonitorSpec)
    metrics: tuple[MetricValue, ...] | None = None
    format: Literal["mlops.monitor-report/1"] = "mlops.monitor-report/1"


def monitor_states(report: MonitorReport) -> dict[str, MonitorState]:
    """Return the state of each monitor that a run looked at, in the order in which people read them.

    Args:
        report: The run's.
    """
    found = {monitor: getattr(report, monitor) for monitor in MONITORS}
    return {monitor: result.state for monitor, result in found.items() if result is not None}


def is_confirmed(feature: FeatureDrift) -> bool:
    """Return whether a feature's drift counts: enough of the last windows agree, or where only one is asked for, this one.

    Args:
        feature: The feature's verdict in a report.
    """
    return feature.drifted if feature.persistent is None else feature.persistent


def metric_namespace(unit: str) -> str:
    """Return the CloudWatch namespace of a business unit.

    Example:
        >>> metric_namespace("demand")
        'MLOps/demand'
    """
    return f"{METRIC_NAMESPACE}/{unit}"


def metric_dimensions(endpoint: str, variant: str, monitor: str) -> dict[str, str]:
    """Return the dimensions of every monitor metric.

    Args:
        endpoint: Name of the endpoint.
        variant: Name of the variant.
        monitor: ``drift``, ``quality``, ``bias``, ``explainability`` or ``latency``.
    """
    return {"Endpoint": endpoint, "Variant": variant, "Monitor": monitor}
