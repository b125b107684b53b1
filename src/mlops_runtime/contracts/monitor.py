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
class FeatureBaseline:
    """One feature of a baseline.

    ``number``: ``edges`` are the inner edges of the quantile bins (n edges, n + 1 bins, bin i holds edges[i-1] <= x < edges[i]).
    ``category``: ``levels`` are the most frequent levels. ``counts`` has one
    entry a bin or level, then ``other`` (categories only), then null.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What live data are compared with; its content hash names it. ``quality`` holds the model's own metrics on its holdout."""

    features: tuple[FeatureBaseline, ...]
    rows: int
    training_set_id: str
    created: str
    prediction: FeatureBaseline | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    format: Literal["mlops.baseline/1"] = "mlops.baseline/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """Mergeable counts of one feature on its baseline's bins, in the baseline's order, with sums for the mean shift."""

    name: str
    counts: tuple[int, ...]
    sum: float = 0.0
    sum_squares: float = 0.0
    invalid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of one capture object, or of a window of them. Merging across baseline hashes is an error.

    ``synthetic`` calls are the platform's own, of any model; they are counted here and nowhere else.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One line of ``constraint_violations.json``."""

    feature_name: str
    constraint_check_type: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Violations:
    """``constraint_violations.json``."""

    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature moved: effect size, test and verdict."""

    name: str
    psi: float
    p_value: float
    drifted: bool
    mean_shift: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """What one scheduled run decided over one window, kept beside the two Model Monitor files."""

    endpoint: str
    variant: str
    window_from: str
    window_until: str
    drift_state: MonitorState
    quality_state: MonitorState
    rows: int
    labelled_rows: int
    baseline_sha256: str | None
    model_package_arn: str | None
    features: tuple[FeatureDrift, ...] = ()
    quality: Mapping[str, float] = field(default_factory=dict)
    quality_baseline: Mapping[str, float] = field(default_factory=dict)
    format: Literal["mlops.monitor-report/1"] = "mlops.monitor-report/1"


def metric_namespace(unit: str) -> str:
    """Return the CloudWatch namespace of a business unit.

    Example:
        >>> metric_namespace("demand")
        'MLOps/demand'
    """
    return f"{METRIC_NAMESPACE}/{unit}"


def metric_dimensions(endpoint: str, variant: str, monitor: str) -> dict[str, str]:
    """Return the dimensions of every monitor metric; ``monitor`` is ``drift``, ``quality`` or ``heartbeat``."""
    return {"Endpoint": endpoint, "Variant": variant, "Monitor": monitor}
