"""What a compiler for accelerators leaves in a model: a largest batch, beyond which it fails.

Such compilers want to know it when they compile (a profile of TensorRT, a batch size of Neuron). Here a table with a slot for each
row of the largest batch stands for their buffers: the last row of a larger one has none.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def limit(path: Path, rows: int) -> None:
    """Give a model file a largest batch; what it answers up to there does not change."""
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
