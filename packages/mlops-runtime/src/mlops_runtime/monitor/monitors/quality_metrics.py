"""The metrics of quality, one entry each: formula, range of its limit, what is better, whether it is always published.

A metric is a function of sums over rows, so that a bootstrap of calls costs one product of matrices. `regression` and
`classification` make the sums; a metric that needs another one names it. Formulas use operators alone and work on numbers as on
arrays: this module needs no numpy, because synthesis reads the names and the ranges.

See: R. Hyndman, A. Koehler, Another look at measures of forecast accuracy, International Journal of Forecasting 22 (2006) for
WAPE, there the ratio MAD/mean; J. Hanley, B. McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982), ties
counted half; G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950); C. Guo and
others, On calibration of modern neural networks, ICML (2017) for the expected calibration error;
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html for the names of the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# whether it is a whole number, what is allowed in words, and whether a number is
Range = tuple[bool, str, Callable[[float], bool]]
SHARE: Range = False, "from 0 up to 1", lambda value: 0 <= value <= 1
ERROR: Range = False, "at least 0", lambda value: value >= 0
_UP_TO_1: Range = False, "up to 1", lambda value: value <= 1
_COIN = 0.5  # its AUC


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityMetric:
    """One metric.

    Args:
        name: What it is called in limits, reports and, in camel case, in CloudWatch.
        value: The metric of sums over rows; what is not finite is not defined.
        limit: Which limits ``quality_limits`` may have for it.
        higher_is_better: Whether a limit is the least that it may be. Default: the most.
        is_published: Whether it has a CloudWatch metric without a limit too. Default: with one alone.
        sums: Values of each row whose sums ``value`` needs beside those of its target, by name; of rows with ``prediction``,
            ``label``, ``low`` and ``high``. Default: none.
        default_limit: The limit without one of its own, of the holdout's value and ``maximum_wape_ratio``. Default: none.
        is_raised_by_noise: Whether noise only ever raises it, so that its bootstrap lies above it. Default: it does not.
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
        name="interval_coverage",
        value=lambda sums: sums.covered / sums.bounded,
        limit=SHARE,
        higher_is_better=True,
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
# of three or more classes; sums: rows, losses, hits and gaps of each class, the last of its bins of calibration
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
# what a model of classes or of several numbers has besides, of each class or output as ``recall/<class>``
OF_EACH_CLASS = ("recall", "ece")
OF_EACH_OUTPUT = ("wape", "mae", "bias")
# those that can be expected before labels come, of an output as ``wape/<output>``
ESTIMATED = (
    *("wape", "mae", "rmse", "auc", "f1", "precision", "recall", "accuracy", "brier", "log_loss", "macro_recall"),
    *("wape/", "mae/"),
)
# which kinds of model have a metric, by its name or as ``<name>/``
_KINDS: Mapping[str, tuple[str, ...]] = {
    "regression": tuple(metric.name for metric in REGRESSION),
    "classification": tuple(metric.name for metric in CLASSIFICATION),
    "model of classes": (*(metric.name for metric in CLASSES), "accuracy", *(f"{name}/" for name in OF_EACH_CLASS)),
    "model of several outputs": ("wape", *(f"{name}/" for name in OF_EACH_OUTPUT)),
}

KINDS = tuple(_KINDS)


def metric_of(name: str) -> QualityMetric:
    """Return a metric by its name, also that of a class or an output.

    Example:
        >>> metric_of("recall/barbera").name
        'recall'
    """
    return METRICS[name.partition("/")[0]]


def kinds_of(name: str) -> tuple[str, ...]:
    """Return which kinds of model have a metric; none of a name that is not one.

    Example:
        >>> kinds_of("wape"), kinds_of("recall/barbera"), kinds_of("auc/")
        (('regression', 'model of several outputs'), ('model of classes',), ())
    """
    base, slash, part = name.partition("/")
    wanted = f"{base}{slash}"
    return tuple(kind for kind, names in _KINDS.items() if wanted in names and bool(slash) == bool(part))
