"""The process of a model that is not ONNX: the standard library and what the model itself requires, nothing of this package.

``python model_worker.py FD FOLDER`` loads what ``mlops-model.json`` names and answers over an inherited socket. It reads a length
and rows as 32-bit floats in the signature's order, a category as its code, -1 if unknown or missing. It writes a length, the number
of columns and 64-bit floats; a negative length has the error's one line. The parent process has compared every file before.
"""

import importlib
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]
Predict = Callable[[Any], Any]

_PROBABILITIES = ("probability", "classes")
_HEAD = struct.Struct("<q")
_ANSWER = struct.Struct("<qq")


def load_xgboost(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a matrix."""
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(path)
    booster.set_param({"nthread": 1})
    return lambda rows: booster.inplace_predict(rows, validate_features=False)


def load_lightgbm(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a matrix."""
    import lightgbm

    booster = lightgbm.Booster(model_file=path)
    return lambda rows: booster.predict(rows, num_threads=1)


def load_catboost(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame; a probability is that of the second class, of three or more classes all are given."""
    import catboost

    model = catboost.CatBoost()
    model.load_model(str(path))
    kind = "Probability" if manifest["kind"] in _PROBABILITIES else "RawFormulaVal"
    _check_classes(model, manifest)
    return lambda frame: model.predict(frame, prediction_type=kind, thread_count=1)


def load_skops(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame, by the types that the manifest trusts and not by those that the file names."""
    import skops.io

    return _estimator(skops.io.load(path, trusted=list(manifest.get("trusted", ()))), manifest)


def load_mlflow(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow.pyfunc

    predict: Predict = mlflow.pyfunc.load_model(str(path)).predict
    return predict


def load_pickle(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame."""
    try:
        import joblib
    except ImportError:
        import pickle

        with path.open("rb") as file:
            model = pickle.load(file)
    else:
        model = joblib.load(path)
    return _estimator(model, manifest)


def load_handler(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame: that of ``load`` and ``predict``, or of SageMaker's ``model_fn`` and ``predict_fn``."""
    sys.path.insert(0, str(path.parent))
    module = importlib.import_module(path.stem)
    folder = manifest["folder"]
    if hasattr(module, "model_fn"):
        model = module.model_fn(str(folder))
        return lambda frame: module.predict_fn(frame, model)
    model = module.load(folder)
    return lambda frame: module.predict(model, frame)


LOADERS: dict[str, Callable[[Path, Manifest], Predict]] = {
    "xgboost": load_xgboost,
    "lightgbm": load_lightgbm,
    "catboost": load_catboost,
    "skops": load_skops,
    "mlflow": load_mlflow,
    "pickle": load_pickle,
    "handler": load_handler,
}


def _estimator(model: Any, manifest: Manifest) -> Predict:
    _check_classes(model, manifest)
    predict: Predict = model.predict_proba if manifest["kind"] in _PROBABILITIES else model.predict
    return predict


def _check_classes(model: Any, manifest: Manifest) -> None:
    """Refuse a model whose classes are not those of the signature, in its order: probabilities would be of other classes."""
    wanted, found = manifest["classes"], getattr(model, "classes_", None)
    if wanted and found is not None and [str(name) for name in found] != wanted:
        raise ValueError(f"classes must be {', '.join(wanted)} as in signature.json, got {', '.join(map(str, found))}")


def framed(columns: list[dict[str, Any]]) -> Predict:
    """Return a function that makes a pandas frame of a matrix: numbers as 64-bit floats, categories by their text."""
    import pandas as pd

    kinds = [pd.CategoricalDtype(c["categories"]) if c["type"] == "category" else None for c in columns]

    def frame(rows: Any) -> Any:
        made = {}
        for index, (column, kind) in enumerate(zip(columns, kinds, strict=True)):
            values = rows[:, index]
            made[column["name"]] = (
                values.astype("float64")
                if kind is None
                else pd.Categorical.from_codes(values.astype("int32"), dtype=kind)
            )
        return pd.DataFrame(made, copy=False)

    return frame


def serve(wire: socket.socket, predict: Predict, width: int) -> None:
    """Answer until the other side is gone."""
    import numpy as np

    while True:
        (size,) = _HEAD.unpack(_exactly(wire, _HEAD.size))
        rows = np.frombuffer(_exactly(wire, size), "<f4").reshape(-1, width)
        try:
            answer = np.ascontiguousarray(predict(rows), "<f8")
        except Exception as error:  # the model may raise anything
            _refuse(wire, error)
            continue
        if answer.ndim not in (1, 2) or len(answer) != len(rows):
            _refuse(
                wire, ValueError(f"predict must give one prediction a row, got {answer.shape} for {len(rows)} rows")
            )
            continue
        columns = 0 if answer.ndim == 1 else answer.shape[1]
        wire.sendall(_ANSWER.pack(answer.nbytes, columns) + answer.tobytes())


def _refuse(wire: socket.socket, error: Exception) -> None:
    lines = str(error).splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}"[:300].encode()
    wire.sendall(_ANSWER.pack(-len(text), 0) + text)


def _exactly(wire: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = wire.recv(count - len(data))
        if not part:
            sys.exit(0)
        data += part
    return bytes(data)


def main() -> None:
    """Load, say so, and serve."""
    wire, folder = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    manifest = json.loads((folder / "mlops-model.json").read_text())
    signature = json.loads((folder / "signature.json").read_text())
    manifest |= {"folder": folder, "kind": signature.get("kind"), "classes": signature.get("classes")}
    columns = signature["inputs"]
    try:
        predict = LOADERS[manifest["flavor"]](folder / manifest["entry"], manifest)
        frame = framed(columns) if manifest["takes"] == "frame" else lambda rows: rows
    except Exception as error:
        _refuse(wire, error)
        raise
    wire.sendall(_ANSWER.pack(0, 0))
    serve(wire, lambda rows: predict(frame(rows)), len(columns))


if __name__ == "__main__":
    main()
