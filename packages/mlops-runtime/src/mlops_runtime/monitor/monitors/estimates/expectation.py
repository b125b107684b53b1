"""Expected performance of a window: metrics with intervals, from the counts of its cells and a fitted estimator. numpy only.

A 95 % interval predicts the metric of the window's labels: it adds the variance of the holdout, from jackknife replicates, and the
sampling variance of the window's labels times the design effect of clusters, and uses Student's t with one degree of freedom less
than groups.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Counts, Estimator, ExpectedLoss, FeatureBaseline
from mlops_runtime.contracts.monitor_report import Measured
from mlops_runtime.monitor.counting.baseline_cells import Cells, edges_of
from mlops_runtime.monitor.counting.tail_cells import of_tenths, tenths
from mlops_runtime.monitor.monitors.estimates.estimator_fit import as_wide
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.monitors.quality_metrics import metric_of
from mlops_runtime.monitor.monitors.rows import Wide

# the 97.5 % points of Student's t with 1 to 19 degrees of freedom
_T_POINTS = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
_STEP = 1e-3  # step of numerical derivatives, in positives

Formula = Callable[[Wide], Wide]


@dataclass(frozen=True, slots=True)
class Shown:
    """One column of a window: name, baseline, rows of the window in each cell, and labelled rows of the holdout."""

    name: str
    feature: FeatureBaseline
    rows: Wide
    labelled: Wide

    @property
    def shares(self) -> Wide:
        """The window's share of each cell."""
        return self.rows / max(1.0, float(self.rows.sum()))


def shown_columns(estimator: Estimator, baseline: Baseline, counts: Counts) -> list[Shown]:
    """Return each column of the estimator, then each score, with the window's counts."""
    features = {feature.name: feature for feature in baseline.features}
    counted = {feature.name: feature.counts for feature in counts.features}
    pairs = [(features[name], counted[name]) for name in estimator.columns]
    scores = counts.scores or tuple(tuple(0 for _ in score.counts) for score in estimator.scores)
    pairs += zip(estimator.scores, scores, strict=True)
    return [
        _shown(*pair, np.array(rows, dtype=np.float64)) for pair, rows in zip(pairs, estimator.labelled, strict=True)
    ]


def _shown(feature: FeatureBaseline, counts: Sequence[int], labelled: Wide) -> Shown:
    rows = as_wide(feature, counts)
    if len(rows) > len(labelled):  # the estimator has no tail cells
        feature, rows = tenths(feature), of_tenths(feature, rows)
    return Shown(feature.name, feature, rows, labelled)


def predictions_of(counts: Counts) -> int:
    """Return the number of a window's predictions that are numbers and so have a cell."""
    return 0 if not counts.scores else sum(counts.scores[0][:-1])


def expected_metrics(estimator: Estimator, baseline: Baseline, counts: Counts) -> tuple[Measured, ...]:
    """Return the expected metrics of a window's predictions, with the holdout's; the first one is the primary metric.

    Regression: WAPE, MAE and RMSE. Classification: AUC, F1, precision, recall, accuracy, Brier score and log loss. Classes: macro
    recall and accuracy. Several outputs: the mean WAPE, then WAPE and MAE of each. Undefined metrics are omitted.

    Args:
        estimator: The estimator fitted to the holdout.
        baseline: The estimator's baseline.
        counts: The window's counts, with at least one prediction.
    """
    rows = predictions_of(counts)
    columns = shown_columns(estimator, baseline, counts)
    found = [*_of_rates(estimator, baseline, columns), *_of_losses(estimator, baseline, columns, rows)]
    return tuple(
        _measured(name, value, deviation, estimator.groups, rows=rows, holdout=baseline.quality)
        for name, value, deviation in found
        if np.isfinite(value) and np.isfinite(deviation)
    )


def other_column(estimator: Estimator, baseline: Baseline, counts: Counts) -> str | None:
    """Return the column that changes the expected loss most, if an estimate from the prediction alone disagrees; else None.

    It disagrees if its distance from the estimate of all columns exceeds the sum of both intervals' half-widths.
    """
    if estimator.alone is None:
        return None
    columns, rows = shown_columns(estimator, baseline, counts), predictions_of(counts)
    losses, first = {loss.name: loss for loss in estimator.losses}, estimator.losses[0]
    at, own = _design(columns), np.concatenate([[1.0], columns[-1].shares])
    reach = _T_POINTS[estimator.groups - 2] * _deviation({first.name: 1.0}, losses, at, rows)
    of_holdout = np.array(estimator.alone.deviations) @ own
    its_reach = _T_POINTS[estimator.groups - 2] * float((of_holdout**2).sum()) ** 0.5
    if abs(_mean(first, at) - _mean(estimator.alone, own)) <= reach + its_reach:
        return None
    moves, start = {}, 0
    effects = np.array(first.effects)
    for column in columns[:-1]:
        stop = start + len(column.rows)
        before = column.labelled / max(1.0, float(column.labelled.sum()))
        moves[column.name] = abs(float((column.shares - before) @ effects[start:stop]))
        start = stop
    return max(moves, key=lambda name: moves[name], default=None)


