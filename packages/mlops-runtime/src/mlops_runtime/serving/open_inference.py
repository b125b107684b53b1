"""The Open Inference Protocol, version 2, over the same rows as ``/invocations``: metadata, requests and responses, without HTTP.

A request has one tensor per column (``[n]`` or ``[n, 1]``), or one tensor ``[n, columns]`` if every column is a number.

See: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.request_payload import PayloadError
from mlops_runtime.serving.served_model import Matrix, number_type

SERVER = "mlops-constructs"
PLATFORM = "onnxruntime_onnx"
_NUMBERS = frozenset(("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"))
_TEXT, _BOOLEAN, _INTEGER = "BYTES", "BOOL", "INT64"
_INTEGERS = frozenset(name for name in _NUMBERS if "INT" in name)
_FLOATS = {np.float32: "FP32", np.float64: "FP64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """Rows in column order, as in an ``instances`` array, and the caller's id."""

    rows: list[list[Any]]
    id: str | None


def server_metadata(version: str) -> dict[str, object]:
    """Return the response to ``GET /v2``."""
    return {"name": SERVER, "version": version, "extensions": []}


def model_metadata(name: str, version: str, signature: ModelSignature, platform: str = PLATFORM) -> dict[str, object]:
    """Return the response to ``GET /v2/models/<name>``.

    Example:
        >>> from mlops_runtime.contracts.model import SignatureColumn
        >>> signature = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
        >>> model_metadata("demand", "3", signature)["inputs"]
        [{'name': 'price', 'datatype': 'FP32', 'shape': [-1]}]
    """
    return {
        "name": name,
        "versions": [version],
        "platform": platform,
        "inputs": [
            {"name": column.name, "datatype": _datatype(column, signature), "shape": [-1]}
            for column in signature.inputs
        ],
        "outputs": [
            {
                "name": signature.output,
                "datatype": _FLOATS[number_type(signature)],
                "shape": [-1] if signature.columns is None else [-1, signature.columns],
            }
        ],
    }


