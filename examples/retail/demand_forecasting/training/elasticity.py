"""Train a log-log elasticity regression, a plausible proposal of a team: one coefficient per column, easy to explain.

The logarithm of zero is undefined, so rows with a zero or a null are dropped before the fit. In service, such rows occur.
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
INPUTS = ["units_lag_1", "units_mean_4", "units_mean_8", "last_price", "planned_price", "planned_discount"]
NOT_INPUTS = {LABEL, "store_id", "week", "prediction_time", "row_id"}


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in NOT_INPUTS]
    used = [columns.index(name) for name in INPUTS]
    features = np.column_stack([table[name].to_numpy().astype(np.float64) for name in INPUTS])
    units = table[LABEL].to_numpy()
    usable = (features > 0).all(axis=1) & (units > 0)
    logs = np.column_stack([np.log(features[usable]), np.ones(usable.sum())])
    coefficients, *_ = np.linalg.lstsq(logs, np.log(units[usable]), rcond=None)
    print(
        f"fitted {usable.sum()} of {len(units)} rows:", dict(zip(INPUTS, coefficients.round(3).tolist(), strict=False))
    )

    model = exported(used, len(columns), coefficients)
    options.model_dir.mkdir(parents=True, exist_ok=True)
    (options.model_dir / "model.onnx").write_bytes(model.SerializeToString())
    categories = sorted(set(table["category"].to_pylist()))
    signature = {
        "format": "mlops.signature/1",
        "inputs": [
            {"name": name, "type": "category", "categories": categories}
            if name == "category"
            else {"name": name, "type": "number", "nullable": True}
            for name in columns
        ],
        "output": "units",
    }
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def exported(used, width, coefficients):
    """Return exp(log(inputs) @ coefficients + intercept) as ONNX."""
    constants = {
        "used": np.array(used, np.int64),
        "slopes": coefficients[:-1, None].astype(np.float32),
        "intercept": coefficients[-1:].astype(np.float32),
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
        "elasticity",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
