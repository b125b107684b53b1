"""What travels with a model: signature, package, evaluation, gate result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mlops_runtime.contracts.feature_service import FeatureLookup, FeatureServiceUse
from mlops_runtime.contracts.model_manifest import Flavor, Trust

# what a candidate is measured by: each is a loss (lower is better) that adds up over rows
Metric = Literal["wape", "mae", "log_loss", "brier", "macro_log_loss", "custom_loss"]
# losses over the sum of ``actual_sum``; the others are a mean a row
WEIGHTED: tuple[Metric, ...] = ("wape", "macro_log_loss")
# what a container of others is asked with
ServerContentType = Literal["application/json", "text/csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureColumn:
    """One input column.

    A ``category`` is sent as text and given to the model as its index in ``categories``; an unknown
    one as -1. ``nullable`` columns may be absent or null and reach the model as NaN (or -1).

    ``kind`` is what the column is in a frame. A number is an ``integer`` or ``boolean`` where its training had these; a nullable
    one is a 64-bit float as in pandas. A category is an ``integer`` where its training had integers, or ``text`` where it had
    plain texts; then ``categories`` may be empty. Default: a 64-bit float, or a categorical of texts.
    """

    name: str
    type: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    nullable: bool = False
    kind: Literal["integer", "boolean", "text"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """``signature.json`` beside ``model.onnx`` in ``model.tar.gz``: the columns in the order of the model's input.

    ``kind`` is what a prediction means. A ``number`` is one value a row. For a ``probability`` the model gives one column, or two,
    of which the second is the probability of the positive class. Default: a number. The others are a list a row: ``classes`` is
    the probability of each of three or more ``classes``, ``numbers`` one number for each of the named ``outputs``, both in this
    order; a ``vector`` has ``width`` numbers that mean nothing one by one.

    ``passes`` is what the model gets. ``codes`` are 32-bit floats, a category its index. ``values`` are 64-bit floats and texts, so
    that 20,000,001 and a category that the signature does not list arrive. Default: codes.

    ``lookup`` says which columns the server looks up by key where a request leaves them out. Default: a request has every column.
    """

    inputs: tuple[SignatureColumn, ...]
    output: str
    kind: Literal["number", "probability", "classes", "numbers", "vector"] | None = None
    classes: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    width: int | None = None
    passes: Literal["codes", "values"] | None = None
    lookup: FeatureLookup | None = None
    format: Literal["mlops.signature/1"] = "mlops.signature/1"

    @property
    def columns(self) -> int | None:
        """How many values the prediction of a row has; None where it is one value and not a list."""
        if self.kind == "classes":
            return len(self.classes or ())
        if self.kind == "numbers":
            return len(self.outputs or ())
        return self.width if self.kind == "vector" else None

    @property
    def names(self) -> tuple[str, ...] | None:
        """What the values of a row's prediction are called: its classes or outputs; None where they have no names."""
        return self.classes if self.kind == "classes" else self.outputs if self.kind == "numbers" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackageSpec:
    """One model package, two targets (SageMaker and EKS).

    ``image`` is named by digest; ``artifact_sha256`` is of ``model.tar.gz``, ``model_sha256`` of ``model.onnx``, which the
    server compares before it loads. ``baseline_sha256`` is of the baseline's bytes, which the monitors compare before they decide.
    ``signing_key`` is the ARN of the key that signed the archive, ``model.sig`` beside it the signature; without one nothing has.
    ``code`` is the address of the training code, as the training job had it. ``flavor`` is what loads a model that is not ONNX,
    ``trust`` what loading it may do (``contracts.model_manifest``). ``trained_until`` is that of its evaluation,
    ``feature_service`` names the service of its training set. The ``source_*`` fields are of a package that another environment
    released: its binding and ARN there, the hash of the audit record of its release, and the environment's name.
    """

    group: str
    image: str
    artifact_uri: str
    artifact_sha256: str
    model_sha256: str
    training_set_id: str
    execution: str
    baseline_uri: str
    baseline_sha256: str
    evaluation_uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    content_types: tuple[str, ...] = ("application/json", "text/csv")
    package_arn: str | None = None
    signing_key: str | None = None
    code: str | None = None
    flavor: Flavor | None = None
    trust: Trust | None = None
    trained_until: str | None = None
    feature_service: str | None = None
    source_binding: str | None = None
    source_package: str | None = None
    source_record: str | None = None
    source_environment: str | None = None
    format: Literal["mlops.model-package/1"] = "mlops.model-package/1"

    @property
    def needed_image(self) -> str | None:
        """The image without which the model cannot predict; None for ONNX."""
        return None if self.flavor is None else self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class LossBlock:
    """Loss sums of one block of the holdout (a store, a week): what a paired bootstrap resamples.

    ``absolute_error`` holds the sums of the evaluation's metric, whichever it is; its name is that of WAPE's. ``actual_sum`` is the
    sum of absolute labels; of several outputs the sum of their means, each over the mean of the holdout; of ``macro_log_loss`` the
    sum of the rows' weights, by which each class of the holdout weighs the same.
    """

    block: str
    rows: int
    actual_sum: float
    absolute_error: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodLosses:
    """What blocks lost within one period of the holdout (a week): a sum a block, in the order of the blocks stored with it.

    Blocks and periods are the two ways in which rows of a holdout depend on each other. A block without rows in the period has 0.
    """

    period: str
    absolute_error: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLosses:
    """The rows of the holdout where a column has a value: their losses by the same blocks, and by these and periods."""

    column: str
    value: str
    rows: int
    blocks: tuple[LossBlock, ...]
    periods: tuple[PeriodLosses, ...] | None = None

    @property
    def name(self) -> str:
        """How the segment is written: ``column=value``."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSums:
    """The rows of the holdout where a column has a value: their sums alone, however rare the value is.

    ``absolute_error`` and ``predicted`` are of the candidate and the champion. ``predicted`` sums what they predict and ``actual``
    the labels, one sum for each number of a prediction, of classes the probabilities and the rows of each. Default: labels may be
    negative or are vectors, and no ratio of their sums says anything.
    """

    column: str
    value: str
    rows: int
    actual_sum: float
    absolute_error: Mapping[str, float]
    actual: tuple[float, ...] | None = None
    predicted: Mapping[str, tuple[float, ...]] | None = None

    @property
    def name(self) -> str:
        """How the segment is written: ``column=value``."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPredictions:
    """How many predictions of a team's own were compared with those of its model, and the largest relative difference of them."""

    rows: int
    largest_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """``evaluation.json``: candidate, champion (if any) and naive baselines on the same holdout.

    Keys of ``metrics`` and ``absolute_error`` are ``candidate``, ``champion`` and the baseline columns. ``non_finite`` counts
    missing or non-finite predictions, and of a classifier those that are not probabilities, by the same keys: they are failures,
    never zeros. ``segments`` are bounded in number; ``segments_left_out`` names the rest. ``pooled_segments`` are one for each
    column, of all its values that are left out or have too few blocks or periods for an interval. ``segment_sums`` are of every
    value, and ``label_means`` the means of absolute labels, one for each number of a prediction, to which they are held.
    ``failures`` says why the candidate cannot be served at any loss. ``milliseconds_a_row`` is of one row alone, through the
    server's reading of JSON.
    ``periods`` keeps the losses of ``blocks`` apart by period, where the plan names one. ``signature_sha256`` is of
    ``signature.json``, as ``model_sha256`` is of ``model.onnx``, and ``baseline_sha256`` of ``baseline.json``. ``flavor`` and
    ``trust`` are of a candidate that is not ONNX, as its manifest has them. ``confusion`` counts the rows of a model of
    ``classes``, by the same keys: a line for each class of the label, a column for each predicted class. ``outputs`` has the
    metric of each output of a model of several numbers by itself. ``champion_sha256`` is of the archive that serves,
    ``champion_trained_until`` the ``trained_until`` of its own evaluation, absent where that is not known, and
    ``champion_left_out`` why it was not measured. ``metric_sha256`` is of the file with the unit's metric function, which made
    the losses of ``custom_loss``.
    ``compared`` says what came of the team's own predictions, where some were given and fit the holdout. ``feature_service`` is the
    one that the training set was made for. ``signature`` is the candidate's.
    """

    metric: Metric
    metrics: Mapping[str, float]
    blocks: tuple[LossBlock, ...]
    rows: int
    trained_until: str
    holdout_from: str
    holdout_until: str
    artifact_sha256: str
    model_sha256: str
    training_set_id: str
    baseline_uri: str
    baseline_sha256: str
    non_finite: Mapping[str, int] = field(default_factory=dict)
    segments: tuple[SegmentLosses, ...] | None = None
    segments_left_out: tuple[str, ...] | None = None
    failures: tuple[str, ...] | None = None
    distinct_predictions: int | None = None
    milliseconds_a_row: Mapping[str, float] | None = None
    periods: tuple[PeriodLosses, ...] | None = None
    signature_sha256: str | None = None
    flavor: Flavor | None = None
    trust: Trust | None = None
    pickled: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    confusion: Mapping[str, tuple[tuple[int, ...], ...]] | None = None
    outputs: Mapping[str, Mapping[str, float]] | None = None
    champion_sha256: str | None = None
    champion_trained_until: str | None = None
    champion_left_out: str | None = None
    metric_sha256: str | None = None
    pooled_segments: tuple[SegmentLosses, ...] | None = None
    segment_sums: tuple[SegmentSums, ...] | None = None
    label_means: tuple[float, ...] | None = None
    compared: ComparedPredictions | None = None
    feature_service: FeatureServiceUse | None = None
    signature: ModelSignature | None = None
    format: Literal["mlops.evaluation/1"] = "mlops.evaluation/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutPredictions:
    """Metadata of ``predictions.parquet``: which model predicted which rows.

    There is one row for each of the holdout, in its order. ``holdout_sha256`` is of the names and hashes of the holdout's files.
    ``failure`` says why the model could not predict; its predictions are then NaN. ``names`` are the classes or outputs of a model
    whose predictions are lists.
    """

    artifact_sha256: str
    model_sha256: str
    holdout_sha256: str
    failure: str | None = None
    names: tuple[str, ...] | None = None
    format: Literal["mlops.predictions/1"] = "mlops.predictions/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedHoldout:
    """``asked.json`` beside what the server of a model answered: what it was asked.

    ``rows`` of the holdout in its order, then once more those with the numbers in ``again``, each alone where it was asked in JSON.
    ``signature`` is that of the model, whose archive has ``artifact_sha256``; ``holdout_sha256`` is as in ``HoldoutPredictions``.
    """

    artifact_sha256: str
    holdout_sha256: str
    rows: int
    again: tuple[int, ...]
    signature: ModelSignature
    signature_sha256: str
    format: Literal["mlops.asked-holdout/1"] = "mlops.asked-holdout/1"


