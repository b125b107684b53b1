"""Model quality where labels have arrived: metrics over all rows and by segment, with intervals; bias by facet.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, zip_longest

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, BiasMetric, Measured, SegmentQuality
from mlops_runtime.contracts.rollout import TakenBack
from mlops_runtime.monitor.counting.announced import IsAnnounced, nobody
from mlops_runtime.monitor.monitors import classification, regression
from mlops_runtime.monitor.monitors import facet_bias as bias_metrics
from mlops_runtime.monitor.monitors.intervals import FEWEST_CALLS, Interval, Resampling, interval
from mlops_runtime.monitor.monitors.label_join import Joined, Line, Timed, due_before, join
from mlops_runtime.monitor.monitors.quality_metrics import METRICS
from mlops_runtime.monitor.monitors.rows import NULL, Rows, Wide
from mlops_runtime.monitor.spec import MonitorSpec

MAXIMUM_SEGMENTS = 24
MISSING = "null"


def segments_of(rows: Rows, columns: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    """Yield each segment's name, ``column=value``, and its rows.

    At most `MAXIMUM_SEGMENTS`: the largest by rows, one of each column in turn, so that a column with few values is whole beside
    one with many.

    Args:
        rows: Rows with columns.
        columns: Columns whose values are segments; one that the rows do not have is left out.

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


