"""Measure model quality with labels: metrics of all rows and by segment, with confidence intervals.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import numpy as np

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import Measured, QualityResult, SegmentQuality
from mlops_runtime.monitor.monitors import classes, classification, regression
from mlops_runtime.monitor.monitors.classification import usable_rows
from mlops_runtime.monitor.monitors.intervals import FEWEST_CALLS, Interval, Resampling, interval
from mlops_runtime.monitor.monitors.label_join import Joined
from mlops_runtime.monitor.monitors.quality_metrics import metric_of
from mlops_runtime.monitor.monitors.rows import NULL, Rows, Wide
from mlops_runtime.monitor.spec import MonitorSpec

MAXIMUM_SEGMENTS = 24
MISSING = "null"


def segments_of(rows: Rows, columns: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    """Yield each segment's name, ``column=value``, and its rows.

    At most `MAXIMUM_SEGMENTS`: the largest by rows, alternating between columns, so that columns with few values are complete.

    Args:
        rows: Rows with columns.
        columns: Columns whose values are segments; columns that the rows do not have are ignored.

    Example:
        >>> from mlops_runtime.monitor.monitors.rows import Texts
        >>> one = np.ones(3)
        >>> rows = Rows.of(one, one, columns={"store": Texts.of(["north", "west", "north"])})
        >>> [(name, len(part)) for name, part in segments_of(rows, ["store"])]
        [('store=north', 2), ('store=west', 1)]
    """
    ranked = [_ranked(rows, column) for column in columns if column in rows.columns]
    in_turn = [found for found in chain.from_iterable(zip_longest(*ranked)) if found is not None]
    for column, code, name in in_turn[:MAXIMUM_SEGMENTS]:
        yield f"{column}={name}", rows.where(rows.columns[column].codes == code)


def _ranked(rows: Rows, column: str) -> list[tuple[str, int, str]]:
    texts = rows.columns[column]
    codes, counts = np.unique(texts.codes, return_counts=True)
    names = [MISSING if code == NULL else texts.values[code] for code in codes]
    order = sorted(range(len(codes)), key=lambda index: (-counts[index], names[index]))
    return [(column, int(codes[index]), names[index]) for index in order]


UNMATCHED = "label without a captured call"
UNREADABLE = "label is not a number"
NOT_A_CLASS = "label is not a class of the model"
NOT_A_NUMBER_OF_EACH = "label does not have a number for each output"
MISMATCHED = "labels and predictions of a call differ in number"
# share of the labelled rows: with more unusable ones the others are not a representative sample
_MAXIMUM_UNUSABLE = 0.05


def measure(labels: Joined, baseline: Baseline | None = None, spec: MonitorSpec | None = None) -> QualityResult:
    """Return the quality of labelled predictions, with the problems of the labels, without a state.

    Args:
        labels: Predictions with their labels.
        baseline: Has the target, segments and the holdout's metrics. Default: a regression without a holdout.
        spec: Limits. Default: those of `MonitorSpec`.

    Example:
        >>> from mlops_runtime.monitor.monitors.label_join import join
        >>> call = '{"observedContentType": "text/csv", "mode": "OUTPUT", "data": "8", "encoding": "CSV"}'
        >>> capture = '{"captureData": {"endpointOutput": %s}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}' % call
        >>> truth = '{"data": "10", "encoding": "CSV"}'
        >>> label = '{"groundTruthData": %s, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}' % truth
        >>> measure(join([label], [capture])).values["wape"]
        0.2
    """
    spec, every = spec or MonitorSpec(), labels.labelled
    if baseline is not None and baseline.target == "vector":
        why = "a vector has no metric of labels; its custom_loss is measured in evaluations only"
        came = len(every) or labels.unmatched or labels.unreadable
        problems = {f"quality: {why}": 1} if came or spec.quality_limits else None
        return QualityResult(problems=problems, unjudged=why if came else None)
    rows, target = usable_rows(every, baseline), Target.of(baseline)
    holdout = {} if baseline is None else dict(baseline.quality)
    unusable = len(every) - len(rows) + labels.unpredicted
    metrics: tuple[Measured, ...] = ()
    segments: tuple[SegmentQuality, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = None
    notes = [*_unknown(baseline, target, spec)]
    unjudged = None if len(every) else _useless(labels, target)
    if len(rows):
        metrics = measured(rows, target, spec, holdout)
        confusion = None if target.classes is None else classes.confusion(rows, len(target.classes))
        undefined = _undefined(metrics, target, spec, holdout)
        because = _only_label(rows, target)
        notes += [f"{name} has a limit and is undefined{because}" for name in undefined]
        requested = [name for name in undefined if name in spec.quality_limits]
        if unusable > _MAXIMUM_UNUSABLE * (len(rows) + unusable):
            unjudged = f"{unusable:,} of {len(rows) + unusable:,} labelled rows cannot be evaluated"
        elif requested:
            unjudged = f"{requested[0]} has a limit and is undefined{because}"
        elif len(np.unique(rows.call)) < FEWEST_CALLS:
            unjudged = "all labels belong to one call"
        if unjudged is not None:
            # violations are certain, but it is unknown whether the other metrics are within limits
            metrics = tuple(metric if metric.violated else _unjudged(metric) for metric in metrics)
        columns = () if baseline is None else baseline.segments or ()
        segments = tuple(
            SegmentQuality(segment=name, rows=len(part), metrics=_of_whole(measured(part, target, None, {})))
            for name, part in segments_of(rows, columns)
        )
    return QualityResult(
        problems=_problems(labels, target, unusable, notes) or None,
        rows=len(every),
        values=_sums(every, target, holdout),
        holdout=holdout,
        metrics=metrics,
        segments=segments,
        unjudged=unjudged,
        coverage=labels.covered / labels.due if labels.due else None,
        label_delay_hours=labels.delay_hours,
        classes=None if confusion is None else target.classes,
        confusion=confusion,
    )


def _only_label(rows: Rows, target: "Target") -> str:
    """Return that all labels are equal, or a class has none, as a part of a sentence; else an empty string."""
    if target.outputs is not None:
        return ""
    if target.classes is not None:
        missing = [name for place, name in enumerate(target.classes) if not (rows.label == place).any()]
        return f": no label is {' or '.join(missing)}" if missing else ""
    values = np.unique(rows.label)
    return f": all labels are {values[0]:g}" if len(values) == 1 else ""


def _of_whole(metrics: Sequence[Measured]) -> tuple[Measured, ...]:
    """Return the metrics without those of a single class or output."""
    return tuple(metric for metric in metrics if "/" not in metric.name)


def _unknown(baseline: Baseline | None, target: "Target", spec: MonitorSpec) -> Iterator[str]:
    """Yield notes on declared segments and limits that cannot be measured."""
    names = () if baseline is None else {feature.name for feature in baseline.features}
    for name in () if baseline is None else baseline.segments or ():
        if name not in names:
            yield f"segment {name!r} is not an input of the model: it is not captured"
    for name in sorted(set(spec.quality_limits) - set(target.names)):
        yield f"quality_limits names {name!r}; metrics of a {target.kind} are {', '.join(target.names)}"


def _sums(rows: Rows, target: "Target", holdout: Mapping[str, float]) -> dict[str, float]:
    """Return WAPE and bias over all labelled rows, and the ratio of WAPE to the holdout's, if defined."""
    if not len(rows) or target.classes is not None:
        return {}
    sums = regression.values(rows) if target.outputs is None else regression.output_values(rows, target.outputs)
    found = {name: sums[name] for name in ("wape", "bias") if not np.isnan(sums.get(name, np.nan))}
    if "wape" in found and holdout.get("wape"):
        found["wape_ratio"] = found["wape"] / holdout["wape"]
    return found


