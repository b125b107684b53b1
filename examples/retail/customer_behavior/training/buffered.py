"""The ``model.py`` written by `compiled`: it predicts from a buffer with a slot for each row of the largest batch."""

import lightgbm as lgb
import numpy as np

LARGEST_BATCH = 512


def load(folder):
    """Return the model and its buffer."""
    booster = lgb.Booster(model_file=folder / "model.txt")
    return booster, np.empty((LARGEST_BATCH, booster.num_feature()), np.float32)


def predict(model, frame):
    """Return the probability of each row; rows beyond the largest batch have no slot."""
    booster, buffer = model
    for row, values in enumerate(zip(*(codes(frame[name]) for name in frame), strict=True)):
        buffer[row] = values
    return booster.predict(buffer[: len(frame)], num_threads=1)


def codes(column):
    """Return numbers unchanged, and categories as their index, -1 for unknown or missing ones."""
    return column.cat.codes if hasattr(column, "cat") else column
