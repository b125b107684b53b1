"""Requests of the Retrain machine, decisions of its guard, plans of its jobs, and the tags of these jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from mlops_runtime.contracts.feature_service import FeatureServiceSpec
from mlops_runtime.contracts.model import Metric
from mlops_runtime.contracts.model_manifest import Flavor, Trust
from mlops_runtime.contracts.monitor import Condition, Facet

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import TagTypeDef


REGISTERED = "registered"  # folder of the artifacts bucket for models that were trained elsewhere


class Trigger(StrEnum):
    """Origin of a retraining request.

    ``RECHECK`` checks whether an alarm is still in ALARM or enough labels have arrived. ``TARGET`` is another environment that
    serves a model trained here and has confirmed an alarm of its monitor.
    """

    ALARM = "alarm"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    NEW_DATA = "new_data"
    RECHECK = "recheck"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model trained elsewhere that a retraining evaluates instead of training one.

    ``uri`` is the URI of its ``model.tar.gz`` below ``registered/<pipeline>/`` (``candidate_uri``), ``sha256`` the hash of the
    archive. ``flavor`` and ``trust`` are those of its manifest, absent for ONNX. ``predictions_uri`` is a Parquet file of the
    team's own predictions for the rows of the holdout.
    """

    uri: str
    sha256: str
    flavor: Flavor | None = None
    trust: Trust | None = None
    predictions_uri: str | None = None


def candidate_uri(bucket: str, pipeline: str, sha256: str) -> str:
    """Return the URI of a candidate's archive, below a prefix that only principals with permission to register can write.

    Example:
        >>> candidate_uri("artifacts", "demand-forecast", "0" * 64)[:41]
        's3://artifacts/registered/demand-forecast'
    """
    return f"s3://{bucket}/{REGISTERED}/{pipeline}/{sha256}/model.tar.gz"


def candidate_item(sha256: str) -> str:
    """Return the key, in the retraining table, of the result for a submitted archive.

    Example:
        >>> candidate_item("0" * 64)[:20]
        'CANDIDATE#0000000000'
    """
    return f"CANDIDATE#{sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtCandidate:
    """Result for a submitted archive: ``REGISTERED``, ``APPROVED`` or ``REJECTED``, by which execution, when and why.

    ``package`` is the ARN of the model package, ``predictions_uri`` the file of the team's own predictions; both may be empty.
    """

    outcome: str
    execution: str
    at: str
    reason: str = ""
    package: str = ""
    predictions_uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRequest:
    """Input of the Retrain machine. ``as_of`` is the knowledge cutoff of the training set.

    With a ``candidate`` no model is trained: the candidate is evaluated on the same training set and decided by the same gate.
    With a ``question`` no model is trained either: the question is recorded and sent to people.
    """

    trigger: Trigger
    event_id: str
    as_of: str
    requested_by: str
    detail: str = ""
    candidate: Candidate | None = None
    question: str | None = None
    format: Literal["mlops.retrain-request/1"] = "mlops.retrain-request/1"