class GateVerdict(StrEnum):
    """Whether a candidate may be registered."""

    PASSED = "PASSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One comparison: the interval is of (candidate loss - rival loss) / rival loss; below 0 is better.

    ``segment`` is ``column=value``. Default: over all rows. Of a segment too small for an interval ``low`` and ``high`` are one:
    the ratio of its sums less 1, of losses or of predictions.
    """

    rival: str
    passed: bool
    low: float
    high: float
    limit: float
    reason: str
    segment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCoverage:
    """How much of a holdout the comparison of one column's segments covers.

    Of ``segments`` values ``compared`` have an interval of their own; ``guarded`` are too small for one, and have a ratio of sums.
    ``pooled_rows`` and ``pooled_target`` are the shares of rows and labels in the one interval of all small values together,
    ``untested_rows`` and ``untested_target`` those in no interval at all.
    """

    column: str
    segments: int
    compared: int
    guarded: int
    pooled_rows: float
    pooled_target: float
    untested_rows: float
    untested_target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What the gate decided and on which evidence; ``metrics`` are those of the evaluation, for lists that read no more.

    ``coverage`` says for each column of segments what was compared. Default: there are no segments, or nothing was compared.
    """

    verdict: GateVerdict
    checks: tuple[GateCheck, ...]
    evaluation_uri: str
    evaluation_sha256: str
    reason: str
    metric: Metric | None = None
    metrics: Mapping[str, float] | None = None
    coverage: tuple[SegmentCoverage, ...] | None = None
    format: Literal["mlops.gate-result/1"] = "mlops.gate-result/1"
