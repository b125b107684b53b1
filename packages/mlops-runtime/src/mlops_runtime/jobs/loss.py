"""Losses a row: absolute error, log loss and Brier score, with the values that each can be taken of.

Every one adds up over rows, so sums by block are all that a gate needs.

See: G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950);
https://scikit-learn.org/0.24/modules/generated/sklearn.metrics.log_loss.html for the clipping of probabilities at 1e-15;
R. Hyndman, A. Koehler, Another look at measures of forecast accuracy, International Journal of Forecasting 22 (2006) for WAPE,
there the ratio MAD/mean.
"""

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.model import Metric
from mlops_runtime.jobs.optml import JobError

Wide = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLIP = 1e-15  # a certain and wrong prediction costs 34.5, not infinity


def is_classification(metric: Metric) -> bool:
    """Return whether labels are 0 and 1 and predictions their probabilities."""
    return metric in ("log_loss", "brier")


def check_labels(metric: Metric, label: str, actual: Wide) -> None:
    """Check that the labels of the holdout can be measured against.

    Raises:
        JobError: If one is missing, a class is not 0 or 1, or there is nothing to be relative to.
    """
    broken = int((~np.isfinite(actual)).sum())
    if broken:
        raise JobError(
            f"label {label!r} must be known for every holdout row, {broken} of {len(actual)} are null or infinite"
        )
    if is_classification(metric) and (strange := np.setdiff1d(np.unique(actual), [0.0, 1.0])).size:
        shown = ", ".join(f"{value:g}" for value in strange[:5])
        raise JobError(f"label {label!r} must be 0 or 1 for {metric}, got {shown}")
    if metric == "wape" and not np.abs(actual).sum() > 0:
        raise JobError(f"label {label!r} is 0 in every holdout row: WAPE is not defined; use the metric mae")


def is_prediction(metric: Metric, predictions: Wide) -> Mask:
    """Return which rows have a prediction: a finite number, for a class a probability."""
    finite = np.isfinite(predictions)
    if is_classification(metric):
        return finite & (predictions >= 0) & (predictions <= 1)
    return finite


def row_losses(metric: Metric, predictions: Wide, actual: Wide) -> Wide:
    """Return the loss of each row; a row without a prediction has none, and counts elsewhere as a failure.

    Example:
        >>> row_losses("brier", np.array([0.5, 1.0]), np.array([1.0, 1.0])).tolist()
        [0.25, 0.0]
    """
    given = is_prediction(metric, predictions)
    values = np.where(given, predictions, 0.5)
    if metric == "brier":
        losses = (values - actual) ** 2
    elif metric == "log_loss":
        losses = -np.log(np.clip(np.where(actual == 1, values, 1 - values), CLIP, 1.0))
    else:
        losses = np.abs(values - actual)
    return np.where(given, losses, 0.0)


def normaliser(metric: Metric, *, rows: int, actual_sum: float) -> float:
    """Return what a sum of losses is divided by: the sum of absolute labels for WAPE, the rows for a mean."""
    return actual_sum if metric == "wape" else float(rows)
