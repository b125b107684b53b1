"""Tests of distributions, shares, and associations of pairs of features.

A minimum-effect chi-square test compares whole distributions, exact binomial tests compare single shares, and a test of common odds
ratios compares the association of a pair.

Each rule returns a valid p-value of the null hypothesis that nothing shifted by more than the minimum effect. `decide` combines a
feature's rules by Bonferroni and the features by Holm.

See: Murphy and Myors 1999, "Testing the hypothesis that treatments have negligible effects: minimum-effect tests", Journal of
Applied Psychology 84; Rao and Scott 1984, "On chi-squared tests for multiway contingency tables", Annals of Statistics 12;
Cochran 1954, "Some methods for strengthening the common chi-squared tests", Biometrics 10; Bishop, Fienberg and
Holland 1975, "Discrete Multivariate Analysis", 3.5 (no three-factor interaction, iterative proportional fitting); Deming and
Stephan 1940, Annals of Mathematical Statistics 11; Fellegi 1980, "Approximate tests of independence and goodness of fit based on
stratified multistage samples", JASA 75 (F with one degree of freedom less than clusters).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline, PairBaseline
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, Layout, Tails, layout
from mlops_runtime.monitor.monitors.drift.tails import binomial_tail, estimated_tail, noncentral_chi2_tail
from mlops_runtime.monitor.spec import MINIMUM_SHARE, MonitorSpec
from mlops_runtime.monitor.wording import number, percent

# Cochran: at least about five expected independent rows a cell
MINIMUM_EXPECTED = 5
# a shift of the mean by d standard deviations adds d * 0.18 to the upper tenth of a normal feature, where sqrt(0.1 * 0.9) is 0.3
BIN_PART = 2 / 3

Wide = npt.NDArray[np.float64]


class Rule(StrEnum):
    """Tests for drift: the values of `FeatureDrift.rule`."""

    DISTRIBUTION = "distribution"
    MEAN = "mean"
    QUANTILE = "quantile"
    SPREAD = "spread"
    NULL_SHARE = "null_share"
    NEW_LEVEL = "new_level"
    OUT_OF_RANGE = "out_of_range"
    VALUE_SHARE = "value_share"
    TAIL = "tail"
    ASSOCIATION = "association"
    TYPE = "type"
    INFINITE = "infinite"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's p-value, and its description in words."""

    rule: Rule
    p_value: float
    words: Callable[[], str]