# of the labelled rows; what is left of more of them is no sample of all
UNMATCHED = "label is of no captured call"
UNREADABLE = "label is no number"
MISMATCHED = "labels of a call are not as many as its predictions"
_MAXIMUM_UNUSABLE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What the labels of a window say.

    Args:
        rows: Labelled predictions.
        wape: Sum of absolute errors over the sum of absolute labels; None without labels that are not 0.
        bias: Sum of (prediction - label) over the sum of absolute labels: positive when predictions are too high.
        unmatched: Label records, uploaded in the window where that is known, for which no call was captured.
        mismatched: Calls with other numbers of labels, uploaded in the window where that is known, than of predictions: they are
            left out whole.
        malformed: Lines that could not be read, up to the call of the last label where nothing is looked for beyond it.
        malformed_labels: Those of labels among them. Default: none.
        metrics: Each metric of the model's target, with its interval and what it is compared with.
        segments: The same by segment, the largest first.
        coverage: Share of the calls that were due a label and have one; None where none was due or it was not looked at.
        label_delay_hours: Median time from call to the upload of its label; None where no upload's time is known.
        bias_metrics: Bias by facet: of predictions alone, and of labels where there are some.
        unreadable: Labels that are no numbers that a 32-bit float holds.
        unusable: Labelled rows that cannot be judged: a prediction that is no number; of a classification one that is no
            probability, or a label that is not 0 or 1.
        repeated: Captures of a call that was captured before.
        share: Share of the calls that was looked at; below 1 where there were too many to hold.
        notes: What was declared and could not be measured, with the reason.
        unjudged: Why nobody knows whether quality holds although labels came. Default: nothing of the kind.
        labelled: The labelled rows themselves, for `quality_statistics`.
    """

    rows: int
    wape: float | None
    bias: float | None
    unmatched: int
    mismatched: int
    malformed: int
    metrics: tuple[Measured, ...] = ()
    segments: tuple[SegmentQuality, ...] = ()
    coverage: float | None = None
    label_delay_hours: float | None = None
    bias_metrics: tuple[BiasMetric, ...] = ()
    unreadable: int = 0
    unusable: int = 0
    repeated: int = 0
    share: float = 1.0
    notes: tuple[str, ...] = ()
    unjudged: str | None = None
    malformed_labels: int = 0
    labelled: Rows | None = field(default=None, repr=False, compare=False)


def measure(
    labels: Iterable[Line | Timed],
    captures: Iterable[Line],
    *,
    since: str = "",
    window_from: str = "",
    now: datetime | None = None,
    baseline: Baseline | None = None,
    spec: MonitorSpec | None = None,
    aside: Sequence[TakenBack] = (),
    announced: IsAnnounced = nobody,
) -> Quality:
    """Join labels with captured predictions and measure how good they were.

    The labels are held, the captures streamed. A label record that is uploaded again replaces the earlier one; a call that is
    captured twice counts once.

    Args:
        labels: Ground truth lines, in the order of their upload, or each with the time of its upload in any order. For a coverage
            that is right, those of ``spec.label_delay_hours`` before the window too, each with its time.
        captures: Capture lines of the time in which the labelled calls were made.
        since: Since when the live model serves (ISO 8601, UTC): errors of an earlier model are not its own.
            Default: all calls count.
        window_from: Start of the window (ISO 8601, UTC): labels uploaded before it count for coverage only, and bias of predictions
            is of the calls since then. Default: everything is in the window.
        now: End of the window: calls younger than the label delay are not due a label. Default: coverage is not looked at.
        baseline: Target, segments, facets and the holdout's metrics. Default: a regression with nothing to compare with.
        spec: Limits, and how long labels take. Default: those of `MonitorSpec`.
        aside: When rollouts ran that were taken back: calls of that time are left out. Default: never.
        announced: Which calls the platform announced as its own. Default: none.

    Example:
        >>> call = '{"observedContentType": "text/csv", "mode": "OUTPUT", "data": "8", "encoding": "CSV"}'
        >>> capture = '{"captureData": {"endpointOutput": %s}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}' % call
        >>> truth = '{"data": "10", "encoding": "CSV"}'
        >>> label = '{"groundTruthData": %s, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}' % truth
        >>> measure([label], [capture]).wape
        0.2
    """
    spec = spec or MonitorSpec()
    facets = () if baseline is None else baseline.facets or ()
    segments = () if baseline is None else baseline.segments or ()
    inputs = () if baseline is None else baseline.features
    names = {feature.name for feature in inputs}
    readable = tuple(facet for facet in facets if facet.name in names)
    joined = join(
        labels,
        captures,
        since=since,
        window_from=window_from,
        due_until="" if now is None else due_before(now, spec.label_delay_hours),
        features=inputs,
        columns=[name for name in {*segments, *(facet.name for facet in readable)} if name in names],
        unlabelled=bool(readable),
        aside=aside,
        announced=announced,
    )
    notes = [f"segment {name!r} is no input of the model: it is not captured" for name in segments if name not in names]
    notes += [
        f"facet {facet.name!r} is no input of the model: it is not captured, and bias by it is only known of the holdout"
        for facet in facets
        if facet not in readable
    ]
    return _assess(joined, baseline, spec, notes)


def _assess(joined: Joined, baseline: Baseline | None, spec: MonitorSpec, notes: list[str]) -> Quality:
    every = joined.labelled
    is_classification = baseline is not None and baseline.target == "classification"
    rows = every.where(classification.usable(every)) if is_classification else every
    sums = regression.values(every)
    target = Target.of(baseline)
    unknown = sorted(set(spec.quality_limits) - set(target.names))
    notes += [
        f"quality_limits names {name!r}; metrics of a {target.kind} are {', '.join(target.names)}" for name in unknown
    ]
    metrics: tuple[Measured, ...] = ()
    segments: tuple[SegmentQuality, ...] = ()
    unusable = len(every) - len(rows) + joined.unpredicted
    unjudged = None if len(every) else _useless(joined)
    if len(rows):
        metrics = measured(rows, target, spec, baseline.quality if baseline is not None else {})
        undefined = _undefined(metrics, target, spec, baseline)
        labels = np.unique(rows.label)
        because = f", all labels are {labels[0]:g}" if len(labels) == 1 else ""
        notes += [f"{name} has a limit and is not defined{because}" for name in undefined]
        asked = [name for name in undefined if name in spec.quality_limits]
        if unusable > _MAXIMUM_UNUSABLE * (len(rows) + unusable):
            unjudged = f"{unusable:,} of {len(rows) + unusable:,} labelled rows cannot be judged"
        elif asked:
            unjudged = f"{asked[0]} has a limit and is not defined{because}"
        elif len(np.unique(rows.call)) < FEWEST_CALLS:
            unjudged = "all labels are of one call"
        if unjudged is not None:
            # what is worse is worse; that the rest holds nobody knows
            metrics = tuple(metric if metric.violated else _unjudged(metric) for metric in metrics)
        columns = () if baseline is None else baseline.segments or ()
        segments = tuple(
            SegmentQuality(segment=name, rows=len(part), metrics=measured(part, target, None, {}))
            for name, part in segments_of(rows, columns)
        )
    by_facet: tuple[BiasMetric, ...] = ()
    if baseline is not None:
        by_facet = bias_metrics.live(rows, joined.predicted, baseline, spec)
        notes += bias_metrics.unmeasured(by_facet, joined.predicted, baseline)
    return Quality(
        rows=len(every),
        wape=_known(sums["wape"]) if len(every) else None,
        bias=_known(sums["bias"]) if len(every) else None,
        unmatched=joined.unmatched,
        mismatched=joined.mismatched,
        unreadable=joined.unreadable,
        malformed=joined.malformed,
        malformed_labels=joined.malformed_labels,
        metrics=metrics,
        segments=segments,
        coverage=joined.covered / joined.due if joined.due else None,
        label_delay_hours=joined.delay_hours,
        bias_metrics=by_facet,
        unusable=unusable,
        repeated=joined.repeated,
        share=joined.share,
        notes=tuple(notes),
        unjudged=unjudged,
        labelled=rows,
    )


def label_problems(quality: Quality) -> dict[str, int]:
    """Return what is wrong with the labels of a window, and how often; captures are told of where they are counted."""
    told = {
        UNMATCHED: quality.unmatched,
        UNREADABLE: quality.unreadable,
        MISMATCHED: quality.mismatched,
        "line of labels cannot be read": quality.malformed_labels,
        "labelled row cannot be judged": quality.unusable,
        "call was captured more than once": quality.repeated,
        **{f"quality: {note}": 1 for note in quality.notes},
    }
    return {name: times for name, times in told.items() if times}


def _useless(joined: Joined) -> str | None:
    """Return why labels came and none is left; None where none came."""
    told = {UNMATCHED: joined.unmatched, UNREADABLE: joined.unreadable, MISMATCHED: joined.mismatched}
    name, times = max(told.items(), key=lambda item: item[1])
    return f"no label can be used, {name}: {times:,}" if times else None


def _undefined(
    metrics: Sequence[Measured], target: "Target", spec: MonitorSpec, baseline: Baseline | None
) -> list[str]:
    """Return which metrics have a limit and are not defined by the labels that came."""
    holdout = {} if baseline is None else baseline.quality
    known = {metric.name for metric in metrics}
    return [
        name
        for name in target.names
        if name not in known and (name in spec.quality_limits or default_limit(name, holdout, spec) is not None)
    ]


def _unjudged(metric: Measured) -> Measured:
    """Return a metric that is not asked whether it holds."""
    return replace(metric, limit=None, violated=None)


@dataclass(frozen=True, slots=True)
class Target:
    """What a model predicts: which metrics it has. ``threshold`` makes a probability a predicted positive."""

    kind: str
    threshold: float

    @classmethod
    def of(cls, baseline: Baseline | None) -> "Target":
        """Return a baseline's target. Default: a regression."""
        if baseline is None or baseline.target != "classification":
            return cls("regression", 0.0)
        return cls("classification", classification.THRESHOLD if baseline.positive is None else baseline.positive)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return classification.NAMES if self.kind == "classification" else regression.NAMES

    def values(self, rows: Rows) -> dict[str, float]:
        """Return each metric of labelled rows, NaN where it is not defined."""
        if self.kind == "classification":
            return classification.values(rows, threshold=self.threshold)
        return regression.values(rows)

    def draws(self, rows: Rows, resampling: Resampling) -> Mapping[str, Wide]:
        """Return each metric of each draw of a resampling of the same rows."""
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
            # of a single call all draws are the same, which says nothing
            bounds = (
                None
                if resampling.clusters < FEWEST_CALLS
                else interval(draws[name], value=value if METRICS[name].is_raised_by_noise else None)
            )
            if bounds is not None and METRICS[name].is_raised_by_noise:
                bounds = replace(bounds, low=max(0.0, bounds.low))
            found[name] = value, bounds
    return found


