"""Charts of the page: a feature's distribution and history, a metric's interval. Coordinates only; the template draws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlops_runtime.contracts.monitor import TESTED, Baseline, Counts, FeatureBaseline, PairBaseline, PairCounts
from mlops_runtime.contracts.monitor_report import Measured, MonitorReport
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, conditioned, counted_features, layout, plain
from mlops_runtime.monitor.wording import number

SPARK_WIDTH, SPARK_HEIGHT = 132, 28
_PAD = 4
# minimum top of the axis: a PSI of 0.25 is a shift of the mean by half a standard deviation
_TOP_PSI = 0.25


@dataclass(frozen=True, slots=True)
class Dot:
    """One report in a feature's history; ``drifted`` is its verdict."""

    x: float
    y: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class Spark:
    """A feature's history: dots ordered by time, the points of the line, and a description."""

    dots: tuple[Dot, ...]
    line: str
    words: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Positions of a metric's value, interval, baseline and limit in percent of the width; None if missing."""

    value: float
    low: float | None
    high: float | None
    baseline: float | None
    limit: float | None


def spark(name: str, reports: Sequence[MonitorReport]) -> Spark | None:
    """Return a feature's PSI over reports on a square-root scale, proportional to the shift in standard deviations.

    Args:
        name: The feature's name.
        reports: Earlier reports and this one, oldest first; reports without a test of the feature leave a gap.

    Returns:
        None with fewer than two reports that tested the feature.
    """
    found = [
        (i, f) for i, report in enumerate(reports) for f in report.drift.features if f.name == name and not f.untested
    ]
    if len(found) < 2:
        return None
    top = max(_TOP_PSI, *(feature.psi for _, feature in found))
    step = (SPARK_WIDTH - 2 * _PAD) / max(1, len(reports) - 1)
    dots = tuple(
        Dot(
            x=round(_PAD + index * step, 1),
            y=round(SPARK_HEIGHT - _PAD - (SPARK_HEIGHT - 2 * _PAD) * math.sqrt(max(0.0, feature.psi) / top), 1),
            drifted=feature.drifted,
        )
        for index, feature in found
    )
    values = ", ".join(number(feature.psi) for _, feature in found[-8:])
    words = f"PSI in the last {min(8, len(found))} reports: {values}; drifted in {sum(d.drifted for d in dots)} of {len(dots)}"
    return Spark(dots=dots, line=" ".join(f"{dot.x},{dot.y}" for dot in dots), words=words)


def marks(measured: Measured) -> Marks | None:
    """Return the positions of a metric's marks; None without a value, or if a number is infinite.

    Example:
        >>> marks(Measured(name="wape", value=0.5, low=0.4, high=0.6, baseline=0.4))
        Marks(value=50.0, low=8.0, high=92.0, baseline=8.0, limit=None)
    """
    numbers = (measured.value, measured.low, measured.high, measured.baseline, measured.limit)
    known = [each for each in numbers if each is not None]
    if measured.value is None or not all(map(math.isfinite, known)):
        return None
    least, most = min(known), max(known)

    def place(value: float | None) -> float | None:
        if value is None:
            return None
        return 50.0 if most == least else round(8 + 84 * (value - least) / (most - least), 1)

    value = place(measured.value)
    return Marks(
        value=50.0 if value is None else value,
        low=place(measured.low),
        high=place(measured.high),
        baseline=place(measured.baseline),
        limit=place(measured.limit),
    )


def in_order(report: MonitorReport, history: Sequence[MonitorReport], most: int) -> list[MonitorReport]:
    """Return the newest earlier reports and the report itself, oldest first, one for each end of a window.

    Args:
        history: Other reports, in any order; later ones and the report itself are ignored.
        most: Maximum number, including the report.
    """
    earlier = {each.window_until: each for each in history if each.window_until < report.window_until}
    return [*(earlier[at] for at in sorted(earlier)[-(most - 1) :]), report]


def was_tested(report: MonitorReport) -> bool:
    """Return whether a report contains a test for drift."""
    return report.drift.state in TESTED


MOST_LEVELS = 16  # levels shown individually
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """One row of a distribution."""

    label: str  # name of the cell: a bin, a value, a level
    kind: str  # `cell`, `other` (rare levels), `new`, `outside` (the baseline's range) or `null`
    before: float  # share in the baseline
    after: float  # share in the window
    moved: bool = False  # whether the row accounts for a large part of the change


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCell:
    """Shares of one cell of a pair's table, in the baseline and in the window."""

    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """Joint distribution of two features: groups of the first as rows, groups of the second as columns."""

    first: str
    second: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[PairCell, ...], ...]


def compared(baseline: Baseline, counts: Counts) -> Mapping[str, Comparison]:
    """Return the comparison of each feature with its baseline, by name: by strata if the baseline has conditions.

    Raises:
        ValueError: If the counts do not have the baseline's features and cells.
    """
    pairs = counted_features(baseline, counts)
    wrong = [a.name for a, b in pairs if a.name != b.name or len(a.counts) != len(b.counts)]
    if wrong:
        raise ValueError(f"counts must have the baseline's cells, got others for {', '.join(map(repr, wrong))}")
    found = {feature.name: plain(feature, counted) for feature, counted in pairs}
    if baseline.strata and counts.strata:
        # a feature without rows in known strata stays compared without conditions
        found |= {each.feature.name: each for each in conditioned(baseline, counts) if each.observed.any()}
    return found


