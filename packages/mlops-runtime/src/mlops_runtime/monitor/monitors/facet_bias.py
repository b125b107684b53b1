"""Bias between a facet's group and all other rows, with the names and definitions of SageMaker Clarify, and intervals.

Facet *d* (disfavoured) is the group that a `Facet` defines, facet *a* all other rows; rows whose facet is null are in neither.
Metrics are functions of the counts of eight kinds of rows (group, label, prediction), so a bootstrap of calls costs one matrix
product. As in Clarify's library 0/0 is 0, other divisions by 0 are infinite, and the difference of two infinities is 0; unlike the
library, KL, JS, LP, TVD and KS include labels that only one group has, as defined on their pages.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-measure-data-bias.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-measure-post-training-bias.html
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Facet, Violation
from mlops_runtime.contracts.monitor_report import BiasMetric, Measured
from mlops_runtime.monitor.monitors import bias_metrics as confusion
from mlops_runtime.monitor.monitors.intervals import FEWEST_CALLS, Resampling, interval
from mlops_runtime.monitor.monitors.rows import NULL, Codes, Mask, Rows, Wide
from mlops_runtime.monitor.spec import MonitorSpec

# https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-cw.html
INFINITY = 2.348543e108
# maximum groups of a facet without values or threshold: one a value, the most frequent first
MAXIMUM_GROUPS = 20
# intervals of ratios with a smaller denominator are too narrow: 0 of 2 rows is 0 in every draw
MINIMUM_SUPPORT = 30
# a false-positive rate of one in a thousand windows a metric, since each facet has about twenty
_DEVIATIONS = 3.3
_DEFAULT_POSITIVE = 0.5

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """The group of a facet."""

    facet: str
    value: str  # value or threshold of the group, as Clarify writes it
    known: Mask  # which rows have a facet that is not null
    disfavoured: Mask  # which rows belong to the group


def groups(rows: Rows, facets: Sequence[Facet]) -> Iterator[Group]:
    """Yield the groups of facets: one for a facet's values or for numbers above its threshold, else one for each value.

    Example:
        >>> from mlops_runtime.monitor.monitors.rows import Texts
        >>> rows = Rows.of(np.ones(3), np.ones(3), columns={"age": Texts.of(["30", "50", None])})
        >>> [(group.value, group.disfavoured.tolist()) for group in groups(rows, [Facet(name="age", threshold=40.0)])]
        [('40', [False, True, False])]
    """
    for facet in facets:
        texts = rows.columns.get(facet.name)
        if texts is None:
            continue
        known = texts.codes != NULL
        if facet.threshold is not None:
            numbers = texts.numbers()
            yield Group(facet.name, f"{facet.threshold:g}", ~np.isnan(numbers), numbers > facet.threshold)
        elif facet.values:
            yield Group(facet.name, ",".join(facet.values), known, texts.among(facet.values))
        else:
            codes, counts = np.unique(texts.codes[known], return_counts=True)
            frequent = sorted(zip(-counts, codes, strict=True))[:MAXIMUM_GROUPS]
            for code in sorted(code for _, code in frequent):
                yield Group(facet.name, texts.values[code], known, texts.codes == code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statistic:
    """A metric's value over all rows and in each draw; rows, size of the smaller group, and smallest denominator."""

    value: float
    draws: Wide
    rows: int
    smallest: float
    support: float


def live(labelled: Rows, predicted: Rows, baseline: Baseline, spec: MonitorSpec) -> tuple[BiasMetric, ...]:
    """Return bias by facet: CI, DPPL, DI and CDDPL of all predictions, the other metrics of labelled ones.

    A metric is violated if its whole interval is farther than ``maximum_bias_shift`` from the baseline's value, and its distance
    exceeds that by more than 3.3 standard deviations of the difference. There is no verdict (None) if a group has fewer than
    ``minimum_labels`` rows, or a ratio fewer than thirty in its denominator. Infinite values and bounds are +-2.348543e108, as
    Clarify publishes them.
    """
    found = []
    for (facet, value, name), statistic in _statistics(
        labelled, predicted, baseline.facets, baseline.positive, baseline.segments
    ):
        key = f"{facet}={value}/{name}"
        metric = _measured(
            name, statistic, (baseline.bias or {}).get(key), (baseline.bias_deviation or {}).get(key), spec
        )
        found.append(BiasMetric(facet=facet, facet_value=value, metric=metric, stage=confusion.STAGES[name]))
    return tuple(found)