def measured(
    rows: Rows, target: Target, spec: MonitorSpec | None, holdout: Mapping[str, float]
) -> tuple[Measured, ...]:
    """Return each defined metric of labelled rows with its interval, what it is compared with, and whether it is worse.

    A metric is violated when its whole interval is worse than its limit: that of ``quality_limits``, or its `default_limit`; bias
    when it lies beyond its limit on either side. Where there is no interval, the labels of a single call, nothing is violated or
    not.

    Args:
        rows: Rows with finite predictions and labels.
        target: What the model predicts.
        spec: Limits. Default: nothing is asked.
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
            violated = _is_worse(name, bounds.low, bounds.high, limit)
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
    """Return the worst value that a metric may have without a limit of its own; None where nothing is asked of it.

    A loss (WAPE of a regression, Brier score of a classification) may be ``maximum_wape_ratio`` times the holdout's. What an AUC
    has above 0.5, the AUC of a coin, may be the holdout's divided by as much.

    Example:
        >>> [round(default_limit(name, {"auc": 0.9, "brier": 0.1}, MonitorSpec()), 3) for name in ("auc", "brier")]
        [0.82, 0.125]
    """
    known, default = holdout.get(name), METRICS[name].default_limit
    return None if known is None or default is None else default(known, spec.maximum_wape_ratio)


def _is_worse(name: str, low: float, high: float, limit: float) -> bool:
    if name == "bias":
        return low > abs(limit) or high < -abs(limit)
    return high < limit if METRICS[name].higher_is_better else low > limit


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
