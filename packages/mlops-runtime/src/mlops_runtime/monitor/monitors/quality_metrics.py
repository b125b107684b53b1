"""Quality metrics, one entry each: formula, allowed range of limits, direction, whether it is always published.

A metric is a function of sums over rows, so that a bootstrap of calls costs one matrix product. `regression` and `classification`
compute the sums; a metric may declare additional ones. Formulas use operators only and work on numbers and arrays: this module
imports no numpy, because synthesis reads the names and ranges.

See: R. Hyndman, A. Koehler, Another look at measures of forecast accuracy, International Journal of Forecasting 22 (2006) for
WAPE, there the ratio MAD/mean; J. Hanley, B. McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982), ties
counted half; G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950); C. Guo and
others, On calibration of modern neural networks, ICML (2017) for the expected calibration error;
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html for the names of the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# whether only integers are allowed, the allowed range in words, and its predicate
Range = tuple[bool, str, Callable[[float], bool]]
SHARE: Range = False, "from 0 up to 1", lambda value: 0 <= value <= 1
ERROR: Range = False, "at least 0", lambda value: value >= 0
_UP_TO_1: Range = False, "up to 1", lambda value: value <= 1
_COIN = 0.5  # AUC of a random guess


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityMetric:
    """One metric.

    Args:
        name: Name in limits, reports and, in camel case, CloudWatch.
        value: Computes the metric from sums over rows; it is undefined if the result is not finite.
        limit: Allowed range of a limit in ``quality_limits``.
        higher_is_better: Whether a limit is a minimum. Default: a maximum.
        is_published: Whether it has a CloudWatch metric even without a limit. Default: only with a limit.
        sums: Additional sums that ``value`` needs, by name: functions of rows with ``prediction``, ``label``, ``low`` and ``high``
            that return one value a row. Default: none.
        default_limit: Limit as a function of the holdout's value and ``maximum_wape_ratio``. Default: none.
        is_raised_by_noise: Whether noise only increases the metric, so that bootstrap draws are biased upwards. Default: no.
    """

    name: str
    value: Callable[[Any], Any]
    limit: Range
    higher_is_better: bool = False
    is_published: bool = False
    sums: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    default_limit: Callable[[float, float], float | None] | None = None
    is_raised_by_noise: bool = False


def _times_the_holdouts(holdout: float, ratio: float) -> float | None:
    return ratio * holdout if holdout else None


def _above_the_coins(holdout: float, ratio: float) -> float | None:
    return _COIN + (holdout - _COIN) / ratio if holdout > _COIN else None


# sums: rows, absolute (errors), error, actual (absolute labels), squared (errors), spread (of labels), bounded, covered
REGRESSION = (
    QualityMetric(
        name="wape",
        value=lambda sums: sums.absolute / sums.actual,
        limit=ERROR,
        is_published=True,
        default_limit=_times_the_holdouts,
    ),
    QualityMetric(name="bias", value=lambda sums: sums.error / sums.actual, limit=ERROR, is_published=True),
    QualityMetric(name="mae", value=lambda sums: sums.absolute / sums.rows, limit=ERROR),
    QualityMetric(name="rmse", value=lambda sums: (sums.squared / sums.rows) ** 0.5, limit=ERROR, is_published=True),
    QualityMetric(
        name="r2",
        value=lambda sums: 1 - sums.squared / sums.spread,
        limit=_UP_TO_1,
        higher_is_better=True,
        is_published=True,
    ),
    QualityMetric(
        name="interval_coverage", value=lambda sums: sums.covered / sums.bounded, limit=SHARE, higher_is_better=True
    ),
)
# sums: rows, hits, false_alarms, misses, squared, log_loss, gap (of the bins of calibration), area, average_precision
CLASSIFICATION = (
    QualityMetric(
        name="auc",
        value=lambda sums: sums.area,
        limit=SHARE,
        higher_is_better=True,
        is_published=True,
        default_limit=_above_the_coins,
    ),
    QualityMetric(
        name="average_precision", value=lambda sums: sums.average_precision, limit=SHARE, higher_is_better=True
    ),
    QualityMetric(
        name="f1",
        value=lambda sums: 2 * sums.hits / (2 * sums.hits + sums.false_alarms + sums.misses),
        limit=SHARE,
        higher_is_better=True,
        is_published=True,
    ),
    QualityMetric(
        name="precision",
        value=lambda sums: sums.hits / (sums.hits + sums.false_alarms),
        limit=SHARE,
        higher_is_better=True,
    ),
    QualityMetric(
        name="recall", value=lambda sums: sums.hits / (sums.hits + sums.misses), limit=SHARE, higher_is_better=True
    ),
    QualityMetric(
        name="accuracy",
        value=lambda sums: 1 - (sums.false_alarms + sums.misses) / sums.rows,
        limit=SHARE,
        higher_is_better=True,
    ),
    QualityMetric(name="ece", value=lambda sums: sums.gap / sums.rows, limit=SHARE, is_raised_by_noise=True),
    QualityMetric(
        name="brier",
        value=lambda sums: sums.squared / sums.rows,
        limit=SHARE,
        is_published=True,
        default_limit=_times_the_holdouts,
    ),
    QualityMetric(name="log_loss", value=lambda sums: sums.log_loss / sums.rows, limit=ERROR),
)
# three or more classes; sums: rows, losses, hits and gaps (of the bins of calibration) of each class
CLASSES = (
    QualityMetric(
        name="macro_log_loss",
        value=lambda sums: (sums.losses / sums.rows).mean(axis=-1),
        limit=ERROR,
        default_limit=_times_the_holdouts,
    ),
    QualityMetric(
        name="macro_recall",
        value=lambda sums: (sums.hits / sums.rows).mean(axis=-1),
        limit=SHARE,
        higher_is_better=True,
    ),
)
METRICS: Mapping[str, QualityMetric] = {metric.name: metric for metric in (*REGRESSION, *CLASSIFICATION, *CLASSES)}
# additional metrics of each class or output, as ``recall/<class>``
OF_EACH_CLASS = ("recall", "ece")
OF_EACH_OUTPUT = ("wape", "mae", "bias")
# metrics that can be estimated before labels arrive, those of an output as ``wape/<output>``
ESTIMATED = (
    *("wape", "mae", "rmse", "auc", "f1", "precision", "recall", "accuracy", "brier", "log_loss", "macro_recall"),
    *("wape/", "mae/"),
)
# metrics by kind of model, by name or as ``<name>/``
_KINDS: Mapping[str, tuple[str, ...]] = {
    "regression": tuple(metric.name for metric in REGRESSION),
    "classification": tuple(metric.name for metric in CLASSIFICATION),
    "model of classes": (*(metric.name for metric in CLASSES), "accuracy", *(f"{name}/" for name in OF_EACH_CLASS)),
    "model of several outputs": ("wape", *(f"{name}/" for name in OF_EACH_OUTPUT)),
}

KINDS = tuple(_KINDS)


def metric_of(name: str) -> QualityMetric:
    """Return a metric by its name, which may include a class or an output.

    Example:
        >>> metric_of("recall/barbera").name
        'recall'
    """
    return METRICS[name.partition("/")[0]]


def kinds_of(name: str) -> tuple[str, ...]:
    """Return the kinds of model that have a metric; empty for an unknown name.

    Example:
        >>> kinds_of("wape"), kinds_of("recall/barbera"), kinds_of("auc/")
        (('regression', 'model of several outputs'), ('model of classes',), ())
    """
    base, slash, part = name.partition("/")
    wanted = f"{base}{slash}"
    return tuple(kind for kind, names in _KINDS.items() if wanted in names and bool(slash) == bool(part))