def unmeasured(metrics: Sequence[BiasMetric], predicted: Rows, baseline: Baseline) -> list[str]:
    """Return notes on groups without metrics, among those that facets define and those with bias in the baseline."""
    facets = [facet for facet in baseline.facets or () if facet.name in predicted.columns]
    if not len(predicted) or not facets:
        return []
    found = {(metric.facet, metric.facet_value) for metric in metrics}
    requested: dict[tuple[str, str], None] = {}
    for facet in facets:
        if facet.threshold is not None:
            requested[facet.name, f"{facet.threshold:g}"] = None
        elif facet.values:
            requested[facet.name, ",".join(facet.values)] = None
        elif sum(name == facet.name for name, _ in found) < MAXIMUM_GROUPS:
            of_facet = [key.rpartition("/")[0] for key in baseline.bias or () if key.startswith(f"{facet.name}=")]
            requested |= dict.fromkeys((facet.name, key.removeprefix(f"{facet.name}=")) for key in of_facet)
    return [
        f"bias of {name}={value} is not measured: no row of the window, or every row, belongs to the group"
        for name, value in requested
        if (name, value) not in found
    ]


def of_holdout(
    rows: Rows, facets: Sequence[Facet], *, positive: float | None, strata: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return a baseline's ``bias`` and ``bias_deviation``: each defined metric by ``<facet>=<value>/<metric>``.

    Args:
        rows: Rows with finite labels and predictions.
        facets: Facets to measure bias for.
        positive: Threshold above which a label or prediction is positive. Default: 0.5.
        strata: Columns that CDDL and CDDPL are conditional on: the first one that is not the facet itself.

    Returns:
        Values, infinite ones as `INFINITY`, and the finite standard deviations.
    """
    values, deviations = {}, {}
    for (facet, value, name), statistic in _statistics(rows, rows, facets, positive, strata):
        if np.isnan(statistic.value):
            continue
        key = f"{facet}={value}/{name}"
        values[key] = finite(statistic.value)
        bounds = interval(statistic.draws)
        if bounds is not None and bounds.deviation is not None:
            deviations[key] = bounds.deviation
    return values, deviations


def bias_violations(metrics: Sequence[BiasMetric]) -> Iterator[Violation]:
    """Yield the lines of ``constraint_violations.json`` in Clarify's format.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-violations.html

    Example:
        >>> list(bias_violations([]))
        []
    """
    for each in metrics:
        if each.metric.violated:
            yield Violation(
                feature_name=f"{each.facet}={each.facet_value}",
                constraint_check_type="bias_drift_check",
                description=_description(each.metric),
                metric_name=each.metric.name,
                facet=each.facet,
                facet_value=each.facet_value,
            )


def threshold(positive: float | None) -> float:
    """Return the threshold above which a label or prediction is positive. Default: 0.5.

    Example:
        >>> threshold(None)
        0.5
    """
    return _DEFAULT_POSITIVE if positive is None else positive


def finite(value: float) -> float:
    """Return a number with infinity replaced by the value that Clarify publishes.

    Example:
        >>> finite(float("-inf"))
        -2.348543e+108
    """
    return max(-INFINITY, min(INFINITY, value))


def _description(metric: Measured) -> str:
    return (
        f"Value {metric.value} does not meet the constraint requirement: the baseline has {metric.baseline}, and the interval at "
        f"95 % from {metric.low} to {metric.high} is farther from it than allowed"
    )


def _statistics(
    labelled: Rows,
    predicted: Rows,
    facets: Sequence[Facet] | None,
    positive: float | None,
    strata: Sequence[str] | None,
) -> list[tuple[_Key, _Statistic]]:
    """Return every metric sorted by facet, value and name, with names in Clarify's order."""
    found = {
        **dict(_of_labels(labelled, facets or (), threshold(positive), strata or ())),
        **dict(_of_predictions(predicted, facets or (), threshold(positive), strata or ())),
    }
    return sorted(found.items(), key=lambda item: (*item[0][:2], confusion.NAMES.index(item[0][2])))


def _of_labels(
    rows: Rows, facets: Sequence[Facet], positive: float, strata: Sequence[str]
) -> Iterator[tuple[_Key, _Statistic]]:
    label, prediction = rows.label > positive, rows.prediction > positive
    for group, resampling in _drawn(rows, facets):
        d, y, p = _within(group, group.disfavoured, label, prediction)
        table = _table(resampling, d * 4 + y * 2 + p, (2, 2, 2))
        stratum = _stratum(rows, group, strata)
        by_stratum = _table(resampling, stratum * 4 + d * 2 + y, (int(stratum.max()) + 1, 2, 2))
        metrics = {
            **confusion.pre_training(table.sum(axis=3)),
            "CDDL": confusion.conditional_disparity(by_stratum),
            **confusion.post_training(table),
        }
        metrics = _of_calls(metrics, resampling)
        yield from _keyed(group, metrics, confusion.supports(table[0]), table[0].sum(axis=(1, 2)))


def _of_predictions(
    rows: Rows, facets: Sequence[Facet], positive: float, strata: Sequence[str]
) -> Iterator[tuple[_Key, _Statistic]]:
    prediction = rows.prediction > positive
    for group, resampling in _drawn(rows, facets):
        d, p = _within(group, group.disfavoured, prediction)
        table = _table(resampling, d * 2 + p, (2, 2))
        stratum = _stratum(rows, group, strata)
        by_stratum = _table(resampling, stratum * 4 + d * 2 + p, (int(stratum.max()) + 1, 2, 2))
        metrics = {**confusion.of_predictions(table), "CDDPL": confusion.conditional_disparity(by_stratum)}
        metrics = _of_calls(metrics, resampling)
        yield from _keyed(group, metrics, confusion.supports_of_predictions(table[0]), table[0].sum(axis=1))


def _of_calls(metrics: dict[str, Wide], resampling: Resampling) -> dict[str, Wide]:
    """Return metrics without draws if there is only one call, since all its draws are identical."""
    return metrics if resampling.clusters >= FEWEST_CALLS else {name: drawn[:1] for name, drawn in metrics.items()}


def _keyed(
    group: Group, metrics: Mapping[str, Wide], supports: Mapping[str, float], sizes: Wide
) -> Iterator[tuple[_Key, _Statistic]]:
    for name, drawn in metrics.items():
        yield (
            (group.facet, group.value, name),
            _Statistic(
                value=float(drawn[0]),
                draws=drawn[1:],
                rows=int(sizes.sum()),
                smallest=float(sizes.min()),
                support=supports[name],
            ),
        )


def _within(group: Group, *masks: Mask) -> tuple[Codes, ...]:
    return tuple(mask[group.known].astype(np.int64) for mask in masks)


def _drawn(rows: Rows, facets: Sequence[Facet]) -> Iterator[tuple[Group, Resampling]]:
    """Yield each group with rows inside and outside, with the draws of its calls."""
    last: tuple[bytes, Resampling] | None = None
    for group in groups(rows, facets):
        if group.disfavoured[group.known].all() or not group.disfavoured.any():
            continue
        # groups of one facet have the same rows
        key = np.packbits(group.known).tobytes()
        if last is None or last[0] != key:
            last = key, Resampling(rows.call[group.known])
        yield group, last[1]


def _stratum(rows: Rows, group: Group, strata: Sequence[str]) -> Codes:
    """Return the stratum of each known row by the first column that is not the facet, null included; without one, one stratum."""
    column = next((name for name in strata if name != group.facet and name in rows.columns), None)
    codes = np.zeros(len(rows), dtype=np.int64) if column is None else rows.columns[column].codes + 1
    return np.unique(codes[group.known], return_inverse=True)[1].astype(np.int64)


def _table(resampling: Resampling, cells: Codes, shape: tuple[int, ...]) -> Wide:
    """Return counts of cells: over all rows first, then over each draw."""
    size = int(np.prod(shape))
    whole = np.bincount(cells, minlength=size).astype(np.float64)[np.newaxis]
    return np.concatenate([whole, resampling.cells(cells, size)]).reshape(-1, *shape)


def _measured(
    name: str, statistic: _Statistic, baseline: float | None, deviation: float | None, spec: MonitorSpec
) -> Measured:
    value = None if np.isnan(statistic.value) else finite(statistic.value)
    bounds = None if value is None else interval(statistic.draws)
    violated = None
    is_enough = statistic.smallest >= spec.minimum_labels and statistic.support >= MINIMUM_SUPPORT
    if baseline is not None and value is not None and bounds is not None and bounds.deviation is not None and is_enough:
        margin = spec.maximum_bias_shift
        is_apart = bounds.low > baseline + margin or bounds.high < baseline - margin
        noise = math.hypot(bounds.deviation, deviation or 0.0)
        violated = is_apart and abs(value - baseline) > margin + _DEVIATIONS * noise
    return Measured(
        name=name,
        value=value,
        low=None if bounds is None else finite(bounds.low),
        high=None if bounds is None else finite(bounds.high),
        baseline=baseline,
        limit=spec.maximum_bias_shift,
        rows=statistic.rows,
        violated=violated,
    )
