"""Comparison of a feature in a window with its baseline, optionally standardised to the window's mix of conditions.

A window of promotions differs from a baseline of all weeks without any drift. Compared *given* the conditions, each combination of
conditions (a stratum) has the same weight in the baseline as in the window: direct standardisation.

See: Kish 1965, "Survey Sampling", 11.7 (the effective size of a weighted sample).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from itertools import compress, pairwise

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts, StratumDispersion
from mlops_runtime.monitor.counting.tail_cells import beyond_edges, of_tenths, tenths
from mlops_runtime.monitor.monitors.drift.paired_strata import pair_strata
from mlops_runtime.monitor.window import HOUR
from mlops_runtime.monitor.wording import number

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Kinds of cells; every cell but null is a bin, a value, a level or a group of levels."""

    names: tuple[str, ...]  # name of each cell in a sentence
    # cells of a single value or level, or of a few rare levels, whose shares are tested individually
    values: tuple[int, ...]
    rare: tuple[int, ...] = ()  # cells of levels that are counted in groups
    new: int | None = None  # the cell of new levels; None if they are counted with rare ones
    outside: tuple[int, ...] = ()  # cells below and above the baseline's range


def layout(feature: FeatureBaseline) -> Layout:
    """Return the layout of a feature's cells.

    Example:
        >>> layout(FeatureBaseline(name="store", type="category", levels=("a",), counts=(5, 2, 0))).names
        ("level 'a'", 'other levels', 'nulls')
        >>> layout(FeatureBaseline(name="price", type="number", edges=(2.0, 3.0), counts=(0, 9, 0, 1), bounded=True)).names
        ('below 2', '2 to 3', 'above 3', 'nulls')
    """
    return _levels(feature) if feature.type == "category" else _bins(feature)


def cdf(feature: FeatureBaseline, bins: Wide, points: Wide, *, lowest: float, highest: float) -> Wide:
    """Return the share of known values below each point: exact at edges, interpolated by the baseline's percentiles between them.

    Args:
        feature: The feature's baseline.
        bins: Counts of its bins, without null, shape (bins,).
        points: Points at which to evaluate, shape (points,).
        lowest: The smallest value, where the first bin starts; bins without percentiles are uniform.
        highest: The largest value.

    Example:
        >>> feature = FeatureBaseline(name="x", type="number", edges=(1.0,), counts=(5, 5, 0), quantiles=(0.0, 1.0, 2.0))
        >>> cdf(feature, np.array([1.0, 3.0]), np.array([0.5, 1.0, 1.5]), lowest=0.0, highest=2.0).tolist()
        [0.125, 0.25, 0.625]
    """
    edges = np.array(feature.edges, dtype=np.float64)
    total = bins.sum()
    if total == 0:
        return np.zeros(len(points))
    below = np.concatenate([[0.0], np.cumsum(bins)]) / total
    # left: an edge is the end of the bin below it
    index = np.searchsorted(edges, points, side="left")
    ends = np.concatenate([[min(lowest, edges[0] if len(edges) else lowest)], edges, [highest]])
    low, high = ends[index], np.maximum(ends[index], ends[index + 1])
    percentiles = np.array(feature.quantiles or (), dtype=np.float64)
    at, start, stop = (percentile_rank(percentiles, where) for where in (points, low, high))
    start = np.where(index == 0, 0.0, start)
    stop = np.where(index == len(edges), 1.0, stop)
    width, run = stop - start, high - low
    uniform = np.divide(points - low, run, out=np.ones_like(run), where=run > 0)
    inside = np.divide(at - start, width, out=uniform, where=width > 0)
    share = below[index] + np.clip(inside, 0.0, 1.0) * (below[index + 1] - below[index])
    return np.asarray(np.where(points > highest, 1.0, share), dtype=np.float64)


def percentile_rank(percentiles: Wide, points: Wide) -> Wide:
    """Return the share of the baseline's values below each point, interpolated between its percentiles.

    Example:
        >>> percentile_rank(np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.5])).round(3).tolist()
        [0.333, 0.833]
    """
    steps = len(percentiles) - 1
    if steps < 1:
        return np.zeros(len(points))
    after = np.searchsorted(percentiles, points, side="left")
    before = np.clip(after - 1, 0, steps - 1)
    low, high = percentiles[before], percentiles[before + 1]
    part = np.divide(points - low, high - low, out=np.ones(len(points)), where=high > low)
    return np.asarray(np.where(after == 0, 0.0, np.minimum(1.0, (before + part) / steps)), dtype=np.float64)


