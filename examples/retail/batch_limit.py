"""Limits the batch size of a model, like a compiler for accelerators: a larger batch fails.

Such compilers require the largest batch at compile time (a profile of TensorRT, a batch size of Neuron). Here, a table with a slot
for each row of the largest batch simulates their buffers: further rows have no slot.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def limit(path: Path, rows: int) -> None:
    """Add a largest batch to a model file; predictions of smaller batches do not change."""
    model = onnx.load(path)
    (given,) = [entry.name for entry in model.graph.input]
    for node in model.graph.node:
        node.input[:] = ["batch_placed" if name == given else name for name in node.input]
    constants = {
        "batch_slots": np.zeros(rows, np.float32),
        "batch_first_axis": np.array([0], np.int64),
        "batch_one": np.array([1], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    nodes = [
        helper.make_node("Shape", [given], ["batch_shape"]),
        helper.make_node("Gather", ["batch_shape", "batch_first_axis"], ["batch_count"]),
        helper.make_node("Sub", ["batch_count", "batch_one"], ["batch_last"]),
        helper.make_node("Gather", ["batch_slots", "batch_last"], ["batch_slot"]),
        helper.make_node("Add", [given, "batch_slot"], ["batch_placed"]),
    ]
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
