"""Documents that accompany a model: signature, package, evaluation, gate result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mlops_runtime.contracts.feature_service import FeatureLookup, FeatureServiceUse
from mlops_runtime.contracts.model_manifest import Flavor, Trust

# metrics of an evaluation: each is a loss (lower is better) that adds up over rows
Metric = Literal["wape", "mae", "log_loss", "brier", "macro_log_loss", "custom_loss"]
# losses divided by the sum of ``actual_sum``; the others are a mean per row
WEIGHTED: tuple[Metric, ...] = ("wape", "macro_log_loss")
# content types of requests to third-party containers
ServerContentType = Literal["application/json", "text/csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureColumn:
    """One input column.

    A ``category`` is sent as text and passed to the model as its index in ``categories``, -1 if unknown. ``nullable`` columns
    may be absent or null and reach the model as NaN (or -1).

    ``kind`` is the column's type in a data frame. A number is an ``integer`` or ``boolean`` if the training data had these; a
    nullable one is a 64-bit float, as in pandas. A category is an ``integer`` if the training data had integers, or ``text``
    for plain strings; ``categories`` may then be empty. Default: a 64-bit float, or a categorical of strings.
    """

    name: str
    type: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    nullable: bool = False
    kind: Literal["integer", "boolean", "text"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """``signature.json`` beside ``model.onnx`` in ``model.tar.gz``: the columns in the order of the model's input.

    ``kind`` is the meaning of a prediction. A ``number`` is one value per row. For a ``probability`` the model returns one
    column, or two, the second being the probability of the positive class. Default: a number. The other kinds return a list per
    row: ``classes`` is the probability of each of three or more ``classes``, and ``numbers`` is one number for each of the
    named ``outputs``, both in this order; a ``vector`` has ``width`` numbers without individual meaning.

    ``passes`` is the encoding of the model's input. ``codes`` are 32-bit floats, with a category's index. ``values`` are 64-bit
    floats and strings, which preserve 20,000,001 and categories that the signature does not list. Default: codes.

    ``lookup`` is the columns that the server looks up by key if a request omits them. Default: a request has every column.
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
        """Number of values in a row's prediction; None if it is a single value instead of a list."""
        if self.kind == "classes":
            return len(self.classes or ())
        if self.kind == "numbers":
            return len(self.outputs or ())
        return self.width if self.kind == "vector" else None

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the values of a row's prediction (its classes or outputs); None if they have no names."""
        return self.classes if self.kind == "classes" else self.outputs if self.kind == "numbers" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackageSpec:
    """One model package with two targets, SageMaker and EKS.

    ``image`` is pinned by digest. ``artifact_sha256`` is the hash of ``model.tar.gz``, ``model_sha256`` of ``model.onnx``,
    which the server verifies before loading. ``baseline_sha256`` is the hash of the baseline, which the monitors verify before
    deciding. ``signing_key`` is the ARN of the key that signed the archive (the signature is ``model.sig`` beside it), absent
    for an unsigned archive. ``code`` is the URI of the training code, as passed to the training job. ``flavor`` is the loader
    of a model that is not ONNX, ``trust`` what loading it may do (``contracts.model_manifest``). ``trained_until`` is that of
    its evaluation, ``feature_service`` the service of its training set. The ``source_*`` fields describe a package that another
    environment released: its binding and ARN there, the hash of the release's audit record, and the environment's name.
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
        """The image required to run the model; None for ONNX."""
        return None if self.flavor is None else self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class LossBlock:
    """Loss sums of one block of the holdout (a store, a week), the unit that the paired bootstrap resamples.

    ``absolute_error`` contains the sums of the evaluation's metric, whichever it is; it is named after WAPE's. ``actual_sum``
    is the sum of absolute labels; for several outputs, the sum over outputs of their means relative to the mean over the
    holdout; for ``macro_log_loss``, the sum of the row weights that give each class of the holdout equal weight.
    """

    block: str
    rows: int
    actual_sum: float
    absolute_error: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodLosses:
    """Losses of each block within one period of the holdout (a week): one sum per block, in the order of the blocks stored with it.

    Rows of a holdout depend on each other through both blocks and periods. A block without rows in the period has 0.
    """

    period: str
    absolute_error: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLosses:
    """Losses of the holdout rows in which a column has a value, by the same blocks, and by blocks and periods."""

    column: str
    value: str
    rows: int
    blocks: tuple[LossBlock, ...]
    periods: tuple[PeriodLosses, ...] | None = None

    @property
    def name(self) -> str:
        """Name of the segment: ``column=value``."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSums:
    """Sums over the holdout rows in which a column has a value, however rare the value is.

    ``absolute_error`` and ``predicted`` are those of the candidate and the champion. ``predicted`` sums their predictions and
    ``actual`` the labels, with one sum for each number of a prediction; for classes, these are probabilities and row counts.
    Default: absent, if labels may be negative or are vectors, so that ratios of their sums are meaningless.
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
        """Name of the segment: ``column=value``."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPredictions:
    """Number of a team's own predictions that were compared with those of its model, and their largest relative difference."""

    rows: int
    largest_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """``evaluation.json``: candidate, champion (if any) and naive baselines on the same holdout.

    Keys of ``metrics`` and ``absolute_error`` are ``candidate``, ``champion`` and the baseline columns. ``non_finite`` counts,
    by the same keys, missing or non-finite predictions and, for a classifier, values that are not probabilities: they are
    failures, never zeros. ``segments`` are limited in number; ``segments_left_out`` names the rest. ``pooled_segments`` has one
    segment per column, of all its values that are left out or have too few blocks or periods for an interval. ``segment_sums``
    are of every value, and ``label_means`` are their reference: the means of absolute labels, one for each number of a
    prediction. ``failures`` are reasons why the candidate cannot be served, regardless of its loss. ``milliseconds_a_row`` is the
    latency of a single row, including the server's JSON parsing.
    ``periods`` splits the losses of ``blocks`` by period, if the plan names one. ``signature_sha256``, ``model_sha256`` and
    ``baseline_sha256`` are the hashes of ``signature.json``, ``model.onnx`` and ``baseline.json``. ``flavor`` and ``trust`` are
    those of the manifest of a candidate that is not ONNX. ``confusion`` counts the rows of a model of ``classes``, by the same
    keys, with a row for each class of the label and a column for each predicted class. ``outputs`` has the metric of each
    output of a model of several numbers. ``champion_sha256`` is the hash of the serving archive, ``champion_trained_until`` the
    ``trained_until`` of its own evaluation, absent if unknown, and ``champion_left_out`` why it was not measured.
    ``metric_sha256`` is the hash of the file with the unit's metric function, which computed ``custom_loss``.
    ``compared`` is the result for the team's own predictions, if some were given and match the holdout. ``feature_service`` is
    that of the training set, ``signature`` that of the candidate.
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
    """Metadata of ``predictions.parquet``: the model and the rows that it predicted.

    The file has one row for each row of the holdout, in its order. ``holdout_sha256`` is the hash of the names and hashes of
    the holdout's files. ``failure`` is why the model could not predict; its predictions are then NaN. ``names`` are the classes
    or outputs of a model whose predictions are lists.
    """

    artifact_sha256: str
    model_sha256: str
    holdout_sha256: str
    failure: str | None = None
    names: tuple[str, ...] | None = None
    format: Literal["mlops.predictions/1"] = "mlops.predictions/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutRequests:
    """``requests.json``: the requests to a model's server, stored beside its responses.

    The requests are ``rows`` rows of the holdout in order, then once more the rows numbered in ``again``, each as a single
    request in JSON. ``signature`` is that of the model, ``artifact_sha256`` the hash of its archive; ``holdout_sha256`` is as
    in ``HoldoutPredictions``.
    """

    artifact_sha256: str
    holdout_sha256: str
    rows: int
    again: tuple[int, ...]
    signature: ModelSignature
    signature_sha256: str
    format: Literal["mlops.holdout-requests/1"] = "mlops.holdout-requests/1"


class GateVerdict(StrEnum):
    """Whether a candidate may be registered."""

    PASSED = "PASSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One comparison: the interval is of (candidate loss - rival loss) / rival loss; below 0 is better.

    ``segment`` is ``column=value``. Default: all rows. For a segment too small for an interval, ``low`` equals ``high``: the
    ratio of its sums, of losses or of predictions, minus 1.
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
    """Share of a holdout that the comparison of one column's segments covers.

    Of ``segments`` values, ``compared`` have their own interval; ``guarded`` are too small for one and are compared by a ratio
    of sums. ``pooled_rows`` and ``pooled_target`` are the shares of rows and labels in the joint interval of all small values,
    ``untested_rows`` and ``untested_target`` those in no interval.
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
    """Decision of the gate and its evidence. ``metrics`` repeats those of the evaluation, so that lists need no second document.

    ``coverage`` is the compared share of each segment column. Default: there are no segments, or nothing was compared.
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