def _levels(feature: FeatureBaseline) -> Layout:
    levels = [f"level {level!r}" for level in feature.levels]
    number_of = len(levels)
    if feature.tail is None:
        return Layout((*levels, "other levels", "nulls"), tuple(range(number_of + 1)), rare=(number_of,))
    new = number_of + feature.tail
    rare = tuple(range(number_of, new))
    names = (*levels, *["a rare level"] * feature.tail, "levels never seen before", "nulls")
    return Layout(names, tuple(range(new)), rare=rare, new=new)


def _bins(feature: FeatureBaseline) -> Layout:
    edges = feature.edges
    # a bin from a value to the next float contains that value only
    narrow = np.array(edges, dtype=np.float64).astype(np.float32)
    single = np.nextafter(narrow[:-1], np.float32(np.inf)) == narrow[1:] if len(edges) > 1 else np.empty(0, dtype=bool)
    names = ["all values"]
    if edges:
        names = [f"below {number(edges[0])}"]
        for cell, (low, high) in enumerate(pairwise(edges)):
            # name the value itself instead of the next float above it
            start = f"above {number(edges[cell - 1])}" if cell and single[cell - 1] else number(low)
            names.append(f"value {number(low)}" if single[cell] else f"{start} to {number(high)}")
        # the last edge of a bounded baseline is the next float above its maximum
        last = feature.bounded or (len(single) > 0 and single[-1])
        top = edges[-2] if len(single) and single[-1] else edges[-1]
        names.append(f"above {number(top)}" if last else f"{number(top)} and above")
    outside = (0, len(edges)) if feature.bounded and edges else ()
    values = tuple(int(cell) + 1 for cell in np.flatnonzero(single))
    return Layout((*names, "nulls"), values, outside=outside)


