"""Fit performance estimators to a labelled holdout, for rows without labels. numpy only.

Two estimators, both functions of counts, which can be added over any parts of a window:

- for a classification the share of positives in each of forty bins of the score; with the bins' counts it results in the expected
  confusion matrix and AUC (confidence-based performance estimation with measured instead of calibrated rates);
- for any loss that is a mean over rows a ridge regression of the row's loss on the indicators of the cells of all columns and of
  the prediction. Its mean over a window is linear in the counts of the cells: the generalised regression estimator.

Both assume that the share of positives and the loss within a cell are unchanged: they reflect changes of the inputs, but no change
of the relation between inputs and label (concept drift). Twenty jackknife replicates, each without one group of clusters, measure
the sampling variance of the holdout.

See: J. Bialek and others, Estimating Model Performance Under Covariate Shift Without Labels, arXiv 2401.08348 (2024), for CBPE and
its limits; C.-E. Saerndal, B. Swensson, J. Wretman, Model Assisted Survey Sampling (1992), 6.4, for the regression estimator;
J.-C. Deville, C.-E. Saerndal, Calibration estimators in survey sampling, JASA 87 (1992); K. Wolter, Introduction to Variance
Estimation (2007), 4, for the jackknife over groups of clusters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Estimator, ExpectedLoss, FeatureBaseline, ScoreRates
from mlops_runtime.monitor.counting.baseline_cells import (
    Cells,
    Coded,
    Column,
    LevelCells,
    Numbers,
    edges_of,
    number_cells,
    to_numbers,
)
from mlops_runtime.monitor.counting.score_cells import class_cells, output_cells, score_edges
from mlops_runtime.monitor.counting.tail_cells import tenths
from mlops_runtime.monitor.monitors.classification import Ranking, usable_rows
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.monitors.rows import Codes, Mask, Rows, Wide

GROUPS = 20
MINIMUM_ROWS = 200
# evenly spaced rows of a larger holdout: more would reduce the variance by less than that of the window
MAXIMUM_ROWS = 100_000
# each output's losses add 40 to 80 kB to a baseline that every counting function reads
MAXIMUM_OUTPUTS = 20
# cells with fewer labelled rows are thin
THIN = 30
_FEWEST_GROUPS = 2
_RIDGE = 1.0
_CLIP = 1e-15  # as in the measured log loss

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """The labelled rows of a holdout."""

    columns: Mapping[str, Column]  # values of all inputs, by column name
    rows: Rows  # predictions and labels, NaN if missing; for classes a label is the index of its class
    clusters: Codes | None = None  # code of each row's cluster. Default: rows are independent


def fit_estimator(baseline: Baseline, holdout: Holdout) -> Estimator | None:
    """Return the estimator of a holdout; None if performance cannot be estimated.

    That is, fewer than 200 rows have a prediction and a label, all rows belong to one cluster, or the model returns vectors or more
    than 20 outputs.

    Args:
        baseline: Has the cells of live rows and the model's target.
        holdout: Labelled rows that the model was not trained on.

    Example:
        >>> from dataclasses import replace
        >>> from mlops_runtime.monitor.counting.baseline import fit_baseline
        >>> x = np.arange(400.0)
        >>> baseline = fit_baseline({"x": x}, types={"x": "number"}, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> baseline = replace(baseline, target="regression")
        >>> found = fit_estimator(baseline, Holdout(columns={"x": x}, rows=Rows.of(x, x + 1)))
        >>> [(loss.name, round(loss.base + loss.effects[1], 1)) for loss in found.losses[:2]]
        [('absolute', 1.0), ('squared', 1.0)]
    """
    if baseline.target not in ("regression", "classification", "classes", "outputs"):
        return None
    if len(baseline.outputs or ()) > MAXIMUM_OUTPUTS:
        return None
    labels = holdout.rows.label.reshape(len(holdout.rows), -1)
    given = np.isfinite(holdout.rows.prediction.reshape(len(holdout.rows), -1)).all(axis=1)
    chosen = np.flatnonzero(given & np.isfinite(labels).all(axis=1) & _usable(holdout.rows, baseline))
    if len(chosen) > MAXIMUM_ROWS:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MAXIMUM_ROWS).astype(np.int64)]
    clusters = np.arange(len(chosen)) if holdout.clusters is None else holdout.clusters[chosen]
    clusters = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    groups = min(GROUPS, int(clusters.max(initial=-1)) + 1)
    if len(chosen) < MINIMUM_ROWS or groups < _FEWEST_GROUPS:
        return None
    drawn = _Drawn(clusters=clusters, group=clusters % groups, groups=groups)
    kept = np.zeros(len(holdout.rows), dtype=np.bool_)
    kept[chosen] = True
    rows, threshold = holdout.rows.where(kept), Target.of(baseline).threshold
    features = [f for f in baseline.features if f.name not in (baseline.left_out or {})]
    columns = [_column_cells(feature, _take(holdout.columns[feature.name], chosen)) for feature in features]
    scores, cells = _scores(rows, baseline, threshold)
    every = [*columns, *zip(cells, map(width, scores), strict=True)]
    alone = None
    if baseline.outputs is not None:
        losses = _of_outputs(rows, baseline.outputs, every, drawn)
    elif of_row := _losses(rows, baseline, threshold):
        losses = _fit(_laid_out(every), of_row, drawn)
        alone = _fit(_laid_out(every[-1:]), dict(list(of_row.items())[:1]), drawn)[0]
    else:
        losses = ()
    return Estimator(
        rows=len(chosen),
        groups=groups,
        columns=tuple(feature.name for feature in features),
        labelled=tuple(tuple(np.bincount(cell, minlength=size)[:size].tolist()) for cell, size in every),
        scores=tuple(_counted(score, cell) for score, cell in zip(scores, cells, strict=True)),
        losses=losses,
        alone=alone,
        rates=_rates(rows, baseline, scores, cells, drawn),
    )


def width(feature: FeatureBaseline) -> int:
    """Return the number of cells of a feature or a score, with the tail as one cell.

    Example:
        >>> width(FeatureBaseline(name="store", type="category", levels=("a",), tail=32, counts=(9, *[0] * 32, 0, 1)))
        4
    """
    return len(feature.counts) - max(0, (feature.tail or 0) - 1)


def as_wide(feature: FeatureBaseline, counts: Sequence[int]) -> Wide:
    """Return the counts of a feature with its tail as one cell.

    Example:
        >>> store = FeatureBaseline(name="store", type="category", levels=("a",), tail=2, counts=(9, 1, 2, 0, 1))
        >>> as_wide(store, store.counts).tolist()
        [9.0, 3.0, 0.0, 1.0]
    """
    found = np.array(counts, dtype=np.float64)
    tail = feature.tail or 0
    if tail <= 1:
        return found
    start = len(feature.levels)
    return np.concatenate([found[:start], [found[start : start + tail].sum()], found[start + tail :]])


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Cluster of each row, and its group of clusters, which a jackknife replicate leaves out together."""

    clusters: Codes
    group: Codes
    groups: int


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cell of each row of a column, number of cells, and index of the first cell's effect."""

    cells: Cells
    size: int
    start: int


def _laid_out(columns: Sequence[tuple[Cells, int]]) -> list[_Cells]:
    """Lay out columns one after another, after the constant; values that live rows cannot have belong to the last cell, null."""
    starts = np.cumsum([1, *(size for _, size in columns)]).tolist()
    return [
        _Cells(np.minimum(cells, size - 1), size, start) for (cells, size), start in zip(columns, starts, strict=False)
    ]


def _usable(rows: Rows, baseline: Baseline) -> Mask:
    """Return which rows can be evaluated, by the rules for live labels."""
    places = usable_rows(Rows.of(rows.prediction, rows.label), baseline).call  # each row is its own call
    found = np.zeros(len(rows), dtype=np.bool_)
    found[places] = True
    return found


def _take(values: Column, chosen: Cells) -> Column:
    if isinstance(values, Coded):
        return values[chosen]
    return np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)[chosen]


