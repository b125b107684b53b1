"""Train the demand model: gradient boosting on absolute error, exported to ONNX.

Runs as a SageMaker training job (channel ``train``) and on a laptop:
``python train.py --train folder/with/parquet --model-dir out``.
"""

import argparse
import json
import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq
from onnx import helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

LABEL = "units"
NOT_INPUTS = {LABEL, "store_id", "week", "prediction_time", "row_id"}
MAY_BE_MISSING = {"last_price", "last_discount", "planned_price", "planned_discount"}


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--rounds", type=int, default=os.environ.get("SM_HP_ROUNDS", "300"))
    parser.add_argument("--learning-rate", type=float, default=os.environ.get("SM_HP_LEARNING_RATE", "0.05"))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in NOT_INPUTS]
    categories = sorted(set(table["category"].to_pylist()))
    features = np.column_stack([column_values(table, name, categories) for name in columns])
    units = table[LABEL].to_numpy()

    parameters = {
        "objective": "regression_l1",
        "learning_rate": options.learning_rate,
        "num_leaves": 31,
        "min_data_in_leaf": 40,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.8,
        "seed": 7,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # more threads sum in another order, and wait for each other on a busy machine
        "verbosity": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(features, units), options.rounds)
    error = np.abs(booster.predict(features) - units).sum() / units.sum()
    print(f"trained on {len(units)} rows, {len(columns)} columns; WAPE on them {error:.4f}")

    onnx = exported(booster, len(columns))
    options.model_dir.mkdir(parents=True, exist_ok=True)
    (options.model_dir / "model.onnx").write_bytes(onnx.SerializeToString())
    signature = {
        "format": "mlops.signature/1",
        "inputs": [describe(name, categories) for name in columns],
        "output": onnx.graph.output[0].name,
    }
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def exported(booster, width):
    """Return the booster as ONNX, with negative forecasts set to zero: sums of trees are slightly negative where nothing sells."""
    onnx = convert_lightgbm(booster, name="demand", initial_types=[("input", FloatTensorType([None, width]))])
    answer = onnx.graph.output[0].name
    for node in onnx.graph.node:
        node.output[:] = ["sum_of_trees" if name == answer else name for name in node.output]
    onnx.graph.node.append(helper.make_node("Relu", ["sum_of_trees"], [answer]))
    # the converter lists opsets from a set of names, whose order differs between runs
    versions = {"": 9, **{opset.domain: opset.version for opset in onnx.opset_import}}
    del onnx.opset_import[:]
    onnx.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(versions.items()))
    return onnx


def column_values(table, name, categories):
    """Return a column in the server's form: 32-bit floats, categories as their position, -1 if unknown."""
    if name == "category":
        position = {category: i for i, category in enumerate(categories)}
        return np.array([position[value] for value in table[name].to_pylist()], np.float32)
    return table[name].to_numpy().astype(np.float32)


def describe(name, categories):
    """Return a column's entry in the signature."""
    if name == "category":
        return {"name": name, "type": "category", "categories": categories}
    return {"name": name, "type": "number", "nullable": name in MAY_BE_MISSING}


if __name__ == "__main__":
    main()
