"""Models of a verification, built without ``onnx``: one multiplies by a factor, one fails on every call except with zeros.

An ONNX file is a protocol buffer. Field numbers are from ``onnx.proto3`` of ONNX 1.14.

See: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

import gzip
import hashlib
import io
import json
import struct
import tarfile
from dataclasses import dataclass

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn

_FLOAT, _INT64 = 1, 7  # of TensorProto
_INT = 2  # of AttributeProto
_IR_VERSION, _OPSET = 8, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeModel:
    """A packed model."""

    archive: bytes  # content of `model.tar.gz`
    archive_sha256: str  # SHA-256 of the archive
    model_sha256: str  # SHA-256 of `model.onnx` in the archive


def times(factor: float) -> ProbeModel:
    """Return a model that returns its input multiplied by a factor."""
    return _packed(_onnx([_node("Mul", ["input", "constant"], "output")], [factor]))


def failing() -> ProbeModel:
    """Return a model that fails on any value from 1, but succeeds on the row of zeros that the server sends at its start.

    It uses its input as the index of a table with one entry.
    """
    to_index = _node("Cast", ["input"], "index", _text(1, "to") + _number(3, _INT64) + _number(20, _INT))
    return _packed(_onnx([to_index, _node("Gather", ["constant", "index"], "output")], [1.0]))


def _packed(onnx: bytes) -> ProbeModel:
    signature = ModelSignature(inputs=(SignatureColumn(name="x", type="number"),), output="y")
    files = {"model.onnx": onnx, "signature.json": json.dumps(to_dict(signature)).encode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    archive = gzip.compress(buffer.getvalue(), mtime=0)
    return ProbeModel(
        archive=archive,
        archive_sha256=hashlib.sha256(archive).hexdigest(),
        model_sha256=hashlib.sha256(onnx).hexdigest(),
    )


def _node(operation: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    names = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operation)
    return names + (_bytes(5, attribute) if attribute else b"")


def _onnx(nodes: list[bytes], values: list[float]) -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    constant = _number(1, len(values)) + _number(2, _FLOAT) + _text(8, "constant") + _bytes(9, raw)
    graph = (
        b"".join(_bytes(1, node) for node in nodes)
        + _text(2, "probe")
        + _bytes(5, constant)
        + _bytes(11, _value("input"))
        + _bytes(12, _value("output"))
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _text(1, "") + _number(2, _OPSET))


def _value(name: str) -> bytes:
    """Return a ValueInfoProto of floats with unknown numbers of rows and columns, so that loading rejects no shape."""
    shape = _bytes(1, _text(2, "rows")) + _bytes(1, _text(2, f"{name}_columns"))
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