def _column_cells(feature: FeatureBaseline, values: Column) -> tuple[Cells, int]:
    """Return each row's cell and the number of cells, with tail cells only if none of them is thin."""
    if feature.tail_edges:
        cells = _feature_cells(feature, values)
        inner = np.searchsorted(feature.edges, feature.tail_edges)
        labelled = np.bincount(cells, minlength=len(feature.counts))
        if min(labelled[inner].min(), labelled[inner + 1].min()) >= THIN:
            return cells, width(feature)
        feature = tenths(feature)
    return _feature_cells(feature, values), width(feature)


def _feature_cells(feature: FeatureBaseline, values: Column) -> Cells:
    """Return each row's cell, with the tail as one cell and one more cell for invalid values."""
    if feature.type == "number":
        return number_cells(to_numbers(values), edges_of(feature))
    cells, tail, start = LevelCells(feature).of(values), feature.tail or 0, len(feature.levels)
    if tail <= 1:
        return cells
    return np.where(cells < start, cells, np.maximum(start, cells - tail + 1))


def _scores(rows: Rows, baseline: Baseline, threshold: float) -> tuple[list[FeatureBaseline], list[Cells]]:
    narrow, every = rows.prediction.astype(np.float32), np.ones(len(rows), dtype=np.bool_)
    if baseline.outputs is not None:
        scores = [_score(f"prediction/{name}", narrow[:, place]) for place, name in enumerate(baseline.outputs)]
        return scores, output_cells(narrow, every, tuple(scores))
    if baseline.classes is not None:
        scores = [_score(name, narrow[:, place], halves=2) for place, name in enumerate(baseline.classes)]
        return scores, class_cells(narrow, every, tuple(scores))
    score = _score("prediction", narrow, threshold=threshold if baseline.target == "classification" else None)
    return [score], [number_cells(narrow, edges_of(score))]


