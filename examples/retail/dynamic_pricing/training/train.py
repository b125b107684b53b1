"""Train the elasticity model: units at a planned price, never more at a higher one, exported to ONNX.

The trees learn the factor between a week's units and the series' usual units, from prices relative to the usual price. Monotone
constraints make it fall with the price and rise with discount, display and mailer, so that pricing decisions do not follow noise.
The exported model computes the ratios itself, so clients send dollars and requests have a single price.

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
from onnx import TensorProto, checker, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

LABEL = "units"
NOT_INPUTS = {LABEL, "store_id", "week", "prediction_time", "row_id", "on_promotion"}
# each over a column plus an offset that keeps it positive
RATIOS = (
    ("planned_price", "usual_price", 0.0),
    ("units_lag_1", "units_mean_8", 0.3),
    ("units_mean_4", "units_mean_8", 0.3),
)
FALL, RISE = {"planned_price", "planned_price/usual_price"}, {"planned_discount", "display_share", "mailer_share"}


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--rounds", type=int, default=os.environ.get("SM_HP_ROUNDS", "200"))
    parser.add_argument("--learning-rate", type=float, default=os.environ.get("SM_HP_LEARNING_RATE", "0.04"))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in NOT_INPUTS]
    groups = sorted(set(table["product_group"].to_pylist()))
    features = np.column_stack([column_values(table, name, groups) for name in columns])
    features = np.column_stack([features, *(ratio(features, columns, *names) for names in RATIOS)])
    names = [*columns, *(f"{above}/{below}" for above, below, _ in RATIOS)]
    units = table[LABEL].to_numpy()
    usual = features[:, columns.index("units_mean_8")].astype(np.float64) + 0.3

    parameters = {
        "objective": "huber",  # absolute error does not support monotone constraints
        "alpha": 0.4,
        "monotone_constraints": [-1 if name in FALL else 1 if name in RISE else 0 for name in names],
        "learning_rate": options.learning_rate,
        "num_leaves": 15,
        "min_data_in_leaf": 150,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.8,
        "seed": 7,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # more threads sum in another order, and wait for each other on a busy machine
        "verbosity": -1,
    }
    # the error of a factor, weighted by the usual units, is the error in units
    booster = lgb.train(parameters, lgb.Dataset(features, units / usual, weight=usual), options.rounds)
    error = np.abs(booster.predict(features) * usual - units).sum() / units.sum()
    print(f"trained on {len(units)} rows, {len(columns)} columns; WAPE on them {error:.4f}")

    onnx = exported(booster, columns)
    options.model_dir.mkdir(parents=True, exist_ok=True)
    (options.model_dir / "model.onnx").write_bytes(onnx.SerializeToString())
    signature = {
        "format": "mlops.signature/1",
        "inputs": [describe(name, groups) for name in columns],
        "output": onnx.graph.output[0].name,
    }
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def ratio(features, columns, above, below, offset):
    """Return one column over another plus an offset, in 32 bits, as the exported model computes it."""
    return features[:, columns.index(above)] / (features[:, columns.index(below)] + np.float32(offset))


def exported(booster, columns):
    """Return the ONNX model: the trees applied to the request's columns and their ratios, times the usual units."""
    trees = convert_lightgbm(
        booster, name="elasticity", initial_types=[("columns", FloatTensorType([None, len(columns) + len(RATIOS)]))]
    )
    position = {name: columns.index(name) for name in columns}
    constants = {
        "above": np.array([position[above] for above, _, _ in RATIOS], np.int64),
        "below": np.array([position[below] for _, below, _ in RATIOS], np.int64),
        "offset": np.array([[offset for _, _, offset in RATIOS]], np.float32),
        "mean": np.array([position["units_mean_8"]], np.int64),
        "more": np.array([[0.3]], np.float32),
    }
    before = [
        helper.make_node("Gather", ["input", "above"], ["numerators"], axis=1),
        helper.make_node("Gather", ["input", "below"], ["plain"], axis=1),
        helper.make_node("Add", ["plain", "offset"], ["denominators"]),
        helper.make_node("Div", ["numerators", "denominators"], ["ratios"]),
        helper.make_node("Concat", ["input", "ratios"], ["columns"], axis=1),
    ]
    after = [
        helper.make_node("Gather", ["input", "mean"], ["mean_units"], axis=1),
        helper.make_node("Add", ["mean_units", "more"], ["usual_units"]),
        helper.make_node("Mul", [trees.graph.output[0].name, "usual_units"], ["signed_units"]),
        helper.make_node("Relu", ["signed_units"], ["units"]),
    ]
    graph = helper.make_graph(
        [*before, *trees.graph.node, *after],
        "elasticity",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, len(columns)])],
        [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
        [*trees.graph.initializer, *(numpy_helper.from_array(value, name) for name, value in constants.items())],
    )
    opsets = {opset.domain: opset.version for opset in trees.opset_import} | {"": 17}
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(name, opsets[name]) for name in sorted(opsets)], ir_version=9
    )
    checker.check_model(model)
    return model


def column_values(table, name, groups):
    """Return a column in the server's form: 32-bit floats, groups as their position, -1 if unknown."""
    if name == "product_group":
        position = {group: i for i, group in enumerate(groups)}
        return np.array([position[value] for value in table[name].to_pylist()], np.float32)
    return table[name].to_numpy().astype(np.float32)


def describe(name, groups):
    """Return a column's entry in the signature."""
    if name == "product_group":
        return {"name": name, "type": "category", "categories": groups}
    return {"name": name, "type": "number"}


if __name__ == "__main__":
    main()
