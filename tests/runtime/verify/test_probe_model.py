"""The probe models, as onnxruntime and the server see them."""

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
    """``model.onnx`` of the archive."""
    with tarfile.open(fileobj=io.BytesIO(model.archive)) as tar:
        file = tar.extractfile("model.onnx")
        assert file is not None
        return file.read()


def test_one_multiplies() -> None:
    """Any number of rows; the hashes are of what is in it, and the same each time."""
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
    """A candidate that starts, as the server asks it for a row of zeros first, and that an alarm has to stop."""
    onnx.checker.check_model(onnx.load_from_string(content(failing())))
    session = onnxruntime.InferenceSession(content(failing()))

    (found,) = session.run(None, {"input": np.array([[0.0]], dtype=np.float32)})
    assert found.tolist() == [[1.0]]
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"input": np.array([[2.0]], dtype=np.float32)})
