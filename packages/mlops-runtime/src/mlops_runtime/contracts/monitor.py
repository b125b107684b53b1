"""Documents of the monitors: baseline, counts, constraint violations, states and metrics.

The files ``statistics.json`` and ``constraint_violations.json`` have Model Monitor's shapes.
See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

METRIC_NAMESPACE = "MLOps"


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumDispersion:
    """Dispersion of the rows of one stratum between clusters, ``times`` that of all rows; other fields as in `FeatureBaseline`."""

    times: float
    cluster_rows: float | None = None
    cluster_excess: float | None = None
    clusters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """Dispersion of the rows of one feature relative to independent rows; the fields are those of `FeatureBaseline`.

    ``strata`` are in the order of the baseline's strata; without them, all strata have the same dispersion.
    """

    overdispersion: float
    overdispersion_spread: float
    cell_overdispersion: tuple[float, ...]
    cluster_excess: float
    cell_jumps: tuple[float, ...]
    mean_overdispersion: float | None = None
    spread_overdispersion: float | None = None
    clusters: int | None = None
    tail_jumps: tuple[float, ...] | None = None
    strata: tuple[StratumDispersion, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBaseline:
    """One feature of a baseline.

    ``number``: ``edges`` are the inner edges of the quantile bins (n edges, n + 1 bins, bin i holds edges[i-1] <= x <
    edges[i]). With ``bounded``, the two outer bins count values outside the baseline's range, so they are empty in the
    baseline. ``tail_edges`` are the edges that subdivide an outer tenth, if there are enough rows; all fields other than
    ``counts`` treat the tenth as one bin. ``category``: ``levels`` are the most frequent levels. ``counts`` has one entry per
    bin or level, then the other levels (categories only), then null. Other levels are one cell ``other`` or, with ``tail``,
    ``tail`` cells by the level's CRC-32 modulo ``tail``, followed by a cell for new levels, whose CRC-32 is not in ``known``.
    Without ``known``, there were too many levels to distinguish new from rare ones, and the cell of new levels stays empty.

    ``quantiles`` are the 101 percentiles of the known values. ``overdispersion`` is the mean design effect of the cells,
    ``overdispersion_spread`` the squared coefficient of variation of the design effects, ``cell_overdispersion`` the design
    effect of each cell, ``mean_overdispersion`` that of the mean, ``spread_overdispersion`` that of the mean score of spread.
    For independent rows, ``overdispersion_spread`` is 0 and the others are 1. ``cluster_rows`` is the mean number of rows per
    cluster. ``cluster_excess`` is the variation of the statistic of a single cluster beyond what the design effects explain, as
    a squared coefficient of variation. ``cell_jumps`` is the number of rows of each cell that arrive together in a cluster with
    many of them, ``tail_jumps`` the same for the rows beyond each tail edge. ``clusters`` is the number of clusters, under
    conditions reduced by what their strata use up, and absent for independent rows. ``unseen_share`` is the expected share of
    rows with unseen levels in later data without drift; ``closed`` is whether no new level may occur, as far as the baseline
    shows or its plan declares. ``given`` is the dispersion about the shares of each row's own stratum, for comparisons given
    conditions. A number of the kind ``boolean`` is 0 or 1, and calls may send ``true`` or ``false``, as the model's signature
    allows. ``infinite`` counts rows whose number is infinite or beyond a 32-bit float; they are in none of the cells.
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
    kind: Literal["boolean"] | None = None
    closed: bool | None = None
    given: Dispersion | None = None
    infinite: int | None = None
    clusters: int | None = None
    tail_edges: tuple[float, ...] | None = None
    tail_jumps: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A fact known before a call that changes the distribution of features: a planned promotion, the hour of the week.

    ``column`` cuts the values of a model input at ``edges``, or without edges uses its string unchanged. The other kinds are
    derived from the call's time in UTC; for training rows, from ``EvaluationPlan.timestamp``. ``week_of_month`` is 1 to 5.
    """

    name: str
    kind: Literal["column", "hour_of_day", "hour_of_week", "day_of_week", "week_of_month", "week_of_year"] = "column"
    edges: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDispersion:
    """Dispersion of the rows of one pair relative to independent rows; the fields are those of `PairBaseline`."""

    overdispersion: float
    overdispersion_spread: float | None = None
    clusters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBaseline:
    """Two features that are monitored jointly, in a small table: their cells are grouped, and pairs of groups counted.

    ``first_groups`` has the group of each cell of the first feature's baseline, ``second_groups`` of the second's. ``counts``
    is the table row by row: ``(max(first_groups) + 1) * (max(second_groups) + 1)`` entries. ``clusters`` is as for a feature.
    ``given`` is the dispersion about the tables of each row's own stratum. If a baseline with conditions lacks it, the tables
    of the strata are not stored and the pair is compared without conditions.
    """

    first: str
    second: str
    first_groups: tuple[int, ...]
    second_groups: tuple[int, ...]
    counts: tuple[int, ...]
    overdispersion: float = 1.0
    overdispersion_spread: float | None = None
    clusters: int | None = None
    given: PairDispersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """A facet of Clarify, for which bias is measured: rows with these ``values``, or above ``threshold``, against others."""

    name: str
    values: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedLoss:
    """A loss of a row, or a product of two losses, as the sum of ``base`` and an effect of each of the row's cells.

    ``deviations`` has a row for each group of the jackknife: the deviation of the base, then of each effect, scaled so that
    their squares add up to the variance. Without it the loss is a product, used only for variances. ``design_effect`` is the
    variance of the loss relative to that of independent rows.
    """

    name: str
    base: float
    effects: tuple[float, ...]
    deviations: tuple[tuple[float, ...], ...] | None = None
    design_effect: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRates:
    """Labelled rows, and the positives among them, in each cell of a score, with a row for each group of the jackknife.

    ``area_lost`` is the AUC lost by binning into cells; None if undefined, as for classes. ``design_effect`` is the variance of
    the positives about their cell's share, relative to that of independent rows.
    """

    rows: tuple[tuple[int, ...], ...]
    positives: tuple[tuple[int, ...], ...]
    area_lost: float | None = None
    design_effect: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Statistics of the labelled holdout with which performance is estimated before labels arrive.

    ``rows`` is the number of labelled rows and ``groups`` the number of groups of clusters that the jackknife left out in turn.
    ``columns`` are the features whose cells count. All levels of a tail form one cell, and so do the cells of an outer tenth if
    one of them has fewer than 30 labelled rows. ``labelled`` is the number of labelled rows in each cell of each column, then
    of each score. ``scores`` are finer cells of the prediction, in which live rows are counted too. For a model of classes,
    these are the cells of each class's probability: first of rows predicted as another class, then of rows predicted as this
    one, then null. For several outputs there is one score per output. ``losses`` are set for a regression or a classification;
    ``alone`` is the first of them estimated from the prediction alone. For outputs they are ``<loss>/<output>``, over the cells
    of the columns and then of the output's own score. ``rates`` are set for a classification or, one per class, for classes.
    """

    rows: int
    groups: int
    columns: tuple[str, ...]
    labelled: tuple[tuple[int, ...], ...]
    scores: tuple[FeatureBaseline, ...]
    losses: tuple[ExpectedLoss, ...] = ()
    alone: ExpectedLoss | None = None
    rates: tuple[ScoreRates, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The reference of live data, identified by its content hash. ``quality`` has the model's own metrics on its holdout.

    ``features`` are in the order of the model's inputs. ``left_out`` are unique identifiers, which are counted but not tested,
    with the reason. ``conditions`` are those that features are compared given; ``strata`` are the baseline's counts for each
    combination of them. ``null_patterns`` is a category whose levels are the names of the columns that are null together,
    joined by ``+``; a row without a null has the level ``none``. ``segments`` are the columns by which quality is reported
    separately. A label above ``positive`` counts as positive for bias. ``bias`` has the metrics of the holdout by
    ``<facet>=<value>/<metric>``, ``bias_deviation`` their standard deviations; ``attributions`` is each feature's mean absolute
    SHAP value on the holdout.

    A model of ``classes`` has their names in the order of its probabilities; ``prediction`` is then the predicted class. A
    model of several numbers has the names of its ``outputs``, and in ``predictions`` a baseline of each instead of
    ``prediction``. ``positive_class`` is the class that counts as positive for bias. A vector has ``width`` numbers, which are
    not counted. ``cluster_hours`` is the duration of a cluster, if each is a period of its own: 24 for days. ``estimator``
    estimates performance before labels arrive; None without a labelled holdout that is large enough.
    """

    features: tuple[FeatureBaseline, ...]
    rows: int
    training_set_id: str
    created: str
    prediction: FeatureBaseline | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    source: Literal["training", "live"] | None = None
    target: Literal["regression", "classification", "classes", "outputs", "vector"] | None = None
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
    classes: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    predictions: tuple[FeatureBaseline, ...] | None = None
    positive_class: str | None = None
    width: int | None = None
    cluster_hours: float | None = None
    estimator: Estimator | None = None
    format: Literal["mlops.baseline/1"] = "mlops.baseline/1"

    @property
    def predicted(self) -> tuple[FeatureBaseline, ...]:
        """Baselines of the predictions: one, or one for each output."""
        return (self.predictions or ()) if self.prediction is None else (self.prediction,)

    @property
    def columns(self) -> int | None:
        """Number of values in a row's prediction; None if it is a single value instead of a list."""
        names = self.classes or self.outputs
        return self.width if names is None else len(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """Mergeable counts of one feature in its baseline's bins, in the baseline's order, with sums for the mean shift.

    The exact sum is ``sum`` plus all of ``sum_rest``, each term being the double nearest to the remainder of the terms before
    it. This form is unique, so that merging in any order gives the same bytes. The squares work likewise. ``invalid`` counts
    values of another type, ``infinite`` numbers beyond a 32-bit float; neither is in a cell.
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
    infinite: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """Counts of the joint table of two features, in the order of the baseline's."""

    first: str
    second: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Counts of the rows of one combination of conditions; ``key`` has one part per condition, joined by ``|``.

    ``pairs`` are the tables of the pairs that are compared given conditions.
    """

    key: str
    rows: int
    features: tuple[FeatureCounts, ...]
    prediction: FeatureCounts | None = None
    predictions: tuple[FeatureCounts, ...] | None = None
    null_patterns: FeatureCounts | None = None
    pairs: tuple[PairCounts, ...] | None = None

    @property
    def predicted(self) -> tuple[FeatureCounts, ...]:
        """The counts of the predictions, in the order of `Baseline.predicted`."""
        return (self.predictions or ()) if self.prediction is None else (self.prediction,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of one capture object, or of a window of them. Merging across baseline hashes is an error.

    ``synthetic`` counts announced calls of the platform to any model, which are not counted elsewhere. ``unannounced`` counts
    calls with similar ids that were not announced, which are also counted like any others. ``problems`` counts what could not be
    counted, by code and arguments: ``{"row_width[3,4]": 2}``; ``malformed`` is the sum of those that are whole lines.
    ``problem_lines`` has the first lines of one object with each problem, from 1; counts of several objects have none.
    ``objects`` is the number of counted capture objects, ``earlier`` the number of calls that were skipped because another model
    answered. ``scores`` are the predictions in the cells of the estimator's scores; None without one.
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
    predictions: tuple[FeatureCounts, ...] | None = None
    problem_lines: Mapping[str, tuple[int, ...]] | None = None
    scores: tuple[tuple[int, ...], ...] | None = None
    format: Literal["mlops.counts/1"] = "mlops.counts/1"

    @property
    def predicted(self) -> tuple[FeatureCounts, ...]:
        """The counts of the predictions, in the order of `Baseline.predicted`."""
        return (self.predictions or ()) if self.prediction is None else (self.prediction,)


class MonitorState(StrEnum):
    """State of a monitor. Missing data has its own states and is never OK."""

    NOT_YET_DEPLOYED = "NOT_YET_DEPLOYED"
    NO_TRAFFIC = "NO_TRAFFIC"
    NO_CAPTURE = "NO_CAPTURE"
    NO_LABELS_YET = "NO_LABELS_YET"
    BASELINE_OLDER_THAN_MODEL = "BASELINE_OLDER_THAN_MODEL"
    MONITOR_NOT_RUN = "MONITOR_NOT_RUN"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    OK = "OK"
    VIOLATION = "VIOLATION"


# states in which a monitor has decided
TESTED = (MonitorState.OK, MonitorState.VIOLATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One line of ``constraint_violations.json``.

    Checks of quality, bias and attributions also have Model Monitor's members for their subject: ``metric_name``, for bias
    ``facet`` and ``facet_value``, for attributions ``label``. ``feature_name`` combines them in one string.
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


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One published metric value, by monitor and metric name; ``feature`` is set for metrics of a single feature."""

    monitor: str
    name: str
    value: float
    feature: str | None = None


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
        endpoint: Name of the monitored endpoint.
        variant: Variant whose captures are monitored.
        monitor: ``drift``, ``quality``, ``estimates``, ``bias``, ``explainability`` or ``latency``.
    """
    return {"Endpoint": endpoint, "Variant": variant, "Monitor": monitor}