def read(body: bytes, signature: ModelSignature) -> InferenceRequest:
    """Parse the rows of an inference request.

    Raises:
        PayloadError: 400 with every problem of its shape; values are checked when rows become a matrix.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PayloadError(400, [f"the body is not JSON: {error}"]) from error
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(inputs, list) or not inputs or not all(isinstance(tensor, dict) for tensor in inputs):
        raise PayloadError(400, ['the body must be {"inputs": [tensor, ...]} with at least one tensor'])
    identity = document.get("id")
    problems = list(_request_problems(document, identity, signature))
    columns = _columns(inputs, signature, problems)
    if problems:
        raise PayloadError(400, problems)
    return InferenceRequest(rows=columns, id=identity)


def write(name: str, version: str, identity: str, output: str, predictions: Matrix) -> bytes:
    """Return the body of an inference response; predictions must be finite."""
    tensor = {
        "name": output,
        "shape": list(predictions.shape),
        "datatype": _FLOATS[predictions.dtype.type],
        "data": np.ascontiguousarray(predictions).reshape(-1),
    }
    document = {"model_name": name, "model_version": version, "id": identity, "outputs": [tensor]}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def as_instances(rows: list[list[Any]]) -> bytes:
    """Return the rows as a body of ``/invocations``, so that captures of both APIs have the same form."""
    return orjson.dumps({"instances": rows})


def _request_problems(document: Mapping[str, Any], identity: object, signature: ModelSignature) -> Iterator[str]:
    if identity is not None and not isinstance(identity, str):
        yield f"id must be text, got {str(identity)[:60]}"
    outputs = document.get("outputs", [])
    names = (
        [output.get("name") for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else [None]
    )
    if not isinstance(outputs, list) or len(names) != len(outputs) or set(names) - {signature.output}:
        yield f"outputs may only name {signature.output!r}, got {str(outputs)[:60]}"


def _datatype(column: SignatureColumn, signature: ModelSignature) -> str:
    if column.type == "category":
        return _INTEGER if column.kind == "integer" else _TEXT
    kinds = {"boolean": _BOOLEAN, "integer": _INTEGER}
    return kinds.get(column.kind or "", _FLOATS[number_type(signature)])


def _columns(inputs: Sequence[Mapping[str, Any]], signature: ModelSignature, problems: list[str]) -> list[list[Any]]:
    """Return the rows; if problems were added to the list, the result is meaningless."""
    names = [column.name for column in signature.inputs]
    tensors = {}
    for index, tensor in enumerate(inputs):
        name, values = tensor.get("name"), _values(tensor, f"inputs[{index}]", problems)
        if not isinstance(name, str) or name in tensors:
            problems.append(f"inputs[{index}].name must be text and unique among the inputs, got {str(name)[:60]!r}")
        else:
            tensors[name] = (index, tensor, values)
    if problems:
        return []
    if len(inputs) == 1 and not tensors.keys() & set(names):
        return _matrix(inputs[0], next(iter(tensors.values()))[2], signature, problems)
    problems += [f"input {name[:60]!r} is not a column of the model" for name in tensors if name not in names]
    problems += [
        f"input {column.name!r} is missing"
        for column in signature.inputs
        if column.name not in tensors and not column.nullable
    ]
    lengths = {len(values) for _, _, values in tensors.values()}
    if len(lengths) > 1:
        problems.append(f"all inputs must have the same length, got {', '.join(map(str, sorted(lengths)))}")
    for column in signature.inputs:
        if column.name in tensors:
            index, tensor, _ = tensors[column.name]
            problems += _column_problems(tensor, column, f"inputs[{index}]")
    if problems:
        return []
    rows = max(lengths)
    absent = [None] * rows
    return [list(row) for row in zip(*(tensors[name][2] if name in tensors else absent for name in names), strict=True)]


def _column_problems(tensor: Mapping[str, Any], column: SignatureColumn, place: str) -> Iterator[str]:
    shape, datatype = tensor["shape"], tensor["datatype"]
    if len(shape) > 1 and shape[1:] != [1]:
        yield f"{place}.shape must be [n] or [n, 1], got {shape}"
    if column.type == "category":
        if datatype != _TEXT and not (column.kind == "integer" and datatype in _INTEGERS):
            yield f"{place}.datatype must be BYTES for a category, got {datatype}"
    elif datatype not in _NUMBERS and not (column.kind == "boolean" and datatype == _BOOLEAN):
        yield f"{place}.datatype must be one of {', '.join(sorted(_NUMBERS))} for a number, got {datatype}"


def _matrix(
    tensor: Mapping[str, Any], values: list[Any], signature: ModelSignature, problems: list[str]
) -> list[list[Any]]:
    width, shape = len(signature.inputs), tensor["shape"]
    if any(column.type == "category" for column in signature.inputs):
        names = ", ".join(column.name for column in signature.inputs)[:200]
        problems.append(f"this model has categories: send one input per column ({names})")
    elif len(shape) != 2 or shape[1] != width:
        problems.append(f"inputs[0].shape must be [n, {width}], got {shape}")
    elif tensor["datatype"] not in _NUMBERS:
        problems.append(f"inputs[0].datatype must be one of {', '.join(sorted(_NUMBERS))}, got {tensor['datatype']}")
    return [] if problems else [values[start : start + width] for start in range(0, len(values), width)]


def _values(tensor: Mapping[str, Any], place: str, problems: list[str]) -> list[Any]:
    """Return the tensor's elements in row order, flattened."""
    shape, data, datatype = tensor.get("shape"), tensor.get("data"), tensor.get("datatype")
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and any("binary" in name or "shared_memory" in name for name in parameters):
        problems.append(f"{place}: binary data and shared memory are not supported; send data as a JSON array")
        return []
    if not isinstance(datatype, str):
        problems.append(f"{place}.datatype must be text, got {str(datatype)[:60]}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or any(type(n) is not int or n < 1 for n in shape):
        problems.append(f"{place}.shape must be one or two numbers above 0, got {str(shape)[:60]}")
        return []
    if not isinstance(data, list):
        problems.append(f"{place}.data must be an array, got {str(data)[:60]}")
        return []
    if data and isinstance(data[0], list):  # nested, as numpy's tolist returns it
        if not all(isinstance(row, list) and len(row) == shape[-1] for row in data) or len(shape) != 2:
            problems.append(f"{place}.data must be flat, or nested like its shape {shape}")
            return []
        data = [value for row in data for value in row]
    wanted = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if len(data) != wanted:
        problems.append(f"{place}.data must have {wanted} elements for shape {shape}, got {len(data)}")
    return data
