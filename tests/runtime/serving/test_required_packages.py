"""Packages missing in a lock, found by flavor, imports and names in pickles without loading."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.model_manifest import Takes
from mlops_runtime.serving.model_folder import Recognised, recognised
from mlops_runtime.serving.required_packages import missing_packages

NUMBERS = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="y")


@pytest.mark.parametrize(
    ("takes", "signature", "lacks"),
    [
        ("matrix", model_folders.SIGNATURE, ["xgboost", "numpy"]),
        ("frame", NUMBERS, ["xgboost", "numpy"]),  # its process gets a matrix then
        ("frame", model_folders.SIGNATURE, ["xgboost", "numpy", "pandas"]),
    ],
)
def test_trees_need_their_library(tmp_path: Path, takes: Takes, signature: ModelSignature, lacks: list[str]) -> None:
    """And pandas if they predict from a frame."""
    found = Recognised(flavor="xgboost", entry="model.json", takes=takes, trust="data")
    assert list(missing_packages(tmp_path, found, signature, ())) == lacks
    assert missing_packages(tmp_path, found, signature, ("xgboost-cpu", "numpy", "pandas")) == {}


def _handler(folder: Path) -> None:
    (folder / "network.py").touch()
    imports = "import torch.nn, network, os\nfrom sklearn.base import clone\nfrom . import x\n"
    (folder / "model.py").write_text(imports + model_folders.HANDLER)


def _mlflow(folder: Path) -> None:
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")
    (folder / "model.pkl").write_bytes(pickle.dumps(1))


@pytest.mark.parametrize(
    ("write", "lacks"),
    [
        (_handler, {"scikit-learn": "model.py imports sklearn", "torch": "model.py imports torch"}),
        (
            _mlflow,
            {"mlflow": ". is loaded by mlflow", "scikit-learn": "MLmodel is loaded by mlflow.sklearn"},
        ),
        (lambda f: (f / "model.pkl").write_bytes(pickle.dumps([np.float64(1), OrderedDict(), Decimal(1)])), {}),
        (model_folders.estimator, {"scikit-learn": "model.pkl names sklearn"}),
    ],
)
def test_code_and_pickles_need_what_they_name(
    tmp_path: Path, write: Callable[[Path], object], lacks: dict[str, str]
) -> None:
    """Modules of the folder, of Python and unknown ones are not required."""
    write(tmp_path)
    assert missing_packages(tmp_path, recognised(tmp_path), NUMBERS, ("numpy", "pandas", "joblib")) == lacks