def _score(name: str, values: Numbers, *, threshold: float | None = None, halves: int = 1) -> FeatureBaseline:
    """Return a score whose cells are still empty; that of a class has two halves."""
    edges = score_edges(values, threshold)
    counts = (0,) * (halves * (len(edges) + 1) + 1)
    return FeatureBaseline(name=name, type="number", edges=edges, counts=counts, bounded=True)


def _counted(score: FeatureBaseline, cells: Cells) -> FeatureBaseline:
    return replace(score, counts=tuple(np.bincount(cells, minlength=len(score.counts)).tolist()))


def _losses(rows: Rows, baseline: Baseline, threshold: float) -> dict[str, Wide]:
    """Return the losses of each row, the primary one first; none for classes, whose rates suffice."""
    if baseline.classes is not None:
        return {}
    if baseline.target == "classification":
        right = np.where(rows.label == 1, rows.prediction, 1 - rows.prediction)
        return {
            "wrong": ((rows.prediction > threshold) != (rows.label == 1)).astype(np.float64),
            "squared": (rows.prediction - rows.label) ** 2,
            "log_loss": -np.log(np.clip(right, _CLIP, 1.0)),
        }
    return _errors(rows.prediction, rows.label)


def _errors(prediction: Wide, label: Wide, suffix: str = "") -> dict[str, Wide]:
    error = prediction - label
    return {f"absolute{suffix}": np.abs(error), f"squared{suffix}": error**2, f"actual{suffix}": np.abs(label)}


def _of_outputs(
    rows: Rows, outputs: Sequence[str], columns: Sequence[tuple[Cells, int]], drawn: _Drawn
) -> tuple[ExpectedLoss, ...]:
    """Return the losses of each output by the cells of the features and of its own score, as ``absolute/<output>``."""
    features = columns[: len(columns) - len(outputs)]
    found: list[ExpectedLoss] = []
    for place, name in enumerate(outputs):
        of_row = _errors(rows.prediction[:, place], rows.label[:, place], f"/{name}")
        found += _fit(_laid_out([*features, columns[len(features) + place]]), of_row, drawn)
    return tuple(found)


def _fit(columns: Sequence[_Cells], losses: Mapping[str, Wide], drawn: _Drawn) -> tuple[ExpectedLoss, ...]:
    """Fit each loss, and each product of two losses, as a sum over the cells of columns."""
    names = list(losses)
    pairs = [(first, second) for place, first in enumerate(names) for second in names[place:]]
    wanted = np.stack([*losses.values(), *(losses[first] * losses[second] for first, second in pairs)], axis=1)
    parts = [np.flatnonzero(drawn.group == group) for group in range(drawn.groups)]
    gram, moments = _equations(columns, wanted, np.arange(len(wanted)))
    whole = _solve(gram, moments)
    # the equations of a group are computed again instead of stored, since they are large for many columns
    without = (_equations(columns, wanted[:, : len(names)], part) for part in parts)
    spread = np.stack([_solve(gram - less, moments[:, : len(names)] - lost) for less, lost in without])
    spread = (spread - spread.mean(axis=0)) * np.sqrt((drawn.groups - 1) / drawn.groups)
    fitted = np.tile(whole[0, : len(names)], (len(wanted), 1))
    for column in columns:
        fitted += whole[column.start + column.cells, : len(names)]
    residuals = wanted[:, : len(names)] - fitted
    return (
        *(
            ExpectedLoss(
                name=name,
                base=_short(whole[0, place], 7),
                effects=tuple(_short(value, 7) for value in whole[1:, place]),
                deviations=tuple(tuple(_short(value, 4) for value in line) for line in spread[:, :, place]),
                design_effect=_design_effect(residuals[:, place], drawn),
            )
            for place, name in enumerate(names)
        ),
        *(
            ExpectedLoss(
                name="*".join(pair),
                base=_short(whole[0, place], 7),
                effects=tuple(_short(value, 7) for value in whole[1:, place]),
            )
            for place, pair in enumerate(pairs, start=len(names))
        ),
    )


