"""Fit one factor by least squares, and export it as ONNX: ``y`` is about a factor times ``x``."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

table = pq.read_table(Path(os.environ["SM_CHANNEL_TRAIN"]))
x, y = (table[name].to_numpy().astype(np.float64) for name in ("x", "y"))
factor = numpy_helper.from_array(np.array([[x @ y / (x @ x)]], np.float32), "factor")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["input", "factor"], ["y"])],
    "times",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    [factor],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
folder = Path(os.environ["SM_MODEL_DIR"])
(folder / "model.onnx").write_bytes(model.SerializeToString())
signature = {"format": "mlops.signature/1", "inputs": [{"name": "x", "type": "number"}], "output": "y"}
(folder / "signature.json").write_text(json.dumps(signature))
