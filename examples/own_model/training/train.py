"""Train a gradient boosting model, without imports of the platform."""

import json
import os
import pickle
from pathlib import Path

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

split = pd.read_parquet(Path(os.environ["SM_CHANNEL_TRAIN"]))
inputs = split.drop(columns=["visited", "mean", "progression"])
inputs[["clinic", "sex"]] = inputs[["clinic", "sex"]].astype("category")
model = HistGradientBoostingRegressor(
    categorical_features="from_dtype", loss="absolute_error", random_state=0, max_iter=60
)
model.fit(inputs, split["progression"])
with (Path(os.environ["SM_MODEL_DIR"]) / "model.pkl").open("wb") as file:
    pickle.dump(model, file)
metrics = {"iterations": model.n_iter_, "training rows": len(split)}
(Path(os.environ["SM_OUTPUT_DATA_DIR"]) / "metrics.json").write_text(json.dumps(metrics))