def _problems(labels: Joined, target: "Target", unusable: int, notes: Sequence[str]) -> dict[str, int]:
    """Return the problems of a window's labels, with counts; problems of captures are reported by counting."""
    problems = {
        UNMATCHED: labels.unmatched,
        target.unreadable: labels.unreadable,
        MISMATCHED: labels.mismatched,
        "line of labels cannot be read": labels.malformed_labels,
        "labelled row cannot be evaluated": unusable,
        "call was captured more than once": labels.repeated,
        **{f"quality: {note}": 1 for note in notes},
    }
    return {name: times for name, times in problems.items() if times}


def _useless(joined: Joined, target: "Target") -> str | None:
    """Return why none of the labels can be used; None without labels."""
    counted = {UNMATCHED: joined.unmatched, target.unreadable: joined.unreadable, MISMATCHED: joined.mismatched}
    name, times = max(counted.items(), key=lambda item: item[1])
    return f"no label can be used, {name}: {times:,}" if times else None


def _undefined(
    metrics: Sequence[Measured], target: "Target", spec: MonitorSpec, holdout: Mapping[str, float]
) -> list[str]:
    """Return the metrics that have a limit but are undefined for these labels."""
    known = {metric.name for metric in metrics}
    return [
        name
        for name in target.names
        if name not in known and (name in spec.quality_limits or default_limit(name, holdout, spec) is not None)
    ]


def _unjudged(metric: Measured) -> Measured:
    """Return a metric without limit and verdict."""
    return replace(metric, limit=None, violated=None)