# cells with fewer independent rows have no reliable design effect
_HARDLY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tails:
    """Rows beyond each tail edge of a number, away from the median."""

    names: tuple[str, ...]  # name of each tail in a sentence
    expected: Wide  # rows of the baseline, scaled as `Comparison.expected`, shape (edges,)
    observed: Wide  # rows of the window
    jumps: Wide  # size of bursts of each tail's rows, see `DesignEffects.jumps`


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One feature's cells in the baseline and in the window, with the tail cells merged into the outer deciles."""

    feature: FeatureBaseline  # the baseline's feature, without edges in its tails
    expected: Wide  # the baseline's counts by cell, scaled to their effective number of rows, shape (cells,)
    observed: Wide  # the window's counts by cell
    mean: float | None = None  # mean of the baseline's known values; None for categories
    deviation: float | None = None  # standard deviation of the baseline's known values
    window_mean: float | None = None  # mean of the window's known values
    window_deviation: float | None = None  # standard deviation of the window's known values
    minimum: float | None = None  # the window's smallest value
    maximum: float | None = None  # the window's largest value
    invalid: int = 0  # number of the window's values of another type, under any conditions
    sent: int = 0  # number of all of the window's values, including nulls, invalid and infinite ones
    infinite: float = 0.0  # the window's infinite values, which are in no cell, weighted as `observed`
    expected_infinite: float = 0.0  # the baseline's infinite values, scaled as `expected`
    tails: Tails | None = None  # rows beyond the edges in the tails. Default: the baseline has no such edges
    # comparisons of the strata that both have, by key, with the baseline's unscaled counts. Default: no conditions
    strata: Mapping[str, "Comparison"] = field(default_factory=dict)
    # known values of each stratum in baseline and window by all cells, tails included, each of shape (strata, cells)
    finer: tuple[Wide, Wide] | None = None

    @cached_property
    def baseline_rows(self) -> float:
        """Effective number of rows of the baseline."""
        return float(self.expected.sum())

    @cached_property
    def window_rows(self) -> float:
        """Number of rows of the window."""
        return float(self.observed.sum())

    @cached_property
    def cells(self) -> Layout:
        """Layout of the cells."""
        return layout(self.feature)

    @cached_property
    def excess(self) -> float:
        """Excess variation of the statistic beyond the design effects, for the number of clusters in the window."""
        feature = self.feature
        rows = min(self.baseline_rows, self.window_rows)
        clusters = max(1.0, rows / (feature.cluster_rows or 1.0))
        return (feature.cluster_excess or 0.0) / clusters

    @cached_property
    def design_effects(self) -> Wide:
        """Each cell's design effect; for cells with few baseline rows the feature's largest, shape (cells,)."""
        known = self.feature.cell_overdispersion
        if known is None:
            return np.full(len(self.expected), self.feature.overdispersion)
        effects = np.maximum(1.0, np.array(known, dtype=np.float64))
        effects[self._hardly_known] = max(float(effects.max()), self.feature.overdispersion)
        return effects

    @cached_property
    def jumps(self) -> Wide:
        """Burst sizes of the cells (`DesignEffects.jumps`); for cells with few baseline rows their design effect, shape (cells,).

        Those of rare levels are at least the average over the column's levels: a store that is one customer's second choice may be
        another's first.
        """
        known = self.feature.cell_jumps
        if known is None:
            return self.design_effects
        jumps = np.where(self._hardly_known, self.design_effects, np.array(known, dtype=np.float64))
        rare = list(self.cells.rare)
        if rare:
            # weighted by each level's contribution to the second moment
            weights = np.array(self.feature.counts, dtype=np.float64)[:-1] * self.design_effects[:-1]
            jumps[rare] = np.maximum(jumps[rare], float((jumps[:-1] * weights).sum() / max(1.0, weights.sum())))
        return jumps

    def held_to(self, clusters: float | None) -> "Comparison":
        """Return the comparison with the window's rows limited to the size of this number of baseline clusters.

        Design effects are valid for clusters of the baseline's size. Repeated requests or more traffic make clusters larger, not
        more numerous: a cluster counts with at most the rows of a baseline cluster.

        See: Kish 1965, "Survey Sampling", 5.4: a design effect grows with the size of clusters.

        Args:
            clusters: Maximum number of clusters in the window; None if unknown: every row counts.

        Example:
            >>> feature = FeatureBaseline(name="x", type="number", counts=(700, 300, 0), cluster_rows=100.0)
            >>> window = Comparison(feature=feature, expected=np.array([700.0, 300, 0]), observed=np.array([300.0, 100, 0]))
            >>> window.held_to(2).observed.tolist(), window.held_to(4).observed.tolist()
            ([150.0, 50.0, 0.0], [300.0, 100.0, 0.0])
        """
        rows = self.feature.cluster_rows
        if clusters is None or rows is None or self.window_rows <= clusters * rows:
            return self
        return self._weighted(clusters * rows / self.window_rows)

    def _weighted(self, weight: float) -> "Comparison":
        tails = self.tails
        return replace(
            self,
            observed=self.observed * weight,
            infinite=self.infinite * weight,
            tails=None if tails is None else replace(tails, observed=tails.observed * weight),
            strata={key: stratum._weighted(weight) for key, stratum in self.strata.items()},
            finer=None if self.finer is None else (self.finer[0], self.finer[1] * weight),
        )

    @cached_property
    def _hardly_known(self) -> npt.NDArray[np.bool_]:
        effects = np.array(self.feature.cell_overdispersion or 1.0, dtype=np.float64)
        return np.asarray(np.array(self.feature.counts) < _HARDLY * np.maximum(1.0, effects), dtype=np.bool_)


def clusters_met(baseline: Baseline, counts: Counts) -> float | None:
    """Return the mean number of time clusters that a window's calls overlap; None if clusters are not periods of time.

    Example:
        >>> weeks = Baseline(features=(), rows=0, training_set_id="t", created="", cluster_hours=168.0)
        >>> span = {"first": "2017-10-23T06:00:00Z", "last": "2017-10-30T06:00:00Z"}
        >>> clusters_met(weeks, Counts(baseline_sha256="b", rows=9, calls=9, features=(), **span))
        2.0
    """
    if baseline.cluster_hours is None or not counts.first:
        return None
    span = datetime.fromisoformat(counts.last) - datetime.fromisoformat(counts.first)
    return 1.0 + span / (baseline.cluster_hours * HOUR)


