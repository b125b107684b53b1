"""The model of every server: 100 trees of depth 4 over 20 numbers, as ``model.onnx`` and ``signature.json``."""

import json
from pathlib import Path

import lightgbm
import numpy as np
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn

WIDTH = 20


def write(folder: Path) -> None:
    """Train the model and write both files."""
    random = np.random.default_rng(7)
    x = random.normal(size=(5000, WIDTH))
    y = x[:, 0] * 3 + np.sin(x[:, 1]) + x[:, 2] * x[:, 3] + random.normal(size=5000)
    parameters = {"verbosity": -1, "num_threads": 1, "max_depth": 4, "seed": 7, "deterministic": True}
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), 100)
    converted = convert_lightgbm(booster, initial_types=[("input", FloatTensorType([None, WIDTH]))])
    columns = tuple(SignatureColumn(name=f"f{n}", type="number") for n in range(WIDTH))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(converted.SerializeToString())
    signature = ModelSignature(inputs=columns, output="variable")
    (folder / "signature.json").write_text(json.dumps(to_dict(signature)))


def rows(count: int) -> list[list[float]]:
    """Return rows to predict, the same each time."""
    return np.random.default_rng(11).normal(size=(count, WIDTH)).round(4).tolist()