def distribution(baseline: Baseline, counts: Counts, name: str) -> tuple[CellRow, ...]:
    """Return a feature's distributions in baseline and window; empty if they cannot be compared."""
    try:
        comparison = compared(baseline, counts).get(name)
    except ValueError:
        return ()
    return () if comparison is None else cell_rows(comparison)


def cell_rows(comparison: Comparison) -> tuple[CellRow, ...]:
    """Return a feature's distribution; rare levels are merged into one row, and special cells that are empty on both sides omitted.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline, FeatureCounts
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(50, 50, 0))
        >>> rows = cell_rows(plain(price, FeatureCounts(name="price", counts=(10, 80, 10))))
        >>> [(row.label, row.before, row.after) for row in rows]
        [('below 2', 0.5, 0.1), ('2 and above', 0.5, 0.8), ('nulls', 0.0, 0.1)]
    """
    feature, cells = comparison.feature, layout(comparison.feature)
    before = _shares(comparison.expected.tolist())
    after = _shares(comparison.observed.tolist())
    null = len(before) - 1
    rare, outside = set(cells.rare), set(cells.outside)
    rows = []
    for index in range(len(before)):
        if index in rare:
            continue
        kind = "null" if index == null else "new" if index == cells.new else "outside" if index in outside else "cell"
        label = feature.levels[index] if index < len(feature.levels) else cells.names[index]
        if kind == "outside":
            label = f"{label}, out of range"
        rows.append(CellRow(label=label, kind=kind, before=before[index], after=after[index]))
    levels = [row for row in rows if row.kind == "cell"]
    if feature.type == "category":
        hidden = {id(row) for row in sorted(levels, key=lambda r: -max(r.before, r.after))[MOST_LEVELS:]}
        merged = [row for row in rows if id(row) in hidden]
        other = CellRow(
            label=f"other levels, {len(merged)} of them frequent" if merged else "other levels",
            kind="other",
            before=sum(before[i] for i in rare) + sum(row.before for row in merged),
            after=sum(after[i] for i in rare) + sum(row.after for row in merged),
        )
        shown = [row for row in rows if row.kind == "cell" and id(row) not in hidden]
        rows = [*shown, other, *(row for row in rows if row.kind != "cell")]
    return _marked([row for row in rows if row.kind == "cell" or row.before or row.after])


def pair_table(pair: PairBaseline, counts: PairCounts, features: Mapping[str, FeatureBaseline]) -> PairTable:
    """Return a pair's joint distribution.

    Raises:
        ValueError: If the window's table has another shape.
    """
    width = max(pair.second_groups) + 1
    if len(pair.counts) != len(counts.counts):
        raise ValueError(
            f"pair {pair.first} x {pair.second} must have {len(pair.counts)} cells, got {len(counts.counts)}"
        )
    before, after = (_shares(side.counts) for side in (pair, counts))
    cells = [PairCell(before=a, after=b) for a, b in zip(before, after, strict=True)]
    return PairTable(
        first=pair.first,
        second=pair.second,
        rows=_group_names(features.get(pair.first), pair.first_groups),
        columns=_group_names(features.get(pair.second), pair.second_groups),
        cells=tuple(tuple(cells[start : start + width]) for start in range(0, len(cells), width)),
    )


def _group_names(feature: FeatureBaseline | None, groups: tuple[int, ...]) -> tuple[str, ...]:
    names = []
    for group in range(max(groups) + 1):
        members = [cell for cell, of in enumerate(groups) if of == group]
        if group == max(groups):
            names.append("null")
        elif feature is None:
            names.append(f"group {group + 1}")
        else:
            cells, levels = layout(feature).names, feature.levels
            # empty cells at a group's ends, such as out of range, are not named
            held = [cell for cell in members if feature.counts[cell]] or members
            known = [levels[cell] if cell < len(levels) else cells[cell] for cell in held]
            names.append(known[0] if len(known) == 1 else f"{known[0]} … {known[-1]}")
    return tuple(names)


def _marked(rows: list[CellRow]) -> tuple[CellRow, ...]:
    """Mark the rows that contribute more than half of the largest contribution to the PSI."""
    parts = [_psi_part(row.before, row.after) for row in rows]
    most = max(parts, default=0.0)
    # 1e-4 is a hundredth of the PSI of a shift by 0.1 standard deviations: negligible
    least = max(1e-4, _HALF * most)
    return tuple(replace(row, moved=part > least) for row, part in zip(rows, parts, strict=True))


def _psi_part(before: float, after: float) -> float:
    p, q = max(before, 1e-4), max(after, 1e-4)
    return (q - p) * math.log(q / p)


def _shares(counts: Sequence[float]) -> list[float]:
    total = math.fsum(counts)
    return [count / total for count in counts] if total else [0.0] * len(counts)