def counted_features(baseline: Baseline, counts: Counts) -> list[tuple[FeatureBaseline, FeatureCounts]]:
    """Return each feature and prediction, and the null patterns, with their counts in a window."""
    pairs = list(zip(baseline.features, counts.features, strict=True))
    pairs += zip(baseline.predicted, counts.predicted, strict=False)
    if baseline.null_patterns is not None and counts.null_patterns is not None:
        pairs.append((baseline.null_patterns, counts.null_patterns))
    return pairs


def plain(feature: FeatureBaseline, counts: FeatureCounts) -> Comparison:
    """Return the comparison with the whole baseline."""
    expected, observed = (np.array(cells, dtype=np.float64) for cells in (feature.counts, counts.counts))
    mean, deviation = _moments([counts], np.ones(1))
    return Comparison(
        feature=tenths(feature),
        expected=of_tenths(feature, expected),
        observed=of_tenths(feature, observed),
        tails=_tails(feature, expected, observed),
        mean=feature.mean,
        deviation=feature.standard_deviation,
        window_mean=mean if feature.type == "number" else None,
        window_deviation=deviation,
        minimum=counts.minimum,
        maximum=counts.maximum,
        invalid=counts.invalid,
        sent=_sent(counts),
        infinite=counts.infinite or 0,
        expected_infinite=float(feature.infinite or 0),
    )


def conditioned(baseline: Baseline, counts: Counts) -> tuple[Comparison, ...]:
    """Return the comparisons of features, predictions and null patterns with the baseline standardised to the window's strata.

    Rows of strata that the baseline does not cover are excluded from both. With shares w of the window's rows and n baseline rows
    in each stratum, the effective size of the baseline is (sum w)^2 / sum(w^2 / n) rows.
    """
    pairs = pair_strata(baseline, counts).pairs
    keys = [stratum.key for stratum in baseline.strata or ()]
    compared = []
    for index, feature in enumerate(baseline.features):
        one = _standardised(feature, {b.key: (a.features[index], b.features[index]) for a, b in pairs}, keys)
        whole = counts.features[index]
        compared.append(replace(one, invalid=whole.invalid, sent=_sent(whole)))
    for index, (feature, whole) in enumerate(zip(baseline.predicted, counts.predicted, strict=False)):
        predictions = {b.key: (a.predicted[index], b.predicted[index]) for a, b in pairs if a.predicted and b.predicted}
        one = _standardised(feature, predictions, keys)
        compared.append(replace(one, invalid=whole.invalid, sent=_sent(whole)))
    if baseline.null_patterns is not None and counts.null_patterns is not None:
        patterns = {b.key: (a.null_patterns, b.null_patterns) for a, b in pairs if a.null_patterns and b.null_patterns}
        one = _standardised(baseline.null_patterns, patterns, keys)
        compared.append(replace(one, sent=_sent(counts.null_patterns)))
    return tuple(compared)


def _given(feature: FeatureBaseline) -> FeatureBaseline:
    """Return a feature with its dispersion within strata."""
    if feature.given is None:
        return feature
    within = {each.name: getattr(feature.given, each.name) for each in fields(feature.given) if each.name != "strata"}
    return replace(feature, **within, given=None)


def _of_stratum(feature: FeatureBaseline, own: StratumDispersion | None) -> FeatureBaseline:
    """Return a feature with the dispersion of one stratum."""
    if own is None or own.clusters is None:
        return feature
    times = own.times
    return replace(
        feature,
        overdispersion=feature.overdispersion * times,
        cell_overdispersion=_each(feature.cell_overdispersion, times),
        cell_jumps=_each(feature.cell_jumps, times),
        mean_overdispersion=None if feature.mean_overdispersion is None else feature.mean_overdispersion * times,
        spread_overdispersion=None if feature.spread_overdispersion is None else feature.spread_overdispersion * times,
        cluster_rows=own.cluster_rows,
        cluster_excess=own.cluster_excess,
        clusters=own.clusters,
    )


def _each(values: tuple[float, ...] | None, times: float) -> tuple[float, ...] | None:
    return None if values is None else tuple(value * times for value in values)