class Decision(StrEnum):
    """Decision of the guard on an event. ``RELEASED`` handles the end of an execution; all others handle a request to start one.

    ``ASKED`` starts an execution that trains nothing and asks people whether to train on a feed that looks broken. ``KNOWN`` is
    a candidate that was submitted before: nothing is started, and the run that evaluated or evaluates it provides the result.
    """

    STARTED = "STARTED"
    ASKED = "ASKED"
    DUPLICATE = "DUPLICATE"
    KNOWN = "KNOWN"
    STALE = "STALE"
    COOLING_DOWN = "COOLING_DOWN"
    OVER_BUDGET = "OVER_BUDGET"
    BUSY = "BUSY"
    NOT_CONFIRMED = "NOT_CONFIRMED"
    INVALID = "INVALID"
    PAUSED = "PAUSED"
    FROZEN = "FROZEN"
    TOO_FEW_LABELS = "TOO_FEW_LABELS"
    RELEASED = "RELEASED"

    @property
    def is_start(self) -> bool:
        """Whether an execution was started, either to train or to ask."""
        return self in (Decision.STARTED, Decision.ASKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDecision:
    """The guard's decision on one event, as logged and stored.

    ``trigger``, ``requested_by`` and ``detail`` (the reason) are those of the request, if the event is one. ``free_at`` is when
    the same request would be accepted, if only time must pass. For a candidate that is ``KNOWN``, ``execution`` is the run that
    has it, and ``outcome`` and ``package`` are the run's result, absent while it runs; without ``execution``, no run has it.
    """

    decision: Decision
    event_id: str
    at: str
    reason: str
    execution: str | None = None
    trigger: Trigger | None = None
    requested_by: str | None = None
    detail: str | None = None
    free_at: str | None = None
    outcome: str | None = None
    package: str | None = None
    format: Literal["mlops.guard-decision/1"] = "mlops.guard-decision/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMetrics:
    """``training.json`` beside an evaluation: metrics that a training script reported. No decision uses them.

    ``metrics`` is the script's ``metrics.json``. ``curves`` are the columns of its ``metrics.csv`` by name, with a value or
    None for each of ``steps``, the column ``step``. ``problems`` describes the parts that could not be read.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    step: str | None = None
    steps: tuple[float, ...] = ()
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    format: Literal["mlops.training-metrics/1"] = "mlops.training-metrics/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTags:
    """Tags of every job that a machine creates at run time: owner, cost center, origin, and the unit's additional tags."""

    unit: str
    owner: str
    cost_center: str
    model: str
    execution: str
    further: Mapping[str, str] | None = None

    def as_tags(self) -> "list[TagTypeDef]":
        """Return the tags in the API's shape, those of the platform with the ``mlops:`` prefix."""
        values = {
            "mlops:unit": self.unit,
            "mlops:owner": self.owner,
            "mlops:cost-center": self.cost_center,
            "mlops:model": self.model,
            "mlops:execution": self.execution,
            **(self.further or {}),
        }
        return [{"Key": key, "Value": value} for key, value in values.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureJoin:
    """A named use of a feature group in a plan; its columns become ``<name>__<feature>``.

    ``group`` is named as in the plan's ``features``. ``on`` maps keys of the group to columns of the label group; ``None``:
    columns of the same names.
    """

    group: str
    name: str
    columns: tuple[str, ...]
    on: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """One use of a group in a plan: its columns, their prefix in the training set if any, alias, and join columns by key."""

    group: str
    columns: tuple[str, ...]
    prefix: str | None = None
    alias: str | None = None
    on: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns in the training set."""
        return self.columns if self.prefix is None else tuple(f"{self.prefix}__{column}" for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetPlan:
    """Input of the training-set job: the entity rows, the features of each group, and the cut between the two splits.

    ``label_group`` provides entity rows: its entities, ``timestamp`` (the time of prediction) and ``label``. ``features`` maps
    each group to the requested columns. Rows of the last ``holdout_days`` before ``as_of`` form the holdout. ``labels`` are the
    label columns of several outputs, ``label`` being the first of them; a row is labelled once all are known. ``baselines`` are
    columns of naive predictions computed from the training split: ``naive_median``, ``naive_mean`` or ``naive_usual``, alone or
    with ``_by_<column>``, or ``naive_last_by_<column>``. ``joins`` are named uses of groups: joined on other columns of the
    label group, one group several times, or two versions of a group. ``service`` is a stored version of a feature service; it
    provides all features, and its columns have the same names as online.
    """

    name: str
    label_group: str
    timestamp: str
    label: str
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holdout_days: int
    history_days: int | None = None
    labels: tuple[str, ...] | None = None
    baselines: tuple[str, ...] | None = None
    joins: tuple[FeatureJoin, ...] | None = None
    service: FeatureServiceSpec | None = None
    format: Literal["mlops.training-set-plan/1"] = "mlops.training-set-plan/1"

    @property
    def uses(self) -> tuple[FeatureUse, ...]:
        """All uses of feature groups, in column order."""
        plain = [FeatureUse(group, columns) for group, columns in self.features.items()]
        joined = [
            FeatureUse(each.group, each.columns, each.name, each.name, each.on or {}) for each in self.joins or ()
        ]
        served = [
            FeatureUse(each.table, tuple(f.name for f in each.features), each.prefix, each.alias, each.on or {})
            for each in (() if self.service is None else self.service.groups)
        ]
        return (*plain, *joined, *served)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The label, or all labels of several outputs."""
        return (self.label,) if self.labels is None else self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturePlan:
    """Hyperparameter ``sagemaker_signature``: how the training job writes a signature if the training script writes none.

    ``label`` is the predicted column, ``kind`` the meaning of a prediction, ``labels`` the label columns of several numbers.
    ``inputs`` are the model's columns in order; by default all columns of the training split except labels and those of
    ``without``. With ``loaded_by`` set, only the server of a third-party container loads the model: the job does not load it
    and binds its files by the archive's hash alone.
    """

    label: str
    kind: Literal["number", "probability", "classes", "numbers", "vector"] = "number"
    labels: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    loaded_by: Literal["container"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Input of the evaluation job.

    ``block`` is the column whose values are the blocks of the gate's bootstrap, ``baselines`` the columns of naive predictions.
    ``cluster`` is the column (a week, a household) whose rows vary together: the baseline's over-dispersion is measured between
    clusters, so that drift tests do not treat clustered rows as independent. The training split should have 40 clusters; with
    fewer than 20, drift alarms only if all windows of the monitor's ``of_windows`` agree.

    ``metric`` is a loss per row: ``wape`` (absolute errors over the sum of absolute labels) and ``mae`` for numbers,
    ``log_loss`` and ``brier`` for labels 0 and 1 with predicted probabilities, ``macro_log_loss`` for three or more classes
    (the mean over classes of the log loss of each). Labels of classes are their names; a baseline of them is a column of names,
    which is converted to the shares of the classes in the training split where the column has that name. ``labels`` are the
    label columns of a model of several numbers, with the names and order of its outputs, ``label`` being the first of them. Its
    loss is the mean over the outputs of each loss divided by the output's scale, the same for all models: for ``wape`` the mean
    absolute label of the holdout, for ``mae`` the mean absolute deviation of its labels from their median. Its baseline
    ``naive`` is a column ``naive_<output>`` for each output. ``custom_loss`` is for a vector: the mean per row of the unit's
    metric function, a file with the hash ``metric_sha256``, which synthesis sets. Its labels and baselines are columns of lists
    of numbers.
    ``segments`` are columns whose values have separate losses. ``bands`` cuts numeric columns into segments: ``{"sold": (5,
    20)}`` gives ``sold=below 5``, ``sold=5 to 20`` and ``sold=20 or more``. ``period`` is a column (a week) with few values in
    the holdout whose rows share common shocks: the gate's intervals then account for blocks and periods. ``timestamp`` is the
    column with the time of prediction: the training split must end before the holdout begins. ``max_unknown`` is the share of
    the training split's rows whose category a candidate may treat as unknown, for each column; default any.

    ``conditions`` are known ahead of a call; the monitors compare features given them. ``pairs`` are features whose joint table
    is monitored too. ``identifiers`` are columns known to be unique identifiers, and ``closed_levels`` text columns that may
    only have values of the training split; others are detected. ``facets`` are groups for which bias is measured; a label above
    ``positive`` (default 0.5) counts as positive, or for classes ``positive_class``. ``attribution_rows`` is the number of
    holdout rows that are explained by SHAP values; default none. It requires ``shap`` in the image.
    """

    label: str
    block: str
    baselines: tuple[str, ...]
    metric: Metric = "wape"
    cluster: str | None = None
    segments: tuple[str, ...] | None = None
    timestamp: str | None = None
    period: str | None = None
    bands: Mapping[str, tuple[float, ...]] | None = None
    max_unknown: float | None = None
    conditions: tuple[Condition, ...] | None = None
    pairs: tuple[tuple[str, ...], ...] | None = None
    identifiers: tuple[str, ...] | None = None
    closed_levels: tuple[str, ...] | None = None
    facets: tuple[Facet, ...] | None = None
    positive: float | None = None
    attribution_rows: int | None = None
    labels: tuple[str, ...] | None = None
    positive_class: str | None = None
    metric_sha256: str | None = None
    format: Literal["mlops.evaluation-plan/1"] = "mlops.evaluation-plan/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLimit:
    """Limits of one segment of the holdout, ignored if the segment has no rows. Default of each: the common limit."""

    maximum_loss: float | None = None
    max_regression: float | None = None
    minimum_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """When a candidate may be registered: bounds on (candidate loss - rival loss) / rival loss, from a paired block bootstrap.

    If the evaluation has periods, the bounds account for both blocks and periods. Every baseline must be beaten (upper bound
    below 0); the champion must not be worse by more than ``max_regression`` (upper bound below it). ``confidence`` is
    two-sided. Every metric is a loss: lower is better. In each segment of the evaluation, the champion must not be shown to be
    better by more than ``max_segment_regression`` (lower bound not above it, at a level divided by the number of segments);
    default ``max_regression``. ``segments`` sets other limits by ``column=value``. Values too rare for an interval are compared
    together, and each by its sums: the candidate's predictions must not sum to more than ``max_segment_ratio`` times the
    champion's (default 1.5), or to less than one over it, unless that is nearer to the labels. ``metric`` is the metric that
    the limits refer to. A loss below ``minimum_loss`` is implausible and fails. ``max_milliseconds_a_row`` limits the latency
    of a single row, ``max_slowdown`` its ratio to the champion's in the same job. ``max_holdout_age_days`` limits the time from
    the holdout's end to the decision, because an old holdout says little about current data. ``min_recall`` is the minimum
    share of a class's rows that must be predicted as that class, by class name. ``metric_sha256`` is the required hash of the
    metric function that computed the losses, which synthesis sets.
    """

    max_regression: float = 0.02
    confidence: float = 0.95
    resamples: int = 2000
    minimum_rows: int = 200
    maximum_loss: float | None = None
    seed: int = 7
    metric: Metric | None = None
    minimum_loss: float | None = None
    max_segment_regression: float | None = None
    segments: Mapping[str, SegmentLimit] | None = None
    max_milliseconds_a_row: float | None = None
    max_slowdown: float | None = None
    max_holdout_age_days: float | None = None
    min_recall: Mapping[str, float] | None = None
    metric_sha256: str | None = None
    max_segment_ratio: float | None = None
    format: Literal["mlops.gate/1"] = field(default="mlops.gate/1")