def _measured(
    name: str, value: float, deviation: float, groups: int, *, rows: int, holdout: Mapping[str, float]
) -> Measured:
    half = _T_POINTS[groups - 2] * deviation
    least, most = (0.0, 1.0) if _is_share(name) else (0.0, np.inf)
    return Measured(
        name=name,
        value=float(np.clip(value, least, most)),
        low=float(np.clip(value - half, least, most)),
        high=float(np.clip(value + half, least, most)),
        baseline=holdout.get(name),
        rows=rows,
    )


def _is_share(name: str) -> bool:
    _, allowed, _ = metric_of(name).limit
    return allowed == "from 0 up to 1"


def _design(columns: Sequence[Shown]) -> Wide:
    """Return the window as a row of the regression's design matrix: the constant, then the share of each cell."""
    return np.concatenate([[1.0], *(column.shares for column in columns)])


def _of_losses(
    estimator: Estimator, baseline: Baseline, columns: Sequence[Shown], rows: int
) -> Iterator[tuple[str, float, float]]:
    """Yield name, value and standard deviation of each metric that is a mean over rows, or a ratio of two."""
    losses = {loss.name: loss for loss in estimator.losses}
    if not losses:
        return
    if baseline.outputs is not None:
        yield from _of_each_output(losses, baseline.outputs, columns, rows)
        return
    at = _design(columns)
    means = {name: _mean(loss, at) for name, loss in losses.items()}

    def deviation(weights: Mapping[str, float]) -> float:
        return _deviation(weights, losses, at, rows)

    if baseline.target == "classification":
        yield "accuracy", 1 - means["wrong"], deviation({"wrong": 1.0})
        yield "brier", means["squared"], deviation({"squared": 1.0})
        yield "log_loss", means["log_loss"], deviation({"log_loss": 1.0})
        return
    yield from _errors(losses, at, rows)
    if means["squared"] > 0:
        rmse = means["squared"] ** 0.5
        yield "rmse", rmse, deviation({"squared": 0.5 / rmse})


def _errors(
    losses: Mapping[str, ExpectedLoss], at: Wide, rows: int, suffix: str = ""
) -> Iterator[tuple[str, float, float]]:
    """Yield WAPE, if defined, and MAE of a regression or of one output."""
    absolute, actual = f"absolute{suffix}", f"actual{suffix}"
    error, size = _mean(losses[absolute], at), _mean(losses[actual], at)
    if size > 0:
        wape = error / size
        yield f"wape{suffix}", wape, _deviation({absolute: 1 / size, actual: -wape / size}, losses, at, rows)
    yield f"mae{suffix}", error, _deviation({absolute: 1.0}, losses, at, rows)


def _of_each_output(
    losses: Mapping[str, ExpectedLoss], outputs: Sequence[str], columns: Sequence[Shown], rows: int
) -> Iterator[tuple[str, float, float]]:
    """Yield the mean of the outputs' WAPEs, then each metric of each output.

    The standard deviation of the mean is the mean of theirs, an upper bound that is reached if errors are perfectly correlated.
    """
    features = columns[: len(columns) - len(outputs)]
    found: list[tuple[str, float, float]] = []
    for place, name in enumerate(outputs):
        at = _design([*features, columns[len(features) + place]])
        found += _errors(losses, at, rows, f"/{name}")
    wapes = [(value, deviation) for name, value, deviation in found if name.startswith("wape/")]
    if len(wapes) == len(outputs):
        value, deviation = np.mean(wapes, axis=0).tolist()
        yield "wape", value, deviation
    yield from sorted(found, key=lambda metric: not metric[0].startswith("wape/"))


def _mean(loss: ExpectedLoss, at: Wide) -> float:
    return float(at @ np.array([loss.base, *loss.effects]))


def _deviation(weights: Mapping[str, float], losses: Mapping[str, ExpectedLoss], at: Wide, rows: int) -> float:
    """Return the standard deviation of a weighted sum of mean losses, from holdout and window labels.

    Args:
        weights: Weight of each loss.
        losses: All losses and their products.
        at: The window's row of the design matrix.
        rows: Number of the window's predictions.
    """
    replicates = sum(weight * (np.array(losses[name].deviations) @ at) for name, weight in weights.items())
    means = {name: _mean(losses[name], at) for name in weights}
    spread = sum(
        one * other * (_mean(_product(first, second, losses), at) - means[first] * means[second])
        for first, one in weights.items()
        for second, other in weights.items()
    )
    effect = max(losses[name].design_effect for name in weights)
    return float(np.sqrt((np.asarray(replicates) ** 2).sum() + effect * max(0.0, spread) / max(1, rows)))


