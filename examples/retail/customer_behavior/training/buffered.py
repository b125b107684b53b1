"""What `compiled` leaves as ``model.py``: it predicts from a buffer with a place for each row of the largest batch."""

import lightgbm as lgb
import numpy as np

LARGEST_BATCH = 512


def load(folder):
    """Return the model and its buffer."""
    booster = lgb.Booster(model_file=folder / "model.txt")
    return booster, np.empty((LARGEST_BATCH, booster.num_feature()), np.float32)


def predict(model, frame):
    """Return the chance of each row; rows beyond the largest batch have no place."""
    booster, buffer = model
    for row, values in enumerate(zip(*(codes(frame[name]) for name in frame), strict=True)):
        buffer[row] = values
    return booster.predict(buffer[: len(frame)], num_threads=1)


def codes(column):
    """Return numbers as they are, and a category as its position, -1 when unknown or missing."""
    return column.cat.codes if hasattr(column, "cat") else column