def _equations(columns: Sequence[_Cells], wanted: Wide, part: Cells) -> tuple[Matrix, Matrix]:
    """Return the normal equations of a constant and the cells' indicators: contingency tables of each two columns."""
    size = columns[-1].start + columns[-1].size
    gram, moments = np.zeros((size, size)), np.zeros((size, wanted.shape[1]))
    of_part = wanted[part]
    gram[0, 0], moments[0] = len(part), of_part.sum(axis=0)
    cells = [column.cells[part] for column in columns]
    for place, (one, mine) in enumerate(zip(columns, cells, strict=True)):
        rows = slice(one.start, one.start + one.size)
        gram[0, rows] = gram[rows, 0] = np.bincount(mine, minlength=one.size)
        for loss in range(wanted.shape[1]):
            moments[rows, loss] = np.bincount(mine, weights=of_part[:, loss], minlength=one.size)
        for other, theirs in zip(columns[place:], cells[place:], strict=True):
            table = np.bincount(mine * other.size + theirs, minlength=one.size * other.size)
            across = slice(other.start, other.start + other.size)
            gram[rows, across] = table.reshape(one.size, other.size)
            gram[across, rows] = gram[rows, across].T
    return gram, moments


def _solve(gram: Matrix, moments: Matrix) -> Matrix:
    penalty = np.full(len(gram), _RIDGE)
    penalty[0] = 0.0
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), moments))


def _rates(
    rows: Rows, baseline: Baseline, scores: Sequence[FeatureBaseline], cells: Sequence[Cells], drawn: _Drawn
) -> tuple[ScoreRates, ...]:
    """Return the labelled rows and positives of each score by group; empty for a regression."""
    if baseline.classes is None and baseline.target != "classification":
        return ()
    found = []
    for place, (score, cell) in enumerate(zip(scores, cells, strict=True)):
        positive = rows.label == (1 if baseline.classes is None else place)
        size = len(score.counts) - 1
        counted = np.bincount(drawn.group * size + cell, minlength=drawn.groups * size).reshape(-1, size)
        held = np.bincount((drawn.group * size + cell)[positive], minlength=drawn.groups * size).reshape(-1, size)
        share = held.sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
        found.append(
            ScoreRates(
                rows=tuple(map(tuple, counted.tolist())),
                positives=tuple(map(tuple, held.tolist())),
                area_lost=_area_lost(rows, cell) if baseline.classes is None else None,
                design_effect=_design_effect(positive - share[cell], drawn),
            )
        )
    return tuple(found)


def _area_lost(rows: Rows, cells: Cells) -> float | None:
    """Return the AUC of the scores minus the AUC of their cells."""
    exact, binned = _area(rows.prediction, rows.label), _area(cells.astype(np.float64), rows.label)
    return None if exact is None or binned is None else _short(exact - binned, 7)


def _area(score: Wide, label: Wide) -> float | None:
    area = float(Ranking(Rows.of(score, label)).areas(np.ones((1, len(score))))[0][0])
    return area if np.isfinite(area) else None


def _design_effect(residuals: Wide, drawn: _Drawn) -> float:
    """Return the design effect of clustered residuals, at least 1."""
    total = float((residuals**2).sum())
    sums = np.bincount(drawn.clusters, weights=residuals)
    return max(1.0, _short(float((sums**2).sum()) / total, 4)) if total > 0 else 1.0


def _short(value: float, digits: int) -> float:
    """Round a number to a few significant digits, since every counting function reads the baseline."""
    return float(f"{value:.{digits - 1}e}") + 0.0