@dataclass(frozen=True, slots=True)
class Target:
    """The kind of a model's target, which determines its metrics. ``threshold``: decision threshold of a probability."""

    kind: str
    threshold: float
    classes: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None

    @classmethod
    def of(cls, baseline: Baseline | None) -> "Target":
        """Return a baseline's target. Default: a regression."""
        if baseline is not None and baseline.classes is not None:
            return cls("model of classes", 0.0, classes=baseline.classes)
        if baseline is not None and baseline.outputs is not None:
            return cls("model of several outputs", 0.0, outputs=baseline.outputs)
        if baseline is None or baseline.target != "classification":
            return cls("regression", 0.0)
        return cls("classification", classification.THRESHOLD if baseline.positive is None else baseline.positive)

    @property
    def unreadable(self) -> str:
        """Problem of labels that cannot be read."""
        return NOT_A_CLASS if self.classes is not None else UNREADABLE if self.outputs is None else NOT_A_NUMBER_OF_EACH

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the target's metrics."""
        if self.classes is not None:
            return classes.names_of(self.classes)
        if self.outputs is not None:
            return regression.output_names(self.outputs)
        return classification.NAMES if self.kind == "classification" else regression.NAMES

    def values(self, rows: Rows) -> dict[str, float]:
        """Return each metric of labelled rows; NaN if undefined."""
        if self.classes is not None:
            return classes.values(rows, self.classes)
        if self.outputs is not None:
            return regression.output_values(rows, self.outputs)
        if self.kind == "classification":
            return classification.values(rows, threshold=self.threshold)
        return regression.values(rows)

    def draws(self, rows: Rows, resampling: Resampling) -> Mapping[str, Wide]:
        """Return each metric of each bootstrap draw of the rows."""
        if self.classes is not None:
            return classes.draws(rows, self.classes, resampling)
        if self.outputs is not None:
            return regression.output_draws(rows, self.outputs, resampling)
        if self.kind == "classification":
            return classification.draws(rows, resampling, threshold=self.threshold)
        return regression.draws(rows, resampling)


def intervals(rows: Rows, target: Target) -> dict[str, tuple[float, Interval | None]]:
    """Return each defined metric of labelled rows with its interval."""
    values, resampling = target.values(rows), Resampling(rows.call)
    draws = target.draws(rows, resampling)
    found = {}
    for name in target.names:
        if not np.isnan(values[name]):
            value = values[name]
            # with a single call all draws are identical
            bounds = (
                None
                if resampling.clusters < FEWEST_CALLS
                else interval(draws[name], value=value if metric_of(name).is_raised_by_noise else None)
            )
            if bounds is not None and metric_of(name).is_raised_by_noise:
                bounds = replace(bounds, low=max(0.0, bounds.low))
            found[name] = value, bounds
    return found


def measured(
    rows: Rows, target: Target, spec: MonitorSpec | None, holdout: Mapping[str, float]
) -> tuple[Measured, ...]:
    """Return each defined metric of labelled rows with its interval, holdout value, limit and verdict.

    A metric is violated if its whole interval is worse than its limit: that of ``quality_limits``, or its `default_limit`; bias is
    violated beyond its limit on either side. Without an interval, for labels of a single call, there is no verdict.

    Args:
        rows: Rows with finite predictions and labels.
        target: The model's target.
        spec: Limits; None for no limits.
        holdout: The holdout's metrics.
    """
    found = []
    for name, (value, bounds) in intervals(rows, target).items():
        low, high = (None, None) if bounds is None else (bounds.low, bounds.high)
        limit = None if spec is None else spec.quality_limits.get(name)
        if spec is not None and limit is None:
            limit = default_limit(name, holdout, spec)
        violated = None
        if spec is not None and len(rows) >= spec.minimum_labels and limit is not None and bounds is not None:
            violated = is_worse(name, bounds.low, bounds.high, limit)
        found.append(
            Measured(
                name=name,
                value=value,
                low=low,
                high=high,
                baseline=holdout.get(name),
                limit=limit,
                rows=len(rows),
                violated=violated,
            )
        )
    return tuple(found)


def default_limit(name: str, holdout: Mapping[str, float], spec: MonitorSpec) -> float | None:
    """Return the limit of a metric that has none in ``quality_limits``; None if it has no default limit.

    The limit of a loss (WAPE of a regression and of all outputs, Brier score of a classification, macro log loss of classes) is
    ``maximum_wape_ratio`` times the holdout's. The limit of an AUC is 0.5, the AUC of a random guess, plus the holdout's excess
    over 0.5 divided by that ratio. Metrics of a single class or output have no default limit.

    Example:
        >>> [round(default_limit(name, {"auc": 0.9, "brier": 0.1}, MonitorSpec()), 3) for name in ("auc", "brier")]
        [0.82, 0.125]
    """
    known, default = holdout.get(name), metric_of(name).default_limit
    return None if known is None or default is None or "/" in name else default(known, spec.maximum_wape_ratio)


def is_worse(name: str, low: float, high: float, limit: float) -> bool:
    """Return whether the whole interval of a metric is worse than its limit; for bias, on either side.

    Example:
        >>> is_worse("wape", 0.3, 0.5, 0.4), is_worse("auc", 0.6, 0.65, 0.7)
        (False, True)
    """
    if name.partition("/")[0] == "bias":
        return low > abs(limit) or high < -abs(limit)
    return high < limit if metric_of(name).higher_is_better else low > limit