def _standardised(
    feature: FeatureBaseline, strata: Mapping[str, tuple[FeatureCounts, FeatureCounts]], keys: Sequence[str]
) -> Comparison:
    # an hour of the day that merges sparse hours of the week has no own dispersion
    own = {} if feature.given is None else dict(zip(keys, feature.given.strata or (), strict=False))
    feature = _given(feature)
    size, pairs = len(feature.counts), list(strata.values())
    before = np.array([a.counts for a, _ in pairs], dtype=np.float64).reshape(len(pairs), size)
    after = np.array([b.counts for _, b in pairs], dtype=np.float64).reshape(len(pairs), size)
    infinite = np.array([(a.infinite or 0, b.infinite or 0) for a, b in pairs], dtype=np.float64).reshape(len(pairs), 2)
    n, m = before.sum(axis=1) + infinite[:, 0], after.sum(axis=1) + infinite[:, 1]
    some = (n > 0) & (m > 0)
    if not some.any():
        nothing = of_tenths(feature, np.zeros(size))
        return Comparison(feature=tenths(feature), expected=nothing, observed=nothing)
    pairs = [pair for pair, use in zip(pairs, some, strict=True) if use]
    before, after, infinite, n, m = before[some], after[some], infinite[some], n[some], m[some]
    weights = m / m.sum()
    worth = 1 / (weights**2 / n).sum()
    numeric = feature.type == "number"
    mean, deviation = _moments([a for a, _ in pairs], weights / n) if numeric else (None, None)
    window_mean, window_deviation = _moments([b for _, b in pairs], np.ones(len(pairs))) if numeric else (None, None)
    expected, observed, whole = (weights / n) @ before * worth, after.sum(axis=0), tenths(feature)
    return Comparison(
        feature=whole,
        expected=of_tenths(feature, expected),
        observed=of_tenths(feature, observed),
        tails=_tails(feature, expected, observed),
        mean=mean,
        deviation=deviation,
        window_mean=window_mean,
        window_deviation=window_deviation,
        minimum=min((b.minimum for _, b in pairs if b.minimum is not None), default=None),
        maximum=max((b.maximum for _, b in pairs if b.maximum is not None), default=None),
        infinite=float(infinite[:, 1].sum()),
        expected_infinite=float((weights / n) @ infinite[:, 0] * worth),
        finer=(before[:, :-1], after[:, :-1]),
        strata={
            key: Comparison(
                feature=_of_stratum(whole, own.get(key)),
                expected=a,
                observed=b,
                invalid=counts.invalid,
                sent=_sent(counts),
                infinite=counts.infinite or 0,
                expected_infinite=float(known.infinite or 0),
            )
            for key, a, b, (known, counts) in zip(
                compress(strata, some), of_tenths(feature, before), of_tenths(feature, after), pairs, strict=True
            )
        },
    )


def _tails(feature: FeatureBaseline, expected: Wide, observed: Wide) -> Tails | None:
    """Return the tails of counts by cell; None without tail edges."""
    if not feature.tail_edges:
        return None
    beyond = beyond_edges(feature)
    # a lower tail includes the first bin
    names = [
        f"below {number(edge)}" if below else f"from {number(edge)} up"
        for edge, below in zip(feature.tail_edges, beyond[:, 0], strict=True)
    ]
    jumps = np.array(feature.tail_jumps or (1.0,) * len(names), dtype=np.float64)
    return Tails(names=tuple(names), expected=beyond @ expected, observed=beyond @ observed, jumps=jumps)


def _sent(counts: FeatureCounts) -> int:
    return sum(counts.counts) + counts.invalid + (counts.infinite or 0)


def _moments(parts: Sequence[FeatureCounts], weights: Wide) -> tuple[float | None, float | None]:
    """Return mean and standard deviation of the known values, with a weight for each part's rows."""
    pairs = list(zip(parts, weights, strict=True))
    known = math.fsum(w * sum(part.counts[:-1]) for part, w in pairs)
    if known <= 0:
        return None, None
    total = math.fsum(w * value for part, w in pairs for value in (part.sum, *(part.sum_rest or ())))
    squares = math.fsum(w * value for part, w in pairs for value in (part.sum_squares, *(part.sum_squares_rest or ())))
    mean = total / known
    return mean, math.sqrt(max(0.0, squares / known - mean * mean))
