"""Loading and predicting: from a folder and an archive, with named rejections."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.onnx_model import load, load_archive, load_directory
from mlops_runtime.serving.served_model import ModelError, check_answer

ROWS = np.array([[1.0, 4.0, 2.0], [3.0, np.nan, -1.0]], dtype=np.float32)


def test_directory_and_archive_give_the_same_model(models: Any, tmp_path: Path) -> None:
    """The server's and the evaluation's formats predict alike."""
    unpacked = load_directory(models.write(tmp_path / "model"))
    packed = load_archive(models.archive(tmp_path / "model.tar.gz"))
    assert unpacked.predict(ROWS).tolist() == packed.predict(ROWS).tolist() == [24.0, -4.0]
    assert unpacked.sha256 == packed.sha256 == hashlib.sha256(models.onnx()).hexdigest()


def test_lightgbm_survives_its_conversion_with_missing_values(models: Any) -> None:
    """A converted LightGBM model predicts like LightGBM, nulls included."""
    random = np.random.default_rng(3)
    x = random.normal(size=(500, 3))
    x[random.random((500, 3)) < 0.1] = np.nan
    y = np.nan_to_num(x[:, 0]) * 3 + random.normal(size=500)
    booster = lightgbm.train(
        {"verbosity": -1, "num_threads": 1, "objective": "regression_l1"}, lightgbm.Dataset(x, y), 20
    )
    converted = convert_lightgbm(booster, initial_types=[("input", FloatTensorType([None, 3]))])
    columns = tuple(SignatureColumn(name=n, type="number", nullable=True) for n in "abc")
    signature = models.signature_json(ModelSignature(inputs=columns, output="units"))
    predictions = load(converted.SerializeToString(), signature).predict(x.astype(np.float32))
    np.testing.assert_allclose(predictions, booster.predict(x), atol=1e-5)


def test_the_second_of_two_outputs_is_a_binary_classifiers_prediction(models: Any) -> None:
    """The probability of the positive class is returned."""
    random = np.random.default_rng(3)
    x = random.normal(size=(500, 3))
    booster = lightgbm.train(
        {"verbosity": -1, "num_threads": 1, "objective": "binary"}, lightgbm.Dataset(x, x[:, 0] > 0), 20
    )
    converted = convert_lightgbm(booster, initial_types=[("input", FloatTensorType([None, 3]))], zipmap=False)
    columns = tuple(SignatureColumn(name=n, type="number") for n in "abc")
    signature = models.signature_json(ModelSignature(inputs=columns, output="probabilities", kind="probability"))
    predictions = load(converted.SerializeToString(), signature).predict(x.astype(np.float32))
    np.testing.assert_allclose(predictions, booster.predict(x), atol=1e-5)


def test_two_columns_are_not_guessed_to_be_probabilities(models: Any) -> None:
    """A regression of two targets would return the second one."""
    with pytest.raises(ModelError, match=r'shape \(1, 2\) for 1 rows; .* set "kind": "probability"'):
        check_answer(load(models.onnx(outputs=2), models.signature_json()))


def test_fails_for_a_model_that_was_not_registered(models: Any, tmp_path: Path) -> None:
    """A wrong hash is rejected before loading."""
    (models.write(tmp_path) / "model.onnx").write_bytes(b"not even a model")
    with pytest.raises(
        ModelError, match=r"model\.onnx has SHA-256 [0-9a-f]{64}, expected abc: not the registered model"
    ):
        load_directory(tmp_path, expected_sha256="abc")


def test_fails_for_another_signature(models: Any, tmp_path: Path) -> None:
    """The same graph with other columns predicts otherwise: both files are verified."""
    folder = models.write(tmp_path)
    loaded = load_directory(folder)
    known = {"expected_sha256": loaded.sha256, "expected_signature_sha256": loaded.signature_sha256}
    assert load_directory(folder, **known).signature == loaded.signature
    text = (folder / "signature.json").read_text()
    (folder / "signature.json").write_text(text + " ")
    with pytest.raises(
        ModelError, match=r"signature\.json has SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}: not the registered model"
    ):
        load_directory(folder, **known)


def test_fails_for_a_missing_file(models: Any, tmp_path: Path) -> None:
    """The missing file is named."""
    (models.write(tmp_path) / "signature.json").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*signature\.json: No such file or directory"):
        load_directory(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ()}, "signature.json declares no columns; model.onnx takes 3 columns, signature.json declares 0"),
        ({"inputs": (SignatureColumn(name="a", type="number"),) * 3}, "column 'a' is declared twice"),
        (
            {"inputs": (SignatureColumn(name="a", type="category"),)},
            "category column 'a' declares no categories; list those that the model was trained with",
        ),
    ],
)
def test_fails_when_the_signature_does_not_fit(models: Any, change: dict[str, Any], message: str) -> None:
    """The error has all differences."""
    with pytest.raises(ModelError) as caught:
        load(models.onnx(), models.signature_json(replace(models.signature, **change)))
    assert str(caught.value).startswith(message)


def test_fails_for_a_fixed_batch_size(models: Any) -> None:
    """A model exported for one row cannot serve many."""
    with pytest.raises(ModelError, match="takes exactly 1 rows; export it with a free first dimension"):
        load(models.onnx(rows=1), models.signature_json())


@pytest.mark.parametrize(("content", "message"), [(b"{}", "inputs is missing"), (b"\xff", "not JSON")])
def test_fails_for_a_signature_that_is_none(models: Any, content: bytes, message: str) -> None:
    """The error names the file."""
    with pytest.raises(ModelError, match=f"signature.json: .*{message}"):
        load(models.onnx(), content)


def test_a_model_that_no_call_could_use_is_refused(models: Any) -> None:
    """Its server would pass ``/ping`` and fail every call."""
    check_answer(load(models.onnx(), models.signature_json()))
    with pytest.raises(ModelError, match=r"output 'units' has shape \(1, 3\) for 1 rows; expected one value per row"):
        check_answer(load(models.onnx(outputs=3), models.signature_json()))
    wide = ModelSignature(inputs=(SignatureColumn(name="a", type="number"),), output="units")
    with pytest.raises(ModelError, match="the model cannot predict a row of zeros"):
        check_answer(load(models.onnx(free=True), models.signature_json(wide)))


def test_fails_for_bytes_that_are_no_onnx(models: Any) -> None:
    """The loader rejects a pickle, or anything else, without running it."""
    with pytest.raises(ModelError, match=r"model\.onnx is not a model that ONNX Runtime can load"):
        load(b"\x80\x04N.", models.signature_json())


def test_fails_for_an_archive_that_is_none(tmp_path: Path) -> None:
    """A broken download is refused by name."""
    (tmp_path / "model.tar.gz").write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(ModelError, match=r"cannot read model\.tar\.gz: it is not gzip"):
        load_archive(tmp_path / "model.tar.gz")


def test_fails_for_an_archive_with_links_and_paths(models: Any, tmp_path: Path) -> None:
    """Rejected without writing anything."""
    evil = tmp_path / "in" / "model.tar.gz"
    evil.parent.mkdir()
    with tarfile.open(evil, "w:gz") as tar:
        link = tarfile.TarInfo("model.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ModelError, match=r"cannot read model\.tar\.gz: 'model\.onnx' is a symbolic link"):
        load_archive(evil)
    with tarfile.open(evil, "w:gz") as tar:
        escaping = tarfile.TarInfo("../model.onnx")
        escaping.size = 1
        tar.addfile(escaping, io.BytesIO(b"x"))
    with pytest.raises(ModelError, match=r"'\.\./model\.onnx' leads out of the folder"):
        load_archive(evil)
    assert list(tmp_path.iterdir()) == [evil.parent]


def test_nobody_is_told_what_is_served(models: Any, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry is off: no id or cache in the home directory, and no sending thread.

    See: https://github.com/microsoft/onnxruntime/pull/27379
    """
    models.write(tmp_path / "model")
    home = tmp_path / "home"
    home.mkdir()
    keep = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    program = (
        "import os, pathlib, sys; from mlops_runtime.serving.onnx_model import load_directory; "
        "load_directory(pathlib.Path(sys.argv[1])); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model")]
    environment = {**keep, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, list(home.rglob("*"))) == ("1\n", [])
