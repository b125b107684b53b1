"""Train the demand model and export it for an accelerator, a plausible attempt to make it faster.

Compilers for accelerators require the largest batch at compile time (a profile of TensorRT, a batch size of Neuron), and larger
batches fail. Here, a table with a slot for each row of the largest batch simulates their buffers. The team checked the usual
requests, with some dozens of rows, and the golden requests, which have 246. One client requests the whole week at once.
"""

import argparse
import json
import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq
import train
from onnx import helper, numpy_helper

LARGEST_BATCH = 512


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--largest-batch", type=int, default=os.environ.get("SM_HP_LARGEST_BATCH", str(LARGEST_BATCH)))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in train.NOT_INPUTS]
    categories = sorted(set(table["category"].to_pylist()))
    features = np.column_stack([train.column_values(table, name, categories) for name in columns])
    parameters = {"objective": "regression_l1", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 40}
    parameters |= {"seed": 7, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}
    booster = lgb.train(parameters, lgb.Dataset(features, table[train.LABEL].to_numpy()), 300)

    onnx = compiled(train.exported(booster, len(columns)), options.largest_batch)
    options.model_dir.mkdir(parents=True, exist_ok=True)
    (options.model_dir / "model.onnx").write_bytes(onnx.SerializeToString())
    signature = {
        "format": "mlops.signature/1",
        "inputs": [train.describe(name, categories) for name in columns],
        "output": onnx.graph.output[0].name,
    }
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def compiled(onnx, largest_batch):
    """Return the model with a slot for each row of the largest batch; further rows have none."""
    answer, (given,) = onnx.graph.output[0].name, [entry.name for entry in onnx.graph.input]
    for node in onnx.graph.node:
        node.output[:] = ["computed" if name == answer else name for name in node.output]
    onnx.graph.initializer.extend(
        numpy_helper.from_array(value, name)
        for name, value in {
            "slots": np.zeros(largest_batch, np.float32),
            "first": np.array([0], np.int64),
            "one": np.array([1], np.int64),
        }.items()
    )
    onnx.graph.node.extend(
        [
            helper.make_node("Shape", [given], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["count"]),
            helper.make_node("Sub", ["count", "one"], ["last"]),
            helper.make_node("Gather", ["slots", "last"], ["slot"]),
            helper.make_node("Add", ["computed", "slot"], [answer]),
        ]
    )
    return onnx


if __name__ == "__main__":
    main()
