"""ONNX surgery: nodes before and after a trained model, so that a bad candidate is a real artifact that a real server loads."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.campaign.candidates.world import COLUMN, Artefact

_OPSET, _IR_VERSION = 17, 8
_CUBE = 256  # a matrix product that takes about a millisecond


class Builder:
    """Nodes and constants under construction. Every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._number = itertools.count()

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        name = f"edit_{next(self._number)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def const(self, value: Any, kind: Any = np.float32) -> str:
        """Add a constant."""
        name = f"value_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def column(self, x: str, name: str) -> str:
        """Return one column of the rows, as a column."""
        return self.op("Gather", x, self.const([COLUMN[name]], np.int64), axis=1)

    def filled(self, x: str, name: str, value: float = 0.0) -> str:
        """Return one column with a value in place of nulls."""
        column = self.column(x, name)
        return self.op("Where", self.op("IsNaN", column), self.const([value]), column)

    def count(self, x: str) -> str:
        """Return the number of rows."""
        return self.op("Gather", self.op("Shape", x), self.const([0], np.int64), axis=0)

    def above(self, column: str, limit: float) -> str:
        """Return whether a column is above a limit."""
        return self.op("Greater", column, self.const([limit]))

    def changed(self, y: str, where: str, kind: str, value: float) -> str:
        """Return the predictions with an operation and an operand applied where a condition holds."""
        return self.op("Where", where, self.op(kind, y, self.const([value])), y)

    def crash(self, y: str, when: str) -> str:
        """Return the predictions; the graph fails if any row meets a condition (an index beyond a table of one entry)."""
        index = self.op("Cast", self.op("ReduceMax", self.op("Cast", when, to=TensorProto.FLOAT)), to=TensorProto.INT64)
        return self.op("Add", y, self.op("Gather", self.const([0.0]), index, axis=0))

    def busy(self, y: str, trips: str) -> str:
        """Return the predictions after a number of matrix products without effect."""
        state = self.const(np.full((_CUBE, _CUBE), 1 / _CUBE))
        kept = [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["carried", state], ["next"]),
        ]
        body = helper.make_graph(
            kept,
            "product",
            [
                helper.make_tensor_value_info("trip", TensorProto.INT64, []),
                helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                helper.make_tensor_value_info("carried", TensorProto.FLOAT, [_CUBE, _CUBE]),
            ],
            [
                helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("next", TensorProto.FLOAT, [_CUBE, _CUBE]),
            ],
        )
        worked = self.op("Loop", trips, self.const(True, np.bool_), state, body=body)
        return self.op("Add", y, self.op("Mul", self.op("ReduceMax", worked, keepdims=0), self.const(0.0)))


Edit = Callable[[Builder, str, str], str]
Feed = Callable[[Builder, str], str]


def edited(base: Artefact, *, after: Edit | None = None, before: Feed | None = None, **signature: Any) -> Artefact:
    """Return a model with nodes around it.

    Args:
        base: The trained model.
        after: Gets the builder, the rows and the predictions (a column); returns new predictions. Default: unchanged.
        before: Gets the builder and the rows; returns the input of the trained model. Default: the rows.
        signature: Replaced fields of the signature.
    """
    model = onnx.load_from_string(base.model)
    (given,), (answer,) = model.graph.input, model.graph.output
    names = {given.name: "model_input", answer.name: "model_output"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    build = Builder()
    fed = given.name if before is None else before(build, given.name)
    ahead = [*build.nodes, helper.make_node("Identity", [fed], ["model_input"])]
    build.nodes.clear()
    last = "model_output" if after is None else after(build, given.name, "model_output")
    graph = helper.make_graph(
        [*ahead, *model.graph.node, *build.nodes, helper.make_node("Identity", [last], [answer.name])],
        "edited",
        [given],
        [helper.make_tensor_value_info(answer.name, TensorProto.FLOAT, None)],
        [*model.graph.initializer, *build.constants],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", 2)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return Artefact(model=made.SerializeToString(), signature={**base.signature, **signature})


def changed_inputs(base: Artefact, change: Callable[[int, dict[str, Any]], dict[str, Any]]) -> Artefact:
    """Return a model whose signature describes its columns differently."""
    inputs = [change(index, dict(column)) for index, column in enumerate(base.signature["inputs"])]
    return Artefact(model=base.model, signature={**base.signature, "inputs": inputs})
