"""Loading of models: in this process or in one of its own, only in the required environment."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime.serving import model_folders
from tests.runtime.serving.model_folders import LOCK, PYTHON

from mlops_runtime.serving.model_source import ModelEnvironment, archived_model, load_folder
from mlops_runtime.serving.served_model import ModelError
from mlops_runtime.serving.worker_model import WorkerModel

ENVIRONMENT = ModelEnvironment(python=PYTHON, requirements_sha256=LOCK)
ROWS = np.array([[2, 0], [np.nan, 1]], dtype=np.float32)


def test_the_environment_comes_from_variables() -> None:
    """Defaults are the image's; an invalid trust is named."""
    assert ModelEnvironment.from_variables({}) == ModelEnvironment()
    given = {"MLOPS_MODEL_PYTHON": str(PYTHON), "MLOPS_REQUIREMENTS_SHA256": LOCK, "MLOPS_TRUST": "data,pickle"}
    assert ModelEnvironment.from_variables(given) == ModelEnvironment(
        python=PYTHON, requirements_sha256=LOCK, trusts=("data", "pickle")
    )
    with pytest.raises(ModelError, match="MLOPS_TRUST must be of data, code, pickle, got 'all'"):
        ModelEnvironment.from_variables({"MLOPS_TRUST": "data,all"})


def test_a_champion_is_loaded_whatever_a_registry_allows_by_now(tmp_path: Path) -> None:
    """A rule for candidates does not remove their reference."""
    model_folders.estimator(tmp_path)
    with pytest.raises(ModelError, match="trust 'pickle', the registry allows data, code"):
        load_folder(tmp_path, ENVIRONMENT)
    load_folder(tmp_path, ENVIRONMENT.of_champion()).close()


def test_onnx_needs_no_environment(models: Any, tmp_path: Path) -> None:
    """In this process, from a folder or an archive."""
    rows = np.zeros((2, 3), dtype=np.float32)
    folder = load_folder(models.write(tmp_path / "model"), ModelEnvironment())
    with archived_model(models.archive(tmp_path / "model.tar.gz"), ModelEnvironment()) as model:
        assert model.manifest is None
        assert model.sha256 == folder.sha256
        assert model.predict(rows).tolist() == folder.predict(rows).tolist()


def test_every_other_model_has_a_process_that_ends_with_the_block(tmp_path: Path) -> None:
    """Its unpacked folder is removed too; both hashes are checked before it starts."""
    digest = model_folders.handler(tmp_path / "model")
    packed = model_folders.archive(tmp_path / "model", tmp_path / "model.tar.gz")
    with archived_model(packed, ENVIRONMENT, expected_sha256=digest) as model:
        assert isinstance(model, WorkerModel)
        assert model.predict(ROWS).tolist() == [6.0, 0.0]
        process = Path(f"/proc/{model.pids[0]}")
        assert process.exists()
    assert not process.exists()
    with pytest.raises(ModelError, match=r"signature\.json has SHA-256 [0-9a-f]{64}, expected 000"):
        load_folder(tmp_path / "model", ENVIRONMENT, expected_signature_sha256="0" * 64)


def test_an_image_without_an_environment_says_so(tmp_path: Path) -> None:
    """Models other than ONNX are not loaded by the Python of jobs and server."""
    model_folders.handler(tmp_path / "model")
    packed = model_folders.archive(tmp_path / "model", tmp_path / "model.tar.gz")
    with (
        pytest.raises(ModelError, match=r"MLOPS_REQUIREMENTS_SHA256 is not set: .*requirements\.lock"),
        archived_model(packed, ModelEnvironment()),
    ):
        pass


def test_what_is_no_archive_is_refused_by_name(tmp_path: Path) -> None:
    """The message has the file's name without its path."""
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with (
        pytest.raises(ModelError, match=r"^cannot read model\.tar\.gz: "),
        archived_model(tmp_path / "model.tar.gz", ENVIRONMENT),
    ):
        pass
