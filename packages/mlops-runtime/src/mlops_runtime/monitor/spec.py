"""Thresholds of a monitor: set by the construct, read by the function ``monitor_decide``."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlops_runtime.monitor.monitors.quality_metrics import ESTIMATED, KINDS, METRICS, SHARE, Range, kinds_of, metric_of

MINIMUM_SHARE = 0.0025
_ABOVE_0: Range = False, "above 0", lambda value: value > 0
LATENCY_PERCENTILES: Mapping[str, Range] = dict.fromkeys(("p50", "p95", "p99"), _ABOVE_0)
_RANGES: Mapping[str, Range] = {
    "minimum_effect": SHARE,
    "significance": (False, "above 0 and below 0.5", lambda value: 0 < value < 0.5),
    "minimum_share": (False, "from 0 up to 0.5", lambda value: 0 <= value <= 0.5),
    "relative_shift": (False, "above 0 and below 1", lambda value: 0 < value < 1),
    "of_windows": (True, "1 to 10", lambda value: 1 <= value <= 10),
    "alarm_windows": (True, "1 to 10", lambda value: 1 <= value <= 10),
    "merge_hours": (True, "0 to 2160", lambda value: 0 <= value <= 2160),
    "maximum_bias_shift": (False, "above 0 up to 1", lambda value: 0 < value <= 1),
    "minimum_ndcg": SHARE,
    "maximum_untested": (False, "from 0 up to 1", lambda value: 0 <= value <= 1),
    "maximum_latency_ratio": (False, "above 1", lambda value: value > 1),
    "minimum_rows": (True, "at least 50", lambda value: value >= 50),
    "minimum_labels": (True, "at least 1", lambda value: value >= 1),
    # below 1 a model that is better than its holdout would be a violation
    "maximum_wape_ratio": (False, "at least 1", lambda value: value >= 1),
    "label_delay_hours": (True, "at least 0", lambda value: value >= 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSpec:
    """Thresholds of one monitor.

    Args:
        features: Features to test for drift. Default: every feature of the baseline, and the prediction.
        alarm_features: Features with their own CloudWatch metric, each at a cost. Default: none, only the aggregates.
        minimum_effect: Smallest shift that counts, as PSI: a shift of a normal distribution's mean by d standard deviations has a
            PSI of about d squared (0.01 is 0.1, 0.05 is 0.22 standard deviations). Smaller shifts never alarm, at any sample size.
            For the spread of values the minimum is half the square root: 5 % of a normal standard deviation. Default: 0.01.
        significance: Probability that a window without drift reports any feature (family-wise error rate, by Holm's step-down
            procedure). Default: 0.01.
        minimum_share: Smallest share of rows that counts for values that are rare or absent in the baseline: new levels, nulls,
            values out of range. Default: 0.0025; for new levels of a closed list (`FeatureBaseline.closed`) any significant share.
            A value other than the default applies to those too.
        relative_shift: Smallest relative shift of mean or quantile that counts for ``amounts``. Default: 0.02, 2 %.
        amounts: Features to test for relative shifts (prices): in a wide distribution the bins conceal a shift of 5 %. Default:
            every continuous number that is above 0 in the whole baseline.
        alarm_windows: Number of the last ``of_windows`` windows in which a feature must drift before it alarms. Default: 2.
        of_windows: Number of windows that ``alarm_windows`` refers to. Default: 3.
        merge_hours: Maximum number of earlier hours to add to a window until it has ``minimum_rows``. Default: 168.
        minimum_rows: Rows below which a window is ``INSUFFICIENT_DATA``. Default: 200.
        maximum_untested: Largest share of features without a result because of too few independent rows. Above it, or if one of
            ``alarm_features`` has no result, a window without a finding is ``INSUFFICIENT_DATA``. Default: 0.2.
        minimum_labels: Labelled rows below which quality is ``INSUFFICIENT_DATA``. Default: 100.
        maximum_wape_ratio: Ratio of live WAPE to the holdout's, at least 1, above which quality is a ``VIOLATION``. Default: 1.25.
        quality_limits: Worst allowed value by metric, such as ``{"wape": 0.4, "rmse": 12}`` for a regression or ``{"auc": 0.7}``
            for a classification; violated if the whole confidence interval is worse. Default: none.
        estimate_limits: Worst allowed estimate by metric, before labels arrive: a warning, with an alarm by `DriftAlarms`, if the
            whole interval is worse and labels confirmed two of the last three estimates; never a violation. Default: none.
        maximum_bias_shift: Largest distance of a bias metric from the baseline's; violated if the whole confidence interval is
            farther away. Default: 0.05.
        minimum_ndcg: Similarity (NDCG) of the features' ranking by attribution to the baseline's ranking, below which
            explainability is a ``VIOLATION``. Default: 0.9, as in Clarify.
        latency_limits: Largest model latency in milliseconds by ``p50``, ``p95`` or ``p99``. Default: none.
        maximum_latency_ratio: Ratio of model latency to that of the preceding weeks, above which latency is a ``VIOLATION``.
            Default: 1.5.
        label_delay_hours: Maximum time between a call and its label: captures are read this far before the window.
            Default: 192 (eight days, for forecasts a week ahead).

    Raises:
        ValueError: With every setting that has a wrong type, is out of range, or names an unknown feature or metric.

    Example:
        >>> MonitorSpec(minimum_effect=0.05, alarm_features=("price",)).minimum_rows
        200
    """

    features: tuple[str, ...] = ()
    alarm_features: tuple[str, ...] = ()
    minimum_effect: float = 0.01
    significance: float = 0.01
    minimum_share: float = MINIMUM_SHARE
    relative_shift: float = 0.02
    amounts: tuple[str, ...] | None = None
    alarm_windows: int = 2
    of_windows: int = 3
    merge_hours: int = 168
    minimum_rows: int = 200
    maximum_untested: float = 0.2
    minimum_labels: int = 100
    maximum_wape_ratio: float = 1.25
    label_delay_hours: int = 192
    quality_limits: Mapping[str, float] = field(default_factory=dict)
    estimate_limits: Mapping[str, float] | None = None
    maximum_bias_shift: float = 0.05
    minimum_ndcg: float = 0.9
    latency_limits: Mapping[str, float] = field(default_factory=dict)
    maximum_latency_ratio: float = 1.5
    format: Literal["mlops.monitor/1"] = "mlops.monitor/1"

    def __post_init__(self) -> None:
        problems = [
            *_numbers(self),
            *_features(self),
            *_limits("quality_limits", self.quality_limits, _quality_ranges(self.quality_limits)),
            *_limits(
                "estimate_limits",
                {} if self.estimate_limits is None else self.estimate_limits,
                _estimate_ranges(self.estimate_limits),
            ),
            *_limits("latency_limits", self.latency_limits, LATENCY_PERCENTILES),
        ]
        for name in ("quality_limits", "estimate_limits"):
            if isinstance(limits := getattr(self, name), Mapping):
                problems += _mixed(name, limits)
        if problems:
            raise ValueError("; ".join(problems))


def _numbers(spec: MonitorSpec) -> Iterator[str]:
    for name, (whole, allowed, fits) in _RANGES.items():
        value = getattr(spec, name)
        if not _is_number(value) or (whole and not isinstance(value, int)):
            yield f"{name} must be a {'whole ' if whole else ''}number, {allowed}, got {value!r}"
        elif not fits(value):
            yield f"{name} must be {allowed}, got {value!r}"
    windows, of_windows = spec.alarm_windows, spec.of_windows
    if _is_number(windows) and _is_number(of_windows) and 10 >= windows > of_windows >= 1:
        yield f"alarm_windows must be 1 to of_windows, {of_windows}, got {windows}"


def _features(spec: MonitorSpec) -> Iterator[str]:
    known = True
    for name in ("features", "alarm_features", "amounts"):
        value = getattr(spec, name)
        if name == "amounts" and value is None:
            continue
        if not _is_names(value):
            known = False
            yield f"{name} must be a tuple of features' names, such as ('price',), got {value!r}"
            continue
        repeated = sorted({each for each in value if value.count(each) > 1})
        if repeated:
            yield f"{name} must name each feature once, got {', '.join(map(repr, repeated))} twice"
    if known and spec.features:
        for name, value in (("alarm_features", spec.alarm_features), ("amounts", spec.amounts or ())):
            unknown = sorted(set(value) - set(spec.features))
            if unknown:
                yield f"{name} must be among features, got {', '.join(map(repr, unknown))}"


def _limits(name: str, limits: object, known: Mapping[str, Range]) -> Iterator[str]:
    if not isinstance(limits, Mapping):
        yield f"{name} must be limits by name, such as {{'{next(iter(known))}': 0.5}}, got {limits!r}"
        return
    for key, value in limits.items():
        if key not in known:
            yield f"{name} must be of {', '.join(known)}, got {key!r}"
            continue
        _, allowed, fits = known[key]
        if not _is_number(value):
            yield f"{name} of {key} must be a number, {allowed}, got {value!r}"
        elif not fits(value):
            yield f"{name} of {key} must be {allowed}, got {value!r}"


def _quality_ranges(limits: object) -> dict[str, Range]:
    """Return the allowed range of each metric, including metrics of a class or an output that have a limit."""
    named = [name for name in limits if isinstance(name, str) and "/" in name] if isinstance(limits, Mapping) else []
    fitting = [name for name in named if kinds_of(name) and name.isascii() and name.isprintable()]
    return {name: metric_of(name).limit for name in (*METRICS, *fitting)}


def _estimate_ranges(limits: object) -> dict[str, Range]:
    """Return the allowed range of each metric that can be estimated before labels arrive."""
    return {
        name: allowed
        for name, allowed in _quality_ranges(limits).items()
        if "".join(name.partition("/")[:2]) in ESTIMATED
    }


def _mixed(setting: str, limits: Mapping[str, float]) -> Iterator[str]:
    """Yield a problem if no kind of model has all metrics of a setting."""
    names = [name for name in limits if isinstance(name, str) and kinds_of(name)]
    if not names or set.intersection(*(set(kinds_of(name)) for name in names)):
        return
    first = min((kinds_of(name)[0] for name in names), key=KINDS.index)
    own = [name for name in names if first in kinds_of(name)]
    others = [name for name in names if name not in own]
    yield (
        f"{setting} must be metrics of one kind of model, got {', '.join(own)} of a {first} and {', '.join(others)} of a "
        f"{kinds_of(others[0])[0]}"
    )


def _is_names(value: object) -> bool:
    # a string is a sequence of names too, one a character
    return isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
