"""A feature's distribution as rows that people read: what a cell is, its share in the baseline, its share in the window."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mlops_runtime.contracts.monitor import Baseline, Counts, PairBaseline, PairCounts
from mlops_runtime.monitor.drift.comparison import Comparison, conditioned, plain
from mlops_runtime.monitor.drift.layout import layout

MOST_LEVELS = 16  # that are shown one by one
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """One row of a distribution.

    Args:
        label: What the cell is: a bin, a value, a level.
        kind: ``cell``, ``other`` (rare levels), ``new``, ``outside`` (the baseline's range) or ``null``.
        before: Its share of the baseline.
        after: Its share of the window.
        moved: Whether most of the change is here.
    """

    label: str
    kind: str
    before: float
    after: float
    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCell:
    """One cell of a pair's table, by its two groups."""

    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """Two features' joint distribution: a row a group of the first, a column a group of the second."""

    first: str
    second: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[PairCell, ...], ...]


def compared(baseline: Baseline, counts: Counts) -> Mapping[str, Comparison]:
    """Return each feature of the window beside its baseline, by name: given the conditions, where the baseline has some.

    Args:
        baseline: What the counts were counted against.
        counts: The window's.

    Raises:
        ValueError: If the counts do not have the baseline's features and cells.
    """
    pairs = list(zip(baseline.features, counts.features, strict=True))
    for extra, counted in ((baseline.prediction, counts.prediction), (baseline.null_patterns, counts.null_patterns)):
        if extra is not None and counted is not None:
            pairs.append((extra, counted))
    wrong = [a.name for a, b in pairs if a.name != b.name or len(a.counts) != len(b.counts)]
    if wrong:
        raise ValueError(f"counts must have the baseline's cells, got others for {', '.join(map(repr, wrong))}")
    found = {feature.name: plain(feature, counted) for feature, counted in pairs}
    if baseline.strata and counts.strata:
        # a window of uncovered conditions alone has nothing to be compared with
        given = {each.feature.name: each for each in conditioned(baseline, counts) if each.observed.any()}
        found |= given
    return found


def cell_rows(comparison: Comparison) -> tuple[CellRow, ...]:
    """Return a feature's distribution; rare levels are one row, empty cells that hold nothing on either side none.

    Args:
        comparison: The window beside the baseline.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline, FeatureCounts
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(50, 50, 0))
        >>> rows = cell_rows(plain(price, FeatureCounts(name="price", counts=(10, 80, 10))))
        >>> [(row.label, row.before, row.after) for row in rows]
        [('below 2', 0.5, 0.1), ('2 and above', 0.5, 0.8), ('nulls', 0.0, 0.1)]
    """
    feature, cells = comparison.feature, layout(comparison.feature)
    before = _shares([float(count) for count in comparison.expected])
    after = _shares([float(count) for count in comparison.observed])
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


def pair_table(pair: PairBaseline, counts: PairCounts, features: Mapping[str, Comparison]) -> PairTable:
    """Return a pair's joint distribution.

    Args:
        pair: The baseline's table.
        counts: The window's.
        features: Comparisons by name: what the groups' cells are called.

    Raises:
        ValueError: If the window's table has another shape.
    """
    width = max(pair.second_groups) + 1
    if len(pair.counts) != len(counts.counts):
        raise ValueError(
            f"pair {pair.first} x {pair.second} must have {len(pair.counts)} cells, got {len(counts.counts)}"
        )
    before, after = (_shares([float(count) for count in side.counts]) for side in (pair, counts))
    cells = [PairCell(before=a, after=b) for a, b in zip(before, after, strict=True)]
    return PairTable(
        first=pair.first,
        second=pair.second,
        rows=_group_names(features.get(pair.first), pair.first_groups),
        columns=_group_names(features.get(pair.second), pair.second_groups),
        cells=tuple(tuple(cells[start : start + width]) for start in range(0, len(cells), width)),
    )


def _group_names(comparison: Comparison | None, groups: tuple[int, ...]) -> tuple[str, ...]:
    names = []
    for group in range(max(groups) + 1):
        members = [cell for cell, of in enumerate(groups) if of == group]
        if group == max(groups):
            names.append("null")
        elif comparison is None:
            names.append(f"group {group + 1}")
        else:
            cells = layout(comparison.feature).names
            levels = comparison.feature.levels
            # an empty cell at a group's end, such as what lies out of range, names nothing
            held = [cell for cell in members if comparison.feature.counts[cell]] or members
            known = [levels[cell] if cell < len(levels) else cells[cell] for cell in held]
            names.append(known[0] if len(known) == 1 else f"{known[0]} … {known[-1]}")
    return tuple(names)


def _marked(rows: list[CellRow]) -> tuple[CellRow, ...]:
    """Mark the rows that make most of the change: at least half as much of the PSI as the largest part."""
    parts = [_psi_part(row.before, row.after) for row in rows]
    most = max(parts, default=0.0)
    # a hundredth of what 0.1 standard deviations make is nobody's business
    return tuple(
        CellRow(
            label=row.label, kind=row.kind, before=row.before, after=row.after, moved=part > max(1e-4, _HALF * most)
        )
        for row, part in zip(rows, parts, strict=True)
    )


def _psi_part(before: float, after: float) -> float:
    p, q = max(before, 1e-4), max(after, 1e-4)
    return (q - p) * math.log(q / p)


def _shares(counts: list[float]) -> list[float]:
    total = math.fsum(counts)
    return [count / total for count in counts] if total else [0.0] * len(counts)
