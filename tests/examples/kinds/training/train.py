"""Trains a model of three classes, several outputs or vectors, depending on its labels; imports nothing of the platform."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

hyperparameters = json.loads(os.environ["SM_HPS"])
labels, inputs = hyperparameters["labels"].split(","), hyperparameters["inputs"].split(",")
split = pd.read_parquet(Path(os.environ["SM_CHANNEL_TRAIN"]))
rows = split[inputs].to_numpy(np.float32)
lists = split[labels[0]].iloc[0]
if isinstance(lists, np.ndarray):
    model = LinearRegression().fit(rows, np.stack(split[labels[0]]).astype(np.float32))
    graph = to_onnx(model, rows[:1], target_opset=17)
elif len(labels) == 1:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(rows, split[labels[0]])
    graph = to_onnx(model, rows[:1], options={id(model): {"zipmap": False}}, target_opset=17)
    del graph.graph.output[0]  # the predicted class follows from its probabilities
else:
    model = LinearRegression().fit(rows, split[labels].to_numpy(np.float32))
    graph = to_onnx(model, rows[:1], target_opset=17)
(Path(os.environ["SM_MODEL_DIR"]) / "model.onnx").write_bytes(graph.SerializeToString())
