"""Worker process of a model that is not ONNX. It uses the standard library and the model's own packages, none of this package.

``python model_worker.py FD FOLDER`` loads the model of ``mlops-model.json`` and answers requests over an inherited socket.

- A request is two lengths, a matrix in the signature's order and JSON. The matrix has 32-bit floats, or 64-bit floats if the
  signature passes values; a category is its code, -1 if unknown or missing. The JSON has the strings of categories without a code.
- A response is a length, the number of columns and 64-bit floats; if the length is negative, a one-line error message.

The parent process has verified every file before.
"""

import gc
import importlib
import importlib.machinery
import json
import os
import re
import socket
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

Predict = Callable[[Any], Any]


class Column(TypedDict, total=False):
    """An input of the signature; name and type always exist."""

    name: str
    type: str
    kind: str
    nullable: bool
    categories: list[str]


class Manifest(TypedDict, total=False):
    """Content of ``mlops-model.json`` that loading reads, with what it needs of the signature."""

    flavor: str
    entry: str
    takes: str
    trust: str
    trusted: list[str]
    kind: str | None
    inputs: list[Column]
    classes: list[str] | None
    folder: Path


_PROBABILITIES = ("probability", "classes")
_HEAD = struct.Struct("<qq")
_ANSWER = struct.Struct("<qq")
# names that libraries give to columns that were trained without names
_UNNAMED = re.compile(r"(Column_|f)?\d+")
_MOST_NESTED = 12
_MATRIX_TOO = ("xgboost", "lightgbm")
# loaders of a library's own file, which the parent process has recognised
_MLFLOW_LIBRARIES = ("mlflow.catboost", "mlflow.lightgbm", "mlflow.sklearn", "mlflow.xgboost")