def _product(first: str, second: str, losses: Mapping[str, ExpectedLoss]) -> ExpectedLoss:
    return losses.get(f"{first}*{second}") or losses[f"{second}*{first}"]


def _of_rates(estimator: Estimator, baseline: Baseline, columns: Sequence[Shown]) -> Iterator[tuple[str, float, float]]:
    """Yield name, value and standard deviation of each metric of the expected confusion matrix."""
    if not estimator.rates:
        return
    window = np.concatenate([column.rows[:-1] for column in columns[len(estimator.columns) :]])
    labelled = np.concatenate([np.array(rates.rows, dtype=np.float64) for rates in estimator.rates], axis=1)
    positives = np.concatenate([np.array(rates.positives, dtype=np.float64) for rates in estimator.rates], axis=1)
    ends = np.cumsum([len(score.counts) - 1 for score in estimator.scores])
    formulas = _formulas(estimator, baseline, window, ends)
    # for classes, rows predicted as the class are separate from the others
    parts = ends if baseline.classes is None else np.sort(np.concatenate([ends, ends - np.diff(ends, prepend=0) // 2]))
    share = _shares(labelled.sum(axis=0), positives.sum(axis=0), parts)
    replicates = np.stack(
        [
            _shares(labelled.sum(axis=0) - n, positives.sum(axis=0) - k, parts)
            for n, k in zip(labelled, positives, strict=True)
        ]
    )
    expected = window * share
    effect = max(rates.design_effect for rates in estimator.rates)
    drawn = np.flatnonzero(window)
    moved = np.tile(expected, (len(drawn), 1))
    moved[np.arange(len(drawn)), drawn] += _STEP
    groups = estimator.groups
    for name, formula in formulas.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(formula(expected[np.newaxis])[0])
            slopes = (formula(moved) - value) / _STEP
            others = formula(window * replicates)
        chances = expected[drawn]
        if baseline.classes is None:
            of_labels = effect * float((slopes**2 * chances * (1 - share[drawn])).sum())
        else:  # a row's label is exactly one of the classes: multinomial variance
            of_labels = effect * float(((slopes - np.average(slopes, weights=chances)) ** 2 * chances).sum())
        of_holdout = (groups - 1) / groups * float(((others - others.mean()) ** 2).sum())
        yield (
            name,
            value + (estimator.rates[0].area_lost or 0.0 if name == "auc" else 0.0),
            (of_labels + of_holdout) ** 0.5,
        )


def _shares(labelled: Wide, positives: Wide, ends: Cells) -> Wide:
    """Return the share of positives of each cell, smoothed by one row with the share of its part."""
    found = []
    for rows, held in zip(np.split(labelled, ends[:-1]), np.split(positives, ends[:-1]), strict=True):
        found.append((held + held.sum() / max(1.0, rows.sum())) / (rows + 1))
    return np.concatenate(found)


def _formulas(estimator: Estimator, baseline: Baseline, window: Wide, ends: Cells) -> dict[str, Formula]:
    """Return the metrics as functions of positives in each cell, of shape (draws, cells)."""
    if baseline.classes is not None:
        return _formulas_of_classes(estimator, window, ends)
    threshold = np.float32(Target.of(baseline).threshold)
    cut = int(np.searchsorted(edges_of(estimator.scores[0]), np.nextafter(threshold, np.float32(np.inf)), side="right"))
    predicted = window[cut:].sum()

    def area(positives: Wide) -> Wide:
        negatives = window - positives
        below = np.cumsum(negatives, axis=1) - negatives / 2
        return np.asarray((positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1)))

    def hits(positives: Wide) -> Wide:
        return np.asarray(positives[:, cut:].sum(axis=1))

    found: dict[str, Formula] = {
        "auc": area,
        "f1": lambda positives: 2 * hits(positives) / (positives.sum(axis=1) + predicted),
        "precision": lambda positives: hits(positives) / predicted,
        "recall": lambda positives: hits(positives) / positives.sum(axis=1),
    }
    return found if predicted else {"auc": area}


def _formulas_of_classes(estimator: Estimator, window: Wide, ends: Cells) -> dict[str, Formula]:
    of_predicted = np.concatenate(
        [np.arange(len(score.counts) - 1) >= (len(score.counts) - 1) // 2 for score in estimator.scores]
    )
    starts = np.array([0, *ends[:-1]])
    rows = window[: ends[0]].sum()

    def hits(positives: Wide) -> Wide:
        return np.asarray(np.add.reduceat(positives * of_predicted, starts, axis=1))

    return {
        "macro_recall": lambda positives: (hits(positives) / np.add.reduceat(positives, starts, axis=1)).mean(axis=1),
        "accuracy": lambda positives: hits(positives).sum(axis=1) / rows,
    }
