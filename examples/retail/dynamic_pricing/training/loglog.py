"""Train a log-log demand curve, as in textbooks: one elasticity for all, easy to explain.

Weeks without sales are dropped before the fit, since the logarithm of zero is undefined. In service, the last week may be one.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

LABEL = "units"
INPUTS = ["units_lag_1", "units_mean_4", "units_mean_8", "usual_price", "planned_price"]
NOT_INPUTS = {LABEL, "store_id", "week", "prediction_time", "row_id", "on_promotion"}


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in NOT_INPUTS]
    features = np.column_stack([table[name].to_numpy().astype(np.float64) for name in INPUTS])
    units = table[LABEL].to_numpy()
    usable = (features > 0).all(axis=1) & (units > 0)
    logs = np.column_stack([np.log(features[usable]), np.ones(usable.sum())])
    slopes, *_ = np.linalg.lstsq(logs, np.log(units[usable]), rcond=None)
    print(f"fitted {usable.sum()} of {len(usable)} rows:", dict(zip(INPUTS, slopes.round(3).tolist(), strict=False)))

    model = exported([columns.index(name) for name in INPUTS], len(columns), slopes)
    options.model_dir.mkdir(parents=True, exist_ok=True)
    (options.model_dir / "model.onnx").write_bytes(model.SerializeToString())
    groups = sorted(set(table["product_group"].to_pylist()))
    inputs = [
        {"name": name, "type": "category", "categories": groups}
        if name == "product_group"
        else {"name": name, "type": "number"}
        for name in columns
    ]
    signature = {"format": "mlops.signature/1", "inputs": inputs, "output": "units"}
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def exported(used, width, slopes):
    """Return exp(log(inputs) @ slopes + intercept) as ONNX."""
    constants = {
        "used": np.array(used, np.int64),
        "slopes": slopes[:-1, None].astype(np.float32),
        "intercept": slopes[-1:].astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["input", "used"], ["chosen"], axis=1),
        helper.make_node("Log", ["chosen"], ["logs"]),
        helper.make_node("MatMul", ["logs", "slopes"], ["sloped"]),
        helper.make_node("Add", ["sloped", "intercept"], ["log_units"]),
        helper.make_node("Exp", ["log_units"], ["units"]),
    ]
    graph = helper.make_graph(
        nodes,
        "demand_curve",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
