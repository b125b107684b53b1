"""What monitors exchange: baseline, counts, statistics, constraint violations, states, metrics.

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
    """How much more the rows of one stratum vary between clusters, ``times`` those of all; other fields are as a feature's."""

    times: float
    cluster_rows: float | None = None
    cluster_excess: float | None = None
    clusters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """How much more the rows of one feature vary than independent ones; the fields are those of `FeatureBaseline`.

    ``strata`` are those of the baseline in its order; without them all vary alike.
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

    ``number``: ``edges`` are the inner edges of the quantile bins (n edges, n + 1 bins, bin i holds edges[i-1] <= x < edges[i]).
    With ``bounded`` the two outer bins count values outside the baseline's range, so they are empty in it. ``tail_edges`` are those
    of the edges that part an outer tenth, where there are rows enough; fields other than ``counts`` take the tenth for one bin.
    ``category``: ``levels`` are the most frequent levels. ``counts`` has one entry a bin or level, then what other levels there are
    (categories only), then null. Other levels are one cell ``other``; or, with ``tail``, that many cells into which levels fall by
    their CRC-32 modulo ``tail``, then a cell for levels that are new: those whose CRC-32 is not in ``known``. Without ``known``
    there were too many levels to tell new from rare, and the cell of new ones stays empty.

    ``quantiles`` are the 101 percentiles of the known values. ``overdispersion`` is the mean design effect of the cells,
    ``overdispersion_spread`` the squared coefficient of variation of the design effects, ``cell_overdispersion`` each cell's own,
    ``mean_overdispersion`` that of the mean, ``spread_overdispersion`` of the mean score of spread. All are 1, and
    ``overdispersion_spread`` 0, for independent rows. ``cluster_rows`` are the mean rows of a cluster; ``cluster_excess`` is how
    much more the statistic of a single cluster varies than the design effects explain, as a squared coefficient of variation;
    ``cell_jumps`` is how many rows of each cell come at once where a cluster brings many; ``clusters`` is how many there are, given
    conditions fewer by what their strata take, and absent for independent rows. ``tail_jumps`` is how many of the rows beyond each
    tail edge come at once. ``unseen_share`` is the
    share of the rows that are of levels not seen before which later rows bring without any drift; ``closed`` is whether none may,
    as far as the baseline can tell or as its plan says. ``given`` is the dispersion about the shares of each row's own stratum, for
    what is compared given conditions. A number of the kind ``boolean`` is 0 or 1, and calls may say ``true`` or
    ``false``, as the model's signature allows. ``infinite`` are the rows whose number is infinite or beyond a 32-bit float: they
    are in none of the cells.
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
    """What is known ahead of a call and changes what its features look like: a planned promotion, the hour of the week.

    ``column`` cuts the values of one of the model's inputs at ``edges``, or takes its string unchanged without edges. The others
    are read off the call's time in UTC; training rows have theirs in ``EvaluationPlan.timestamp``. ``week_of_month`` is 1 to 5.
    """

    name: str
    kind: Literal["column", "hour_of_day", "hour_of_week", "day_of_week", "week_of_month", "week_of_year"] = "column"
    edges: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDispersion:
    """How much more the rows of one pair vary than independent ones; the fields are those of `PairBaseline`."""

    overdispersion: float
    overdispersion_spread: float | None = None
    clusters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBaseline:
    """Two features that are watched together, in a small table: their cells are put into groups, and pairs of groups counted.

    ``first_groups`` has the group of each cell of the first feature's baseline, ``second_groups`` of the second's. ``counts`` is
    the table row by row: ``(max(first_groups) + 1) * (max(second_groups) + 1)`` entries. ``clusters`` is as a feature's.
    ``given`` is the dispersion about the tables of each row's own stratum; without it, of a baseline with conditions, the tables of
    the strata are not kept, and the pair is compared without conditions.
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
    """A group for which bias is measured, in Clarify's words: rows of these ``values``, or above ``threshold``, against others."""

    name: str
    values: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedLoss:
    """A loss of a row, or a product of two, as the sum of ``base`` and an effect of each of the row's cells.

    ``deviations`` has a line for each group of the jackknife: of the base, then of each effect, scaled so that their squares add
    up to the variance; without it the loss is a product, which only serves for variances. ``design_effect`` is how
    much more the loss varies than that of independent rows.
    """

    name: str
    base: float
    effects: tuple[float, ...]
    deviations: tuple[tuple[float, ...], ...] | None = None
    design_effect: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRates:
    """Labelled rows, and positives among them, in each cell of a score, a line for each group of the jackknife.

    ``area_lost`` is what the AUC loses by the cells; None where it is not defined, as of classes. ``design_effect`` is how much
    more positives vary about their cell's share than those of independent rows.
    """

    rows: tuple[tuple[int, ...], ...]
    positives: tuple[tuple[int, ...], ...]
    area_lost: float | None = None
    design_effect: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """What is known of the labelled holdout, so that performance can be expected before labels come.

    ``rows`` are the labelled rows and ``groups`` how many groups of clusters the jackknife left out in turn. ``columns`` are the
    features whose cells count; levels of a tail count as one cell, and so do the cells of an outer tenth where one of them has
    fewer than 30 labelled rows. ``labelled`` has the labelled rows in each cell of each
    column, then of each score. ``scores`` are the finer cells of the prediction, into which live rows are counted too: of a model
    of classes those of each class's probability, first of the rows that are predicted as another class, then of those that are
    predicted as this one, then null; of several outputs one an output. ``losses`` are of a regression or a classification,
    ``alone`` is the first of them by the prediction alone; of outputs they are ``<loss>/<output>``, over the cells of the columns
    and then of the output's own score. ``rates`` are of a classification or, one a class, of classes.
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
    """What live data are compared with; its content hash names it. ``quality`` holds the model's own metrics on its holdout.

    ``features`` are in the order of the model's inputs. ``left_out`` names those that are counted and not tested, with the reason:
    unique identifiers. ``conditions`` are what features are compared given; ``strata`` are the baseline's counts for each
    combination of them. ``null_patterns`` is a category whose levels are the names of the columns that are null together, joined
    by ``+``; a row without a null is the level ``none``. ``segments`` are the columns by which quality is kept apart;
    ``positive`` is the label above which a row counts as positive for bias; ``bias`` the metrics of the holdout by
    ``<facet>=<value>/<metric>``, ``bias_deviation`` their standard deviations; ``attributions`` each feature's mean absolute SHAP
    value on the holdout.

    A model of ``classes`` has their names in the order of its probabilities; ``prediction`` is then the predicted class. A model of
    several numbers has the names of its ``outputs``, and in ``predictions`` a baseline of each instead of ``prediction``.
    ``positive_class`` is the class that counts as positive for bias. A vector has ``width`` numbers, which are not counted.
    ``cluster_hours`` is how long a cluster lasts where each is a time of its own: 24 for days.
    ``estimator`` is what performance is estimated with before labels come; None without a labelled holdout that is large enough.
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
        """What is known of the predictions: one baseline, or one an output."""
        return (self.predictions or ()) if self.prediction is None else (self.prediction,)

    @property
    def columns(self) -> int | None:
        """How many values the prediction of a row has; None where it is one value and not a list."""
        names = self.classes or self.outputs
        return self.width if names is None else len(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """Mergeable counts of one feature on its baseline's bins, in the baseline's order, with sums for the mean shift.

    The exact sum is ``sum`` plus all of ``sum_rest``, each term the nearest double to what the terms before it leave: one form for
    one value, so that merging in any order gives the same bytes. The same holds of the squares. ``invalid`` values are of another
    type, ``infinite`` ones are numbers beyond a 32-bit float; neither is in a cell.
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
    """Counts of two features' table, in the order of the baseline's."""

    first: str
    second: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Counts of the rows of one combination of conditions; ``key`` has one part a condition, joined by ``|``.

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

    ``synthetic`` calls are the platform's own, of any model, which an execution announced; they are counted here and nowhere
    else. ``unannounced`` calls have ids that look like them without an announcement: they count as all others.
    ``problems`` says what could not be counted and how often, by code and arguments: ``{"row_width[3,4]": 2}``; ``malformed`` is
    the sum of those that are whole lines. ``problem_lines`` has the first lines of one object with each problem, from 1; counts of
    several objects have none. ``objects`` is how many capture objects were counted, ``earlier`` how many calls were left out
    because another model answered. ``scores`` are the predictions in the cells of the estimator's scores; None without one.
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


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value that a run published, by the monitor and the name of its metric; ``feature`` where a feature has its own."""

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
        endpoint: Name of the endpoint.
        variant: Name of the variant.
        monitor: ``drift``, ``quality``, ``estimates``, ``bias``, ``explainability`` or ``latency``.
    """
    return {"Endpoint": endpoint, "Variant": variant, "Monitor": monitor}
