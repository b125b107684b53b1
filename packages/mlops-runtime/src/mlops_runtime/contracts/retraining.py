"""What starts the Retrain machine: request and guard decision; the tags of the jobs that it creates."""

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


REGISTERED = "registered"  # folder of the artifacts bucket for models made elsewhere


class Trigger(StrEnum):
    """What requested a retraining; ``RECHECK`` checks whether an alarm is still in ALARM or enough labels have arrived.

    ``TARGET`` is another environment, which serves what was trained here and confirmed an alarm of its monitor.
    """

    ALARM = "alarm"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    NEW_DATA = "new_data"
    RECHECK = "recheck"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model made elsewhere that a retraining takes instead of training one.

    ``uri`` is of its ``model.tar.gz``, ``sha256`` of the archive's bytes, below ``registered/<pipeline>/`` (``candidate_uri``).
    ``flavor`` and ``trust`` are what its manifest says, absent for ONNX. ``predictions_uri`` is a Parquet file of what the team got
    from it for the holdout's rows.
    """

    uri: str
    sha256: str
    flavor: Flavor | None = None
    trust: Trust | None = None
    predictions_uri: str | None = None


def candidate_uri(bucket: str, pipeline: str, sha256: str) -> str:
    """Return where the archive of a candidate lies: below a prefix that those who may register write alone.

    Example:
        >>> candidate_uri("artifacts", "demand-forecast", "0" * 64)[:41]
        's3://artifacts/registered/demand-forecast'
    """
    return f"s3://{bucket}/{REGISTERED}/{pipeline}/{sha256}/model.tar.gz"


def candidate_item(sha256: str) -> str:
    """Return the key, in the retraining table, of what came of an archive that was brought.

    Example:
        >>> candidate_item("0" * 64)[:20]
        'CANDIDATE#0000000000'
    """
    return f"CANDIDATE#{sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtCandidate:
    """What came of an archive that was brought: ``REGISTERED``, ``APPROVED`` or ``REJECTED``, by which execution, when and why.

    ``package`` is the ARN of the model package, ``predictions_uri`` what the team's own predictions were; both may be empty.
    """

    outcome: str
    execution: str
    at: str
    reason: str = ""
    package: str = ""
    predictions_uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRequest:
    """Input of the Retrain machine. ``as_of`` is the time up to which the training set may know anything.

    With a ``candidate`` nothing is trained: the same training set measures it, and the same gate decides. With a ``question``
    nothing is trained either: it is recorded, and people are asked.
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
    """What the guard did with an event. ``RELEASED`` answers the end of an execution, all others what asks for one.

    ``ASKED`` is an execution that trains nothing: it asks people whether to train on a feed that looks broken. ``KNOWN`` is a
    candidate that was brought before: nothing is started, and the run that measured or measures it answers.
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
        """Whether an execution was started, one that trains or one that asks."""
        return self in (Decision.STARTED, Decision.ASKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDecision:
    """The guard's decision on one event, as logged and kept.

    ``trigger``, ``requested_by`` and ``detail`` (why it was asked) are of the request, where the event is one. ``free_at`` is when
    the same request would be accepted, where only time must pass. Of a candidate that is ``KNOWN``, ``execution`` is the run that
    has it, ``outcome`` and ``package`` what came of that run, absent while it runs; without ``execution`` no run answers.
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
    """``training.json`` beside an evaluation: what a training script wrote of itself. Nothing decides on it.

    ``metrics`` is its ``metrics.json``; ``curves`` are the columns of its ``metrics.csv`` by name, with a value or none for each of
    ``steps``, which is the column ``step``. ``problems`` says what of these could not be read.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    step: str | None = None
    steps: tuple[float, ...] = ()
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    format: Literal["mlops.training-metrics/1"] = "mlops.training-metrics/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTags:
    """Tags of every job that a machine creates at run time: who pays for it, where it came from, and the unit's further ones."""

    unit: str
    owner: str
    cost_center: str
    model: str
    execution: str
    further: Mapping[str, str] | None = None

    def as_tags(self) -> "list[TagTypeDef]":
        """Return them in the API's shape, the unit's own with the ``mlops:`` prefix."""
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
    """One use of a feature group in a plan, under a name of its own: its columns are called ``<name>__<feature>``.

    ``group`` is named as in the plan's ``features``. ``on`` names the column of the label group that holds a key, by the key;
    ``None``: those of the same names.
    """

    group: str
    name: str
    columns: tuple[str, ...]
    on: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """What a plan reads of a group once: columns, what they begin with if with anything, its alias, and columns of keys by key."""

    group: str
    columns: tuple[str, ...]
    prefix: str | None = None
    alias: str | None = None
    on: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called in the training set."""
        return self.columns if self.prefix is None else tuple(f"{self.prefix}__{column}" for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetPlan:
    """Input of the training-set job: the entity rows, the features of each group, and the cut between the two splits.

    ``label_group`` gives entity rows: its entities, ``timestamp`` (the time of prediction) and ``label``. ``features`` maps a
    group to the columns wanted of it. Rows of the last ``holdout_days`` before ``as_of`` form the holdout. ``labels`` are the label
    columns of several outputs, ``label`` the first of them; a row is labelled once all are known. ``baselines`` are columns with
    naive predictions that are made of the training split: ``naive_median``, ``naive_mean`` or ``naive_usual``, alone or with
    ``_by_<column>``, or ``naive_last_by_<column>``. ``joins`` are uses of groups under names of their own: by other columns of the
    label group, one group several times, two versions of a group. ``service`` is a version of a feature service as it is stored;
    its columns are called as online, and it names all features.
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
        """What is read of feature groups, in the order of the columns."""
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
        """The label, or all of several."""
        return (self.label,) if self.labels is None else self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturePlan:
    """Hyperparameter ``sagemaker_signature``: how the training job writes the signature of a model whose script writes none.

    ``label`` is the column that is predicted, ``kind`` what a prediction means, ``labels`` the label columns of several numbers.
    ``inputs`` are the model's columns in their order; without them these are all columns of the training split but the labels and
    those of ``without``. With ``loaded_by`` the server of a container of others loads the model: the job does not, and binds its
    files by the archive's hash alone.
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

    ``block`` is the column whose values are the blocks of the gate's bootstrap, ``baselines`` the columns of naive
    predictions. ``cluster`` is the column (a week, a household) whose values vary together: the baseline's over-dispersion is
    measured between them, so that drift tests do not take clustered rows for independent ones. The training split should have 40
    clusters; with fewer than 20 drift alarms only where all windows of the monitor's ``of_windows`` agree.

    ``metric`` is a loss a row: ``wape`` (absolute errors over the sum of absolute labels) and ``mae`` for numbers, ``log_loss`` and
    ``brier`` for labels 0 and 1 with predicted probabilities, ``macro_log_loss`` for three or more classes: the mean over classes
    of the log loss of each. Labels of classes are their names; a baseline of them is a column of names, which becomes the shares
    of the classes in the training split where the column has that name. ``labels`` are the label columns of a model of several
    numbers, named as its outputs and in their order, ``label`` the first of them. Its loss is the mean over the outputs, each
    over its own scale, the same for all models: for ``wape`` the mean absolute label of the holdout, for ``mae`` the mean absolute
    deviation of its labels from their median. Its baseline ``naive`` is a column ``naive_<output>`` for each output.
    ``custom_loss`` is for a vector: the mean a row of what the unit's metric function gives, a file with the hash
    ``metric_sha256``, which synthesis writes. Its labels and baselines are columns of lists of numbers.
    ``segments`` are columns by whose values losses are kept apart.
    ``bands`` cuts columns of numbers into segments: ``{"sold": (5, 20)}`` gives ``sold=below 5``, ``sold=5 to 20`` and
    ``sold=20 or more``. ``period`` is the column (a week) with few values in the holdout and whose rows share what happened
    then: the gate's intervals then know blocks and periods. ``timestamp`` is the column with the time of prediction: the training
    split must end before the holdout begins. ``max_unknown`` is the share of the training split's rows whose category a candidate
    may take for unknown, for each column; default any.

    ``conditions`` are what the monitors compare features given: what is known ahead of a call. ``pairs`` are features whose joint
    table is watched too. ``identifiers`` are columns known to be unique identifiers; others are recognised. ``closed_levels`` are
    columns of text that may have only values of the training split; others are recognised. ``facets`` are groups
    for which bias is measured, a label above ``positive`` (default 0.5) counting as positive, of classes ``positive_class``.
    ``attribution_rows`` is how many rows of the holdout are explained by SHAP values; default none, and the image must have
    ``shap``.
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
    """Limits of one segment of the holdout. A limit on a segment without rows is not kept. Default of each: the common limit."""

    maximum_loss: float | None = None
    max_regression: float | None = None
    minimum_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """When a candidate may be registered: bounds on (candidate loss - rival loss) / rival loss, from a paired block bootstrap.

    Where the evaluation keeps periods apart, the bounds are of blocks and periods together instead. Every baseline must be beaten
    (upper bound below 0); the champion must not be worse by more than ``max_regression``
    (upper bound below it). ``confidence`` is two-sided. Every metric is a loss: lower is better. In each segment that the
    evaluation keeps apart the champion must not be shown to be better by more than ``max_segment_regression``: lower bound not
    above it, at a level divided by the number of segments; default ``max_regression``. ``segments`` gives limits of their own, by
    ``column=value``. Values too rare for an interval are compared together, and each by its sums: what the candidate predicts must
    not sum to more than ``max_segment_ratio`` times the champion's (default 1.5), or to less than one over it, unless that is
    nearer to the labels. ``metric`` names what the limits are of. A loss below ``minimum_loss`` is too good to be true.
    ``max_milliseconds_a_row`` bounds the time of a row alone, ``max_slowdown`` its ratio to the champion's in the same job.
    ``max_holdout_age_days`` bounds the time from the holdout's end to the decision: an old training set says little of today.
    ``min_recall`` is the least share of a class's rows that must be predicted as that class, by the class's name.
    ``metric_sha256`` is of the metric function that must have made the losses, which synthesis writes.
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
