"""The Open Inference Protocol: the same rows as by invocations, and named errors of tensors."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.open_inference import as_instances, model_metadata, read, server_metadata, write
from mlops_runtime.serving.request_payload import PayloadError, Reader

NUMBERS = ModelSignature(inputs=tuple(SignatureColumn(name=n, type="number") for n in "ab"), output="units")


def tensor(name: str, datatype: str, shape: list[Any], data: Any, **more: Any) -> dict[str, Any]:
    """Return a tensor."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def body(*inputs: Any, **more: Any) -> bytes:
    """Return a request."""
    return json.dumps({"inputs": list(inputs), **more}).encode()


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6), st.sampled_from(["north", "x"])),
        min_size=1,
        max_size=4,
    )
)
def test_a_tensor_a_column_gives_the_rows_of_invocations(rows: list[Any]) -> None:
    """Numbers, nulls and categories reach the model alike."""
    from tests.runtime.conftest import SIGNATURE

    price, stock, store = (list(values) for values in zip(*rows, strict=True))
    requested = read(
        body(
            tensor("store", "BYTES", [len(rows)], store),
            tensor("price", "FP64", [len(rows), 1], [[value] for value in price]),
            tensor("stock", "FP32", [len(rows)], stock),
            id="mine",
        ),
        SIGNATURE,
    )
    reader = Reader(SIGNATURE)
    assert requested.id == "mine"
    np.testing.assert_array_equal(
        reader.rows(requested.rows), reader.read("application/json", as_instances(requested.rows))
    )
    assert json.loads(as_instances(requested.rows)) == {"instances": [list(row) for row in rows]}


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_a_matrix_gives_its_rows(data: Any) -> None:
    """Flat or nested, for a numeric model."""
    assert read(body(tensor("anything", "INT64", [2, 2], data)), NUMBERS).rows == [[1, 2], [3, 4]]


def test_a_nullable_column_may_be_absent(models: Any) -> None:
    """As on /invocations."""
    requested = read(body(tensor("price", "FP32", [1], [1]), tensor("store", "BYTES", [1], ["east"])), models.signature)
    assert requested.rows == [[1, None, "east"]]
    np.testing.assert_array_equal(Reader(models.signature).rows(requested.rows), [[1, math.nan, 2]])


def test_metadata_has_the_protocols_fields(models: Any) -> None:
    """Required by the specification: name, versions, platform, inputs, outputs; of the server name, version, extensions."""
    found = model_metadata("demand", "3", models.signature)
    assert found["inputs"] == [
        {"name": "price", "datatype": "FP32", "shape": [-1]},
        {"name": "stock", "datatype": "FP32", "shape": [-1]},
        {"name": "store", "datatype": "BYTES", "shape": [-1]},
    ]
    assert (found["name"], found["versions"], found["platform"]) == ("demand", ["3"], "onnxruntime_onnx")
    assert found["outputs"] == [{"name": "units", "datatype": "FP32", "shape": [-1]}]
    assert server_metadata("3") == {"name": "mlops-constructs", "version": "3", "extensions": []}


def test_a_response_has_the_protocols_fields() -> None:
    """One tensor with the shortest 32-bit numbers."""
    answer = json.loads(write("demand", "3", "mine", "units", np.array([0.1, 2], dtype=np.float32)))
    expected = {"name": "units", "shape": [2], "datatype": "FP32", "data": [0.1, 2.0]}
    assert answer == {"model_name": "demand", "model_version": "3", "id": "mine", "outputs": [expected]}


A, B = tensor("a", "FP32", [1], [1]), tensor("b", "FP32", [1], [2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"[]", 'the body must be {"inputs": [tensor, ...]}'),
        (b'{"inputs": [1]}', 'the body must be {"inputs": [tensor, ...]}'),
        (body(A), "input 'b' is missing"),
        (body(A, B, tensor("c", "FP32", [1], [1])), "input 'c' is not a column of the model"),
        (body(A, A), "inputs[1].name must be text and unique among the inputs, got 'a'"),
        (body(A, tensor("b", "FP32", [2], [1, 2])), "all inputs must have the same length, got 1, 2"),
        (body(A, tensor("b", "BYTES", [1], ["x"])), "inputs[1].datatype must be one of FP16, FP32"),
        (body(A, tensor("b", "BOOL", [1], [True])), "for a number, got BOOL"),
        (body(A, tensor("b", 7, [1], [1])), "inputs[1].datatype must be text, got 7"),
        (body(A, tensor("b", "FP32", [2], [1])), "inputs[1].data must have 2 elements for shape [2], got 1"),
        (body(A, tensor("b", "FP32", [0], [])), "inputs[1].shape must be one or two numbers above 0, got [0]"),
        (body(A, tensor("b", "FP32", [True], [1])), "inputs[1].shape must be one or two numbers above 0"),
        (body(A, tensor("b", "FP32", [1], 5)), "inputs[1].data must be an array, got 5"),
        (body(A, tensor("b", "FP32", [1, 2], [1, 2])), "inputs[1].shape must be [n] or [n, 1], got [1, 2]"),
        (body(tensor("m", "FP32", [1, 3], [1, 2, 3])), "inputs[0].shape must be [n, 2], got [1, 3]"),
        (body(tensor("m", "BYTES", [1, 2], ["1", "2"])), "inputs[0].datatype must be one of FP16"),
        (
            body(tensor("m", "FP32", [2, 2], [[1], [2, 3]])),
            "inputs[0].data must be flat, or nested like its shape [2, 2]",
        ),
        (
            body(A, tensor("b", "FP32", [1], [1], parameters={"binary_data_size": 4})),
            "inputs[1]: binary data and shared memory",
        ),
        (body(A, B, id=7), "id must be text, got 7"),
        (body(A, B, outputs=[{"name": "other"}]), "outputs may only name 'units'"),
        (body(A, B, outputs=7), "outputs may only name 'units'"),
    ],
)
def test_fails_by_name(content: bytes, message: str) -> None:
    """The error has the tensor's position."""
    with pytest.raises(PayloadError) as caught:
        read(content, NUMBERS)
    assert caught.value.status == 400
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_fails_for_a_matrix_where_there_are_categories(models: Any) -> None:
    """A matrix has one datatype."""
    with pytest.raises(
        PayloadError, match=r"this model has categories: send one input per column \(price, stock, store\)"
    ):
        read(body(tensor("m", "FP32", [1, 3], [1, 2, 3])), models.signature)
