"""Trains a model in the container's own format, which only the container can load."""

import json
import os
import pathlib

import numpy as np
import pyarrow.parquet as pq

COLUMNS = ("price", "promoted")

rows = pq.read_table(os.environ["SM_CHANNEL_TRAIN"])
matrix = np.column_stack([rows.column(name).to_numpy() for name in COLUMNS])
weights = np.linalg.lstsq(matrix, rows.column("units").to_numpy(), rcond=None)[0]
model = {"weights": dict(zip(COLUMNS, weights.tolist(), strict=True))}
pathlib.Path(os.environ["SM_MODEL_DIR"], "weights.json").write_text(json.dumps(model))
