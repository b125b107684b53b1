"""Models of four inputs with labelled holdouts, and windows in which inputs, noise or the concept change."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Counts, Estimator
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.estimates.estimator_fit import Holdout, fit_estimator
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.monitors.rows import Codes, Rows

Kind = Literal["regression", "classification", "classes", "outputs"]
NAMES = ("a", "b", "c", "d")
CLASSES = ("w", "x", "y")
OUTPUTS = ("weight", "waist")
_WEIGHTS = np.random.default_rng(5).normal(0, 1, (4, 3))


@dataclass(frozen=True)
class Window:
    """Rows with predictions and labels, and the settings to count them."""

    columns: Mapping[str, np.ndarray]
    rows: Rows

    def counts(self, baseline: Baseline, part: slice = slice(None)) -> Counts:
        """Return the counts of some of the rows."""
        columns = {name: values[part] for name, values in self.columns.items()}
        predictions = self.rows.prediction[part]
        return count_columns(columns, baseline, predictions=list(predictions) if predictions.ndim == 2 else predictions)


def window(kind: Kind, rows: int, seed: int, *, shift: float = 0, noise: float = 0, concept: float = 0) -> Window:
    """Return rows of a model that ignores an interaction of its inputs.

    Args:
    kind: Kind of model.
    rows: Number of rows.
    seed: Seed of the random numbers.
    shift: Added to the first input.
    noise: Added to the last input, which affects only the noise of labels.
    concept: Subtracted from the effect of the first input.
    """
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, (rows, 4)) + np.array([shift, 0, 0, noise])
    if kind == "classification":
        score = 1 / (1 + np.exp(0.5 - 1.2 * x[:, 0] + 0.8 * x[:, 1]))
        true = (1.2 - concept) * x[:, 0] - 0.8 * x[:, 1] + 0.7 * x[:, 0] * x[:, 2] - 0.5
        label = (random.random(rows) < 1 / (1 + np.exp(-true))).astype(float)
    elif kind == "regression":
        score = 10 + 3 * x[:, 0] - x[:, 1]
        wide = np.exp(0.6 * x[:, 3]) * (1 + 0.3 * np.abs(x[:, 0]))
        label = score + wide * random.normal(0, 1, rows) + concept
    elif kind == "outputs":
        score = np.stack([10 + 3 * x[:, 0] - x[:, 1], 5 + x[:, 2]], axis=1)
        wide = np.stack([np.exp(0.6 * x[:, 3]), np.full(rows, 0.5)], axis=1)
        label = score + wide * random.normal(0, 1, (rows, 2)) + concept
    else:
        logits = x @ _WEIGHTS
        score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        true = logits + 0.6 * (x[:, 0] * x[:, 1])[:, np.newaxis] * [1, 0, 0]
        label = (true + random.gumbel(size=true.shape)).argmax(axis=1).astype(float)
    columns = {name: x[:, place].astype(np.float32) for place, name in enumerate(NAMES)}
    return Window(columns, Rows.of(score, label))


def learnt(kind: Kind, rows: int, seed: int, *, clusters: Codes | None = None, **changes: Any) -> Baseline:
    """Return a baseline with the estimator fitted to a labelled holdout, and its metrics."""
    held = window(kind, rows, seed, **changes)
    baseline = fit_baseline(
        held.columns,
        types=dict.fromkeys(NAMES, "number"),
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
    )
    baseline = replace(baseline, target=kind, classes=CLASSES if kind == "classes" else None)
    baseline = replace(baseline, outputs=OUTPUTS if kind == "outputs" else None)
    found = Target.of(baseline).values(held.rows)
    estimator = fit_estimator(baseline, Holdout(columns=held.columns, rows=held.rows, clusters=clusters))
    return replace(baseline, estimator=estimator, quality={name: v for name, v in found.items() if np.isfinite(v)})


def estimator_of(baseline: Baseline) -> Estimator:
    """Return the estimator of a baseline, which must have one."""
    assert baseline.estimator is not None
    return baseline.estimator