def distribution(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    """Test whether the distribution shifted by more than ``minimum_effect``.

    Under a shift of PSI delta, with n baseline and m window rows, the chi-square statistic of homogeneity has a non-central
    chi-square distribution with non-centrality delta * n * m / (n + m). For clustered rows, statistic, degrees of freedom and
    non-centrality are corrected by mean and spread of the design effects (Rao and Scott's second order). If the window has so few
    clusters that its statistic varies more, its variance is matched instead (Satterthwaite).

    Cells of rare levels, and cells with fewer than five expected independent rows, are pooled; the pool is dropped if it has fewer
    too. Pooling depends on the baseline and the window's size only, not on the window's counts.
    """
    a, b, effects = compared.expected, compared.observed, compared.design_effects
    n, m = compared.baseline_rows, compared.window_rows
    pooled = a * min(1.0, m / n) / effects < MINIMUM_EXPECTED
    pooled[[*cells.rare, *cells.outside]] = True
    if cells.new is not None:
        pooled[cells.new] = True
    kept_a, kept_b, kept_effects = a[~pooled], b[~pooled], effects[~pooled]
    names = [cells.names[cell] for cell in np.flatnonzero(~pooled)]
    pool = float(a[pooled].sum())
    if pool > 0:
        effect = float((a[pooled] * effects[pooled]).sum() / pool)
        if pool * min(1.0, m / n) / effect >= MINIMUM_EXPECTED:
            kept_a, kept_b = np.append(kept_a, pool), np.append(kept_b, b[pooled].sum())
            kept_effects = np.append(kept_effects, effect)
    statistic, freedom = chi_square(kept_a, kept_b)
    if freedom == 0:
        return Finding(Rule.DISTRIBUTION, 1.0, str)
    shares = kept_a / kept_a.sum()
    mean_effect = compared.feature.overdispersion
    if compared.feature.cell_overdispersion is not None:
        mean_effect = max(1.0, float(((1 - shares) * kept_effects).sum() / freedom))
    total, part = float(kept_a.sum()), float(kept_b.sum())
    p_value = minimum_effect_tail(
        statistic,
        freedom,
        spec.minimum_effect * total * part / (total + part),
        mean_effect,
        (compared.feature.overdispersion_spread or 0.0) + compared.excess * freedom / 2,
        known_by=cluster_freedom(compared.feature),
    )

    def words() -> str:
        before, after = shares, kept_b / part
        most = int(np.argmax((after - before) ** 2 / np.maximum(before, 1 / total)))
        name = names[most] if most < len(names) else _named(cells, pooled, a / n, b / m)
        return f"distribution changed, most in {name}: {_moved(before[most], after[most])}"

    return Finding(Rule.DISTRIBUTION, p_value, words)


def shares(compared: Comparison, cells: Layout, spec: MonitorSpec) -> list[Finding]:
    """Test whether the shares of nulls, of new levels, of values out of range, or of any single value, level, bin or tail shifted.

    Each is an exact binomial test whether a share exceeds the baseline's by more than a margin: ``minimum_share`` for rare values,
    0 for new levels of a closed list, else the shift that amounts to ``minimum_effect`` in one cell; with Bonferroni over values
    and levels. The baseline's share is increased by one row, or cluster, since a share of 0 in a sample does not exclude rare
    values. Bins are tested for growth, for example by a new default value within them, and each tail for which the baseline has an
    edge.

    For clustered rows, counts are divided by the cell's jumps, which a few atypical clusters make larger than its design effect:
    the binomial of the divided counts has the second and third moments of a sum of batches. The excess of `distribution` is not
    applied: it stems from the same clusters, which would count twice.
    """
    findings = missing_or_new(compared, cells, spec)
    if cells.outside:
        findings.append(_share(compared, cells.outside, Rule.OUT_OF_RANGE, _range(compared, cells), spec))
    if cells.values:
        findings.append(_values(compared, cells, spec))
    if compared.feature.type == "number":
        findings.append(_bins(compared, cells, spec))
    if compared.tails is not None:
        findings.append(_tail(compared, compared.tails, spec))
    return findings


def missing_or_new(compared: Comparison, cells: Layout, spec: MonitorSpec) -> list[Finding]:
    """Test the shares of nulls and of new levels, see `shares`."""
    null = len(compared.expected) - 1
    findings = [_share(compared, [null], Rule.NULL_SHARE, "nulls", spec)]
    if cells.new is not None:
        name = cells.names[cells.new]
        foreseen = (compared.feature.unseen_share or 0.0) * compared.baseline_rows
        findings.append(_share(compared, [cells.new], Rule.NEW_LEVEL, name, spec, foreseen=foreseen))
    return findings


def types(compared: Comparison, spec: MonitorSpec) -> Finding:
    """Test the shares of values outside all cells: of another type, and infinite numbers; with Bonferroni over the two.

    The training split has no values of another type, so the margin of their share is ``minimum_share``; it is the share of all
    values sent, under any conditions. The training split may have infinite numbers: their share is tested like that of nulls. For
    clustered rows, counts are divided by the largest jumps of the feature's cells.
    """
    feature, sent = compared.feature, compared.sent
    n = float(sum(feature.counts)) + (feature.infinite or 0)
    effect = float(max(1.0, compared.jumps.max()))
    found = [Finding(Rule.TYPE, 1.0, str)]
    if compared.invalid and n:
        p_value = excess_tail(compared.invalid, sent, 0.0, n, margin=spec.minimum_share, effect=effect)
        kind = "number" if feature.type == "number" else "text"
        description = f"{percent(compared.invalid / sent)} of the values are not of type {kind}"
        found.append(Finding(Rule.TYPE, p_value, lambda: description))
    if compared.infinite and n:
        rows, known = compared.window_rows + compared.infinite, compared.baseline_rows + compared.expected_infinite
        before, after = compared.expected_infinite / known, compared.infinite / rows
        margin = margin_of(before, spec)
        p_value = excess_tail(compared.infinite, rows, compared.expected_infinite, known, margin=margin, effect=effect)
        words = f"infinite values: {_moved(before, after)}"
        found.append(Finding(Rule.INFINITE, p_value, lambda: words))
    least = min(found, key=lambda one: one.p_value)
    return replace(least, p_value=min(1.0, least.p_value * (2 if feature.type == "number" else 1)))


def chi_square(a: Wide, b: Wide) -> tuple[float, int]:
    """Return the chi-square statistic of homogeneity of two count vectors and its degrees of freedom.

    Example:
        >>> chi_square(np.array([10.0, 10.0]), np.array([5.0, 5.0]))
        (0.0, 1)
    """
    both = a + b
    a, b, both = a[both > 0], b[both > 0], both[both > 0]
    n, m = a.sum(), b.sum()
    if n == 0 or m == 0:
        return 0.0, 0
    expected_a, expected_b = both * n / (n + m), both * m / (n + m)
    statistic = ((a - expected_a) ** 2 / expected_a + (b - expected_b) ** 2 / expected_b).sum()
    return float(statistic), len(both) - 1


def cluster_freedom(of: FeatureBaseline | PairBaseline) -> float | None:
    """Return the degrees of freedom of a variance estimated between clusters: one less than clusters; None for independent rows.

    Example:
        >>> cluster_freedom(FeatureBaseline(name="x", type="number", counts=(9, 0), clusters=18))
        17.0
    """
    return None if of.clusters is None else float(of.clusters - 1)


def minimum_effect_tail(
    statistic: float,
    freedom: int,
    noncentrality: float,
    dispersion: float,
    spread: float | None,
    *,
    known_by: float | None = None,
) -> float:
    """Return the p-value of a chi-square statistic at the minimum effect, for clustered rows.

    Args:
        statistic: Statistic of independent rows.
        freedom: Degrees of freedom of the statistic.
        noncentrality: Non-centrality of independent rows at the minimum effect.
        dispersion: Mean design effect.
        spread: Squared coefficient of variation of the design effects, plus other excess variation of the statistic; None is 0.
        known_by: Degrees of freedom of the estimate of the design effects. Default: they are known.
    """
    wide = 1 + (spread or 0.0)
    scale = dispersion * wide
    return estimated_tail(
        lambda ratio: noncentral_chi2_tail(ratio * statistic / scale, freedom / wide, ratio * noncentrality / scale),
        known_by,
    )


def excess_tail(
    observed: float, rows: float, expected: float, baseline_rows: float, *, margin: float, effect: float
) -> float:
    """Return the p-value of the null hypothesis that a share exceeds the baseline's by at most a margin, by an exact binomial test.

    The baseline's share is a sample estimate too: the window's rows are reduced to the effective (harmonic) size of the difference
    and divided by the design effect.

    Example:
        >>> round(excess_tail(50, 1000, 0, 1_000_000, margin=0.04, effect=1.0), 3)
        0.088
    """
    factor = 1 / (effect * (1 + rows / baseline_rows))
    trials, successes = math.ceil(rows * factor), math.floor(observed * factor)
    allowed = min(1.0, (expected + effect) / (baseline_rows + effect) + margin)
    if successes <= trials * allowed:
        return 1.0
    return binomial_tail(successes, trials, allowed)


def margin_of(share: float, spec: MonitorSpec) -> float:
    """Return the margin of a share: ``minimum_share``, or the shift that amounts to ``minimum_effect`` in one cell if larger.

    Example:
        >>> margin_of(0.0, MonitorSpec()), margin_of(0.2, MonitorSpec())
        (0.0025, 0.04)
    """
    return max(spec.minimum_share, math.sqrt(spec.minimum_effect * share * (1 - share)))


def _share(
    compared: Comparison, which: Sequence[int], rule: Rule, name: str, spec: MonitorSpec, *, foreseen: float = 0.0
) -> Finding:
    a, b = float(compared.expected[[*which]].sum()) + foreseen, float(compared.observed[[*which]].sum())
    n, m = compared.baseline_rows, compared.window_rows
    effect = float(compared.jumps[[*which]].max())
    margin = margin_of(min(1.0, a / n), spec)
    if rule is Rule.NEW_LEVEL:
        # each new level is rare, even if there are many of them. A closed list should have none: its margin is 0, and the size of
        # the baseline bounds the share that chance may explain
        is_free = compared.feature.closed and spec.minimum_share == MINIMUM_SHARE
        margin = 0.0 if is_free else spec.minimum_share
    p_value = excess_tail(b, m, a, n, margin=margin, effect=effect)
    return Finding(rule, p_value, lambda: f"{name}: {_moved(a / n, b / m)}")


def _values(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    which = np.array(cells.values)
    a, b = compared.expected[which], compared.observed[which]
    margins = _margins(a / compared.baseline_rows, spec)
    # each level in such a cell is rare, even if the cell is not
    margins[np.isin(which, cells.rare)] = spec.minimum_share
    names = [cells.names[cell] for cell in which]
    return _largest(Rule.VALUE_SHARE, compared, a, b, names=names, margins=margins, effects=compared.jumps[which])


def _bins(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    """Test whether a bin grew by more than two thirds of ``minimum_effect`` in one cell, the effect of a mean at its margin."""
    apart = {*cells.values, *cells.outside, len(compared.expected) - 1}
    which = np.array([cell for cell in range(len(compared.expected)) if cell not in apart], dtype=np.int64)
    a, b, effects = compared.expected[which], compared.observed[which], compared.jumps[which]
    margins = _margins(a / compared.baseline_rows, spec, BIN_PART)
    names = [cells.names[cell] for cell in which]
    return _largest(Rule.VALUE_SHARE, compared, a, b, names=names, margins=margins, effects=effects, may_fall=False)


def _tail(compared: Comparison, tails: Tails, spec: MonitorSpec) -> Finding:
    """Test whether the share beyond a tail edge rose or fell, with the margin of `_bins`."""
    # few clusters extend into a tail; one that lies in it entirely has a burst as large as one in the outer decile
    bins = np.flatnonzero(compared.expected[:-1] > 0)
    outer = float(compared.jumps[[bins[0], bins[-1]]].max()) if len(bins) else 1.0
    a, b, names = tails.expected, tails.observed, [f"tail {name}" for name in tails.names]
    margins = _margins(a / compared.baseline_rows, spec, BIN_PART)
    return _largest(Rule.TAIL, compared, a, b, names=names, margins=margins, effects=np.maximum(tails.jumps, outer))


def _margins(shares: Wide, spec: MonitorSpec, part: float = 1.0) -> Wide:
    return np.maximum(spec.minimum_share, part * np.sqrt(spec.minimum_effect * shares * (1 - shares)))


def _largest(
    rule: Rule,
    compared: Comparison,
    a: Wide,
    b: Wide,
    *,
    names: Sequence[str],
    margins: Wide,
    effects: Wide,
    may_fall: bool = True,
) -> Finding:
    """Return the most significant of the shifts of several shares, with Bonferroni over shares and directions."""
    n, m = compared.baseline_rows, compared.window_rows
    before, after = a / n, b / m
    best, at = 1.0, 0
    # exact tails only for shares beyond their margin: without drift hardly any
    for place in np.flatnonzero((np.abs(after - before) if may_fall else after - before) > margins):
        found, known = (b[place], a[place]) if after[place] > before[place] else (m - b[place], n - a[place])
        margin, effect = float(margins[place]), float(effects[place])
        p_value = excess_tail(float(found), m, float(known), n, margin=margin, effect=effect)
        if p_value < best:
            best, at = p_value, int(place)
    if best == 1:
        return Finding(rule, 1.0, str)
    moved = f"{names[at]}: {_moved(before[at], after[at])}"
    return Finding(rule, min(1.0, best * (2 if may_fall else 1) * len(a)), lambda: moved)


def _moved(before: float, after: float) -> str:
    return f"from {percent(before)} to {percent(after)} of the rows"


def _named(cells: Layout, pooled: npt.NDArray[np.bool_], before: Wide, after: Wide) -> str:
    """Return the name of pooled cells, with the one that accounts for most of the shift, if any."""
    which = np.flatnonzero(pooled)
    moved = after[which] - before[which]
    most = int(np.argmax(np.abs(moved)))
    is_alone = 2 * abs(moved[most]) > np.abs(moved).sum()
    return f"rare values, mostly {cells.names[which[most]]}" if is_alone else "rare values"


def _range(compared: Comparison, cells: Layout) -> str:
    edges = compared.feature.edges
    found = ""
    if compared.observed[cells.outside[1]] > 0 and compared.maximum is not None:
        found = f", up to {number(compared.maximum)}"
    elif compared.observed[cells.outside[0]] > 0 and compared.minimum is not None:
        found = f", down to {number(compared.minimum)}"
    return f"outside {number(edges[0])} to {number(edges[-1])}{found}"


_ROUNDS = 60
_CLOSE = 1e-9
_NAMED = 3
_FEWEST_GROUPS = 2


def association(
    pair: PairBaseline,
    tables: Sequence[tuple[Wide, Wide]],
    features: tuple[FeatureBaseline, FeatureBaseline],
    spec: MonitorSpec,
) -> Finding:
    """Test whether the association of two features shifted by more than ``minimum_effect``, in one table or in several together.

    The null model has common odds ratios in both tables, each with its own margins; expected counts are fitted by iterative
    proportional fitting. Pearson's statistic has (rows - 1) * (columns - 1) degrees of freedom, non-central at the minimum effect.
    Groups with hardly any rows in either table are excluded. For several tables, statistics, degrees of freedom and
    non-centralities are summed.

    Args:
        pair: Groups and design effects of the pair.
        tables: Counts of the baseline and of the window, each of shape (cells,); given conditions one pair of tables a stratum.
        features: Baselines of the two features.
        spec: ``minimum_effect``.
    """
    shape = (max(pair.first_groups) + 1, max(pair.second_groups) + 1)
    found = [_fit(np.array(both, dtype=np.float64).reshape(2, *shape), pair.overdispersion) for both in tables]
    fits = [fit for fit in found if fit is not None]
    if not fits:
        return Finding(Rule.ASSOCIATION, 1.0, str)
    sizes = [fit.tables.sum(axis=(1, 2)) for fit in fits]
    p_value = minimum_effect_tail(
        sum(fit.statistic for fit in fits),
        sum(fit.freedom for fit in fits),
        spec.minimum_effect * sum(float(n * m / (n + m)) for n, m in sizes),
        pair.overdispersion,
        pair.overdispersion_spread,
        known_by=cluster_freedom(pair),
    )
    most = max(fits, key=lambda fit: fit.statistic - fit.freedom)

    def words() -> str:
        tables, fitted, rows, columns = most.tables, most.fitted, most.rows, most.columns
        m = tables[1].sum()
        gap = (tables[1] - fitted[1]) / np.sqrt(np.maximum(fitted[1], 1.0))
        row, column = np.unravel_index(int(np.argmax(np.abs(gap))), gap.shape)
        more = "more" if gap[row, column] > 0 else "less"
        first, second = features
        left, right = _band(first, pair.first_groups, rows[row]), _band(second, pair.second_groups, columns[column])
        alone, share = percent(fitted[1][row, column] / m), percent(tables[1][row, column] / m)
        return f"{left} with {right} {more} often than either alone explains: {share} of the rows instead of {alone}"

    return Finding(Rule.ASSOCIATION, p_value, words)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Two tables without sparse groups, their expected counts with common odds ratios, and the statistic."""

    tables: Wide
    fitted: Wide
    rows: list[int]
    columns: list[int]
    statistic: float
    freedom: int


def _fit(tables: Wide, effect: float) -> _Fit | None:
    """Return the fit; None if the tables have too few groups."""
    tables, rows, columns = _filled(tables, effect)
    if min(len(rows), len(columns)) < _FEWEST_GROUPS:
        return None
    fitted = same_odds_ratios(tables)
    some = fitted > 0
    statistic = float(((tables[some] - fitted[some]) ** 2 / fitted[some]).sum())
    # cells that are empty in both tables do not count
    freedom = (len(rows) - 1) * (len(columns) - 1) - int((tables.sum(axis=0) == 0).sum())
    return None if freedom <= 0 else _Fit(tables, fitted, rows, columns, statistic, freedom)


def same_odds_ratios(tables: Wide) -> Wide:
    """Return the expected counts of two tables with their own margins and common odds ratios, shape (2, rows, columns).

    Example:
        >>> same_odds_ratios(np.array([[[4.0, 1.0], [1.0, 4.0]], [[8.0, 2.0], [2.0, 8.0]]])).round(6).tolist()[0]
        [[4.0, 1.0], [1.0, 4.0]]
    """
    fitted: Wide = np.ones_like(tables)
    for _ in range(_ROUNDS):
        before = fitted
        for axis in range(3):
            margin, current = tables.sum(axis=axis, keepdims=True), fitted.sum(axis=axis, keepdims=True)
            fitted = fitted * np.divide(margin, current, out=np.zeros_like(margin), where=current > 0)
        if np.abs(fitted - before).max() < _CLOSE * tables.sum():
            break
    return fitted


def _filled(tables: Wide, effect: float) -> tuple[Wide, list[int], list[int]]:
    """Drop sparse groups: in either table fewer independent rows than `MINIMUM_EXPECTED` times the other feature's groups."""
    rows, columns = list(range(tables.shape[1])), list(range(tables.shape[2]))
    while rows and columns:
        part = tables[:, rows][:, :, columns]
        by_row, by_column = part.sum(axis=2).min(axis=0) / effect, part.sum(axis=1).min(axis=0) / effect
        keep_rows = by_row >= MINIMUM_EXPECTED * len(columns)
        keep_columns = by_column >= MINIMUM_EXPECTED * len(rows)
        if keep_rows.all() and keep_columns.all():
            return part, rows, columns
        # one at a time: dropping a group lowers the requirement of the other feature's groups
        if by_row.min() * len(rows) <= by_column.min() * len(columns):
            rows.pop(int(np.argmin(by_row)))
        else:
            columns.pop(int(np.argmin(by_column)))
    return tables[:, :0, :0], [], []


def _band(feature: FeatureBaseline, groups: tuple[int, ...], group: int) -> str:
    cells = [cell for cell, of in enumerate(groups) if of == group]
    held = [cell for cell in cells if feature.counts[cell]] or cells
    names = layout(feature).names
    if len(held) == 1:
        return f"{feature.name} {names[held[0]]}"
    if feature.type == "category":
        more = "" if len(held) <= _NAMED else f" and {len(held) - _NAMED} more"
        return f"{feature.name} {', '.join(names[cell] for cell in held[:_NAMED])}{more}"
    low, high = held[0] - 1, held[-1]
    bounds = [f"from {number(feature.edges[low])}" if low >= 0 else "", f"up to {number(feature.edges[high])}"]
    if high == len(feature.edges):
        bounds.pop()
    return f"{feature.name} {' '.join(filter(None, bounds))}"
