"""The probe models in onnxruntime and in the server."""

from __future__ import annotations

import hashlib
import io
import tarfile

import numpy as np
import onnx
import onnxruntime
import pytest

from mlops_runtime.verify.probe_model import ProbeModel, failing, times


def content(model: ProbeModel) -> bytes:
    """Return ``model.onnx`` of the archive."""
    with tarfile.open(fileobj=io.BytesIO(model.archive)) as tar:
        file = tar.extractfile("model.onnx")
        assert file is not None
        return file.read()


def test_one_multiplies() -> None:
    """It accepts any number of rows; its hashes are those of its content and reproducible."""
    model = times(3.0)
    session = onnxruntime.InferenceSession(content(model))

    onnx.checker.check_model(onnx.load_from_string(content(model)))
    (found,) = session.run(None, {"input": np.array([[2.0], [5.0]], dtype=np.float32)})
    assert found.tolist() == [[6.0], [15.0]]
    assert model == times(3.0)
    assert model.model_sha256 == hashlib.sha256(content(model)).hexdigest()
    assert model.archive_sha256 == hashlib.sha256(model.archive).hexdigest()
    assert model.model_sha256 != times(4.0).model_sha256


def test_one_loads_and_then_fails() -> None:
    """The candidate passes the server's first row of zeros and starts, so that an alarm has to stop it."""
    onnx.checker.check_model(onnx.load_from_string(content(failing())))
    session = onnxruntime.InferenceSession(content(failing()))

    (found,) = session.run(None, {"input": np.array([[0.0]], dtype=np.float32)})
    assert found.tolist() == [[1.0]]
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"input": np.array([[2.0]], dtype=np.float32)})
