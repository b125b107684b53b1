"""Folders of models in other formats than ONNX, for a worker of this environment."""

import json
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.model_folder import manifest_of, write_manifest

LOCK = "1" * 64
# a lock with everything that these models need
LOCK_TEXT = "".join(
    f"{name}==1.0.0 --hash=sha256:{'0' * 64}\n"
    for name in ("catboost", "joblib", "lightgbm", "mlflow", "numpy", "pandas", "scikit-learn", "skops", "xgboost")
)
PYTHON = Path(sys.executable)
ENVIRONMENT = {
    "MLOPS_MODEL_PYTHON": str(PYTHON),
    "MLOPS_REQUIREMENTS_SHA256": LOCK,
    "MLOPS_TRUST": "data,code,pickle",
}
SIGNATURE = ModelSignature(
    inputs=(
        SignatureColumn(name="price", type="number", nullable=True),
        SignatureColumn(name="store", type="category", categories=("east", "west"), nullable=True),
    ),
    output="units",
)
HANDLER = """
def load(folder):
    return float((folder / "factor.txt").read_text())


def predict(model, frame):
    return frame["price"].fillna(0) * model + frame["store"].isna()
"""


def packed(folder: Path, signature: ModelSignature = SIGNATURE) -> str:
    """Write signature and manifest next to the model in a folder; return the model's hash."""
    (folder / "signature.json").write_text(json.dumps(to_dict(signature)))
    return write_manifest(folder, manifest_of(folder, requirements_sha256=LOCK, python="3.13"))


def archive(folder: Path, path: Path) -> Path:
    """Pack a model's folder as ``model.tar.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            tar.add(file, file.relative_to(folder))
    return path


def handler(folder: Path, text: str = HANDLER) -> str:
    """Write a handler: three times the price, plus one if the store is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(text)
    (folder / "factor.txt").write_text("3")
    return packed(folder)


def trees(folder: Path) -> lightgbm.Booster:
    """Write a LightGBM text file and return its model."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = table()
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(rows, rows[:, 0] * 2), 5)
    booster.save_model(folder / "model.txt")
    packed(folder)
    return booster


def estimator(folder: Path, kind: str | None = None) -> Any:
    """Write a pickled scikit-learn model of native categories and return it."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    folder.mkdir(parents=True, exist_ok=True)
    classes = HistGradientBoostingClassifier if kind else HistGradientBoostingRegressor
    data = frame(table())
    model = classes(categorical_features="from_dtype", max_iter=5).fit(
        data, data["price"] > 0 if kind else data["price"]
    )
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    packed(folder, ModelSignature(inputs=SIGNATURE.inputs, output="units", kind="probability") if kind else SIGNATURE)
    return model


def table(rows: int = 200) -> Any:
    """Return rows in the server's format."""
    random = np.random.default_rng(5)
    return np.column_stack([random.normal(size=rows), random.integers(-1, 2, rows)]).astype(np.float32)


def frame(rows: Any) -> Any:
    """Return rows as in a model's training."""
    store = pd.Categorical.from_codes(rows[:, 1].astype(int), categories=["east", "west"])
    return pd.DataFrame({"price": rows[:, 0].astype(float), "store": store})
