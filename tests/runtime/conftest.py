"""Small real ONNX models, written with ONNX's own helper."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn

PRICE = SignatureColumn(name="price", type="number")
STOCK = SignatureColumn(name="stock", type="number", nullable=True)
STORE = SignatureColumn(name="store", type="category", categories=("north", "south, old", "east"))
SIGNATURE = ModelSignature(inputs=(PRICE, STOCK, STORE), output="units")


class Models:
    """Writes models: ``weights`` times the columns, a null number counts as 0."""

    signature = SIGNATURE

    def onnx(
        self,
        weights: Sequence[float] = (2.0, 0.5, 10.0),
        *,
        log: bool = False,
        rows: int | None = None,
        outputs: int = 1,
        free: bool = False,
    ) -> bytes:
        """Return ``model.onnx``; with ``log`` the prediction is the logarithm of the sum (not finite at 0 and below)."""
        weight = numpy_helper.from_array(np.repeat(np.float32(weights)[:, None], outputs, axis=1), "weights")
        zero = numpy_helper.from_array(np.array(0, dtype=np.float32), "zero")
        nodes = [
            helper.make_node("IsNaN", ["features"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "features"], ["filled"]),
            helper.make_node("MatMul", ["filled", "weights"], ["sum" if log else "units"]),
        ]
        if log:
            nodes.append(helper.make_node("Log", ["sum"], ["units"]))
        graph = helper.make_graph(
            nodes,
            "linear",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, [rows, None if free else len(weights)])],
            [helper.make_tensor_value_info("units", TensorProto.FLOAT, [rows, outputs])],
            [weight, zero],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(model.SerializeToString())

    def signature_json(self, signature: ModelSignature = SIGNATURE) -> bytes:
        """Return ``signature.json``."""
        return json.dumps(to_dict(signature)).encode()

    def write(self, directory: Path, onnx: bytes | None = None) -> Path:
        """Write both files into a directory, as SageMaker unpacks them."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(self.onnx() if onnx is None else onnx)
        (directory / "signature.json").write_bytes(self.signature_json())
        return directory

    def archive(self, path: Path, onnx: bytes | None = None) -> Path:
        """Write both files as ``model.tar.gz``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz") as tar:
            contents = (
                ("model.onnx", self.onnx() if onnx is None else onnx),
                ("signature.json", self.signature_json()),
            )
            for name, content in contents:
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path


@pytest.fixture(scope="session")
def models() -> Models:
    """Return the writer of test models."""
    return Models()