def load_xgboost(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a matrix, or of a frame where the model was trained with native categories."""
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(path)
    booster.set_param({"nthread": 1})
    order = _order(booster.feature_names, booster.num_features(), manifest)
    attributes = booster.attributes()
    # scikit-learn's wrapper predicts with the best round of early stopping, a booster with all rounds
    is_wrapped = "scikit_learn" in attributes and "best_iteration" in attributes
    rounds = (0, int(attributes["best_iteration"]) + 1) if is_wrapped else (0, 0)
    return lambda rows: booster.inplace_predict(order(rows), iteration_range=rounds, validate_features=False)


def load_lightgbm(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a matrix, or of a frame where the model was trained with native categories."""
    lightgbm = _without_scikit_learn("lightgbm")
    booster = lightgbm.Booster(model_file=path)
    order = _order(booster.feature_name(), booster.num_feature(), manifest)
    _check_levels([level for levels in booster.pandas_categorical or () for level in levels], manifest)
    return lambda rows: booster.predict(order(rows), num_threads=1)


def _without_scikit_learn(library: str) -> Any:
    """Import a library without scikit-learn, which it only imports for wrappers: 0.9 of 1.6 s and 70 of 190 MB of a process."""
    if "sklearn" in sys.modules:
        return importlib.import_module(library)
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # makes importing it an ImportError
    try:
        return importlib.import_module(library)
    finally:
        del sys.modules["sklearn"]


def load_catboost(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame. A probability is that of the second class; for three or more classes, of each class."""
    import catboost

    has_chances = manifest["kind"] in _PROBABILITIES
    # only a regressor knows which of its losses require exponentiation
    model = catboost.CatBoost() if has_chances else catboost.CatBoostRegressor()
    model.load_model(str(path))
    _check_classes(model, manifest)
    null = [c["name"] for c in manifest["inputs"] if c["type"] == "category" and c.get("nullable")]
    if null:
        raise ValueError(
            f"CatBoost takes no missing category, but signature.json allows null for {', '.join(null)}; fill them before training, "
            "or add model.py"
        )
    order = _order(model.feature_names_, len(model.feature_names_), manifest)
    if has_chances:
        return lambda frame: model.predict(order(frame), prediction_type="Probability", thread_count=1)
    return lambda frame: model.predict(order(frame), thread_count=1)


def load_skops(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame; only types that the manifest trusts are loaded, not all that the file names."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    trusted = manifest.get("trusted", ())
    try:
        return _estimator(skops.io.load(path, trusted=list(trusted)), manifest)
    except UntrustedTypesFoundException as error:
        beyond = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
        raise ValueError(_untrusted(path.name, beyond)) from error


def load_mlflow(path: Path, manifest: Manifest) -> Predict:
    """Return a function of a frame; types that ``MLmodel`` trusts must also be trusted by the manifest."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow.pyfunc
    from mlflow.models import Model

    metadata = Model.load(str(path))
    _check_loader(metadata.flavors.get("python_function", {}), manifest["trust"])
    for flavor in metadata.flavors.values():
        beyond = sorted(set(flavor.get("skops_trusted_types") or ()) - set(manifest.get("trusted", ())))
        if beyond:
            raise ValueError(_untrusted("MLmodel", beyond))
    model = mlflow.pyfunc.load_model(str(path))
    schema = metadata.get_input_schema()
    kinds = {} if schema is None else {spec.name: spec.type.to_pandas() for spec in schema.inputs}

    def enforced(frame: Any) -> Any:
        # MLflow enforces its schema's types, but does not convert categories, or integers to narrower ones
        return frame.astype({n: kind for n, kind in kinds.items() if kind is object or not frame[n].isna().any()})

    raw = model.get_raw_model() if manifest["kind"] in _PROBABILITIES else None
    predict = _estimator(raw, manifest) if hasattr(raw, "predict_proba") else model.predict
    return lambda frame: predict(enforced(frame))


def _check_loader(function: dict[str, Any], trust: str) -> None:
    """Raise if the loader of an ``MLmodel`` may do more than the manifest allows; MLflow may parse it differently than packing."""
    loader, script = str(function.get("loader_module")), str(function.get("python_model"))
    is_code = loader == "mlflow.pyfunc.model" and script.endswith(".py")
    if trust != "pickle" and loader not in _MLFLOW_LIBRARIES and not (is_code and trust == "code"):
        raise ValueError(f"MLmodel is loaded by {loader}, which may unpickle; the manifest has trust {trust!r}")


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
    """Return a function of a frame, using ``load`` and ``predict``, or SageMaker's ``model_fn`` and ``predict_fn``."""
    sys.path.insert(0, str(path.parent))
    module = importlib.import_module(path.stem)
    folder = manifest["folder"]
    if hasattr(module, "model_fn"):
        model = module.model_fn(str(folder))
        return lambda frame: module.predict_fn(frame, model)
    model = module.load(folder)
    return lambda frame: module.predict(model, frame)


class _Source(importlib.machinery.SourceFileLoader):
    """Imports modules of the model's folder without writing byte code there, which the manifest would not list."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def _keep_clean(folder: Path) -> None:
    """Import modules of a folder without writing to it; environments still cache their byte code."""
    source = (_Source, importlib.machinery.SOURCE_SUFFIXES)
    extension = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)

    def finder(path: str) -> importlib.machinery.FileFinder:
        if not Path(path).is_relative_to(folder):
            raise ImportError(f"{path} is outside of the model's folder")
        return importlib.machinery.FileFinder(path, source, extension)

    sys.path_hooks.insert(0, finder)


LOADERS: dict[str, Callable[[Path, Manifest], Predict]] = {
    "xgboost": load_xgboost,
    "lightgbm": load_lightgbm,
    "catboost": load_catboost,
    "skops": load_skops,
    "mlflow": load_mlflow,
    "pickle": load_pickle,
    "handler": load_handler,
}


def load(folder: Path, manifest: Manifest) -> Predict:
    """Return a function of a matrix or frame, by the manifest's flavor.

    Raises:
        ValueError: If the model was saved by another major or minor version of scikit-learn, which only warns itself.
    """
    _keep_clean(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            predict = LOADERS[manifest["flavor"]](folder / manifest["entry"], manifest)
        except Exception:
            _check_versions(caught)  # probably the cause of the failure
            raise
    _check_versions(caught)
    for each in caught:
        warnings.showwarning(each.message, each.category, each.filename, each.lineno)
    return predict


def _check_versions(caught: Sequence[warnings.WarningMessage]) -> None:
    for each in caught:
        saved = getattr(each.message, "original_sklearn_version", None)
        here = getattr(each.message, "current_sklearn_version", None)
        if saved and here and saved.split(".")[:2] != here.split(".")[:2]:
            raise ValueError(
                f"the model was saved by scikit-learn {saved}, its environment has {here}; lock {saved}, or train again"
            )


def _untrusted(name: str, types: Sequence[str]) -> str:
    return (
        f"{name} names types that are not trusted: {', '.join(types)}; list those that you trust in trusted-types.txt beside "
        "it, one per line, and allow the model the trust of a pickle"
    )


def column_problem(trained: Sequence[str], width: int, names: Sequence[str]) -> str | None:
    """Return why a model that was trained with these columns does not match those of the signature.

    Args:
        trained: Column names of the model; empty if unknown.
        width: Number of columns of the model.
        names: The signature's columns.

    Example:
        >>> column_problem(["price", "stock"], 2, ["price", "store"])
        'the model was trained with columns price, stock; signature.json declares price, store'
    """
    if width != len(names):
        return f"the model takes {width} columns, signature.json declares {len(names)}"
    is_named = any(_UNNAMED.fullmatch(name) is None for name in trained)
    if is_named and sorted(_written(names, trained)) != sorted(trained):
        return f"the model was trained with columns {', '.join(trained)}; signature.json declares {', '.join(names)}"
    return None


def _written(names: Sequence[str], trained: Sequence[str]) -> list[str]:
    return [name if name in trained else name.replace(" ", "_") for name in names]  # LightGBM replaces spaces


def _order(trained: Sequence[str] | None, width: int, manifest: Manifest) -> Predict:
    """Return a function that reorders and renames columns to those that the model was trained with."""
    names = [column["name"] for column in manifest["inputs"]]
    wanted = list(trained or ())
    problem = column_problem(wanted, width, names)
    if problem is not None:
        raise ValueError(problem)
    is_frame = manifest["takes"] == "frame"
    known = _written(names, wanted)
    if sorted(known) != sorted(wanted):
        return (lambda frame: frame.set_axis(wanted, axis=1)) if is_frame and wanted else lambda rows: rows
    places = [known.index(name) for name in wanted]
    if is_frame:
        return lambda frame: frame.iloc[:, places].set_axis(wanted, axis=1)
    return (lambda rows: rows) if wanted == known else lambda rows: rows[:, places]


def _estimator(model: Any, manifest: Manifest) -> Predict:
    _check_classes(model, manifest)
    _check_levels(list(_levels(model, set(), 0)), manifest)
    predict: Predict = model.predict_proba if manifest["kind"] in _PROBABILITIES else model.predict
    return predict


def _check_classes(model: Any, manifest: Manifest) -> None:
    """Raise if the model's classes differ from the signature's in name or order: probabilities would be misattributed."""
    wanted, found = manifest["classes"], getattr(model, "classes_", None)
    if wanted and found is not None and [str(name) for name in found] != wanted:
        raise ValueError(f"classes must be {', '.join(wanted)} as in signature.json, got {', '.join(map(str, found))}")


def _levels(value: Any, seen: set[int], depth: int) -> Iterator[Any]:
    """Yield the categories that scikit-learn's encoders in a model have learned."""
    if id(value) in seen or depth > _MOST_NESTED:
        return
    seen.add(id(value))
    for levels in getattr(value, "categories_", ()):
        yield from levels.tolist()
    if isinstance(value, list | tuple):
        inner = list(value)
    elif isinstance(value, dict):
        inner = list(value.values())
    else:
        inner = list(getattr(value, "__dict__", {}).values()) if type(value).__module__.startswith("sklearn.") else []
    for each in inner:
        yield from _levels(each, seen, depth + 1)


def _check_levels(levels: Sequence[Any], manifest: Manifest) -> None:
    """Raise if learned categories can never occur in requests: each would silently be treated as unknown."""
    if None in levels and any(column["type"] == "category" and column.get("nullable") for column in manifest["inputs"]):
        raise ValueError(
            "the model has learned None as a missing value, a frame has NaN; fill missing strings before training, or use pandas 3"
        )
    learned = {level for level in levels if type(level) is str}
    integers = {str(level) for level in levels if type(level) is int} - learned
    columns = [c for c in manifest["inputs"] if c["type"] == "category" and c.get("kind") != "integer"]
    names = [column["name"] for column in columns if integers & set(column.get("categories", ()))]
    if names:
        raise ValueError(
            f"the model has learned integers as the categories of {', '.join(names)}, signature.json declares strings; set "
            '"kind": "integer" there'
        )


def framed(columns: list[Column]) -> Callable[[Any, Sequence[Any]], Any]:
    """Return a function that converts a matrix and strings to a pandas frame with the types of training.

    Numbers are 64-bit floats, or integers and booleans if the signature declares them. Categories are categoricals or strings; a
    missing one is NaN and never None, because encoders fitted with one treat the other differently.
    """
    import pandas as pd

    makers = [(_number_of if column["type"] == "number" else _category_of)(column) for column in columns]

    def frame(rows: Any, texts: Sequence[Any]) -> Any:
        made = {}
        for index, (column, make) in enumerate(zip(columns, makers, strict=True)):
            more = [(row, value) for row, place, value in texts if place == index] if texts else ()
            made[column["name"]] = make(rows[:, index], more)
        return pd.DataFrame(made, copy=False)

    return frame


def _number_of(column: Column) -> Callable[[Any, Sequence[Any]], Any]:
    """Return a converter for a column of numbers; a nullable one is a float, as in pandas."""
    import numpy as np

    kind = None if column.get("nullable") else column.get("kind")
    dtype = {"integer": "int64", "boolean": "bool"}.get(kind or "", "float64")

    def make(values: Any, _: Sequence[Any]) -> Any:
        if kind is not None and np.isnan(values).any():
            raise ValueError(f"column {column['name']!r} must not be null")
        return values.astype(dtype)

    return make


def _category_of(column: Column) -> Callable[[Any, Sequence[Any]], Any]:
    """Return a converter for a column of categories or strings, from codes and from strings that the signature does not list."""
    import numpy as np
    import pandas as pd

    known, kind = list(column.get("categories", ())), column.get("kind")
    read = int if kind == "integer" else str
    usual = pd.CategoricalDtype([read(level) for level in known])
    text = pd.Series(["text"]).dtype  # ``str`` in pandas 3, ``object`` before

    def make(values: Any, more: Sequence[Any]) -> Any:
        levels = [*known, *sorted({value for _, value in more} - set(known))]
        codes = np.where(values < len(known), values, -1).astype("int32")
        if more:
            places = {level: place for place, level in enumerate(levels)}
            codes[[row for row, _ in more]] = [places[value] for _, value in more]
        if kind == "text":
            return pd.Series(np.array([*levels, np.nan], dtype=object)[codes], dtype=text)
        return pd.Categorical.from_codes(
            codes, dtype=pd.CategoricalDtype([read(level) for level in levels]) if more else usual
        )

    return make


def serve(wire: socket.socket, predict: Callable[[Any, Sequence[Any]], Any], width: int, number: str) -> None:
    """Answer requests until the other side disconnects."""
    import numpy as np

    while True:
        size, more = _HEAD.unpack(_exactly(wire, _HEAD.size))
        rows = np.frombuffer(_exactly(wire, size), number).reshape(-1, width)
        texts = json.loads(_exactly(wire, more)) if more else ()
        try:
            answer = np.ascontiguousarray(predict(rows, texts), "<f8")
        except Exception as error:  # the model may raise anything
            _refuse(wire, error)
            continue
        if answer.ndim not in (1, 2) or len(answer) != len(rows):
            _refuse(
                wire, ValueError(f"predict must return one prediction per row, got {answer.shape} for {len(rows)} rows")
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
    """Load the model, report success and serve."""
    gc.disable()  # collections while loading took a third of the time and find nothing
    wire, folder = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    manifest: Manifest = json.loads((folder / "mlops-model.json").read_text())
    signature = json.loads((folder / "signature.json").read_text())
    columns = signature["inputs"]
    manifest |= {
        "folder": folder,
        "inputs": columns,
        "kind": signature.get("kind"),
        "classes": signature.get("classes"),
    }
    if manifest["flavor"] in _MATRIX_TOO and not any(column["type"] == "category" for column in columns):
        manifest["takes"] = "matrix"  # requests have the codes of categories
    try:
        predict = load(folder, manifest)
        frame = framed(columns) if manifest["takes"] == "frame" else lambda rows, _: rows
    except Exception as error:
        _refuse(wire, error)
        raise
    gc.freeze()
    gc.enable()
    wire.sendall(_ANSWER.pack(0, 0))
    number = "<f8" if signature.get("passes") == "values" else "<f4"
    serve(wire, lambda rows, texts: predict(frame(rows, texts)), len(columns), number)


if __name__ == "__main__":
    main()
