"""Read an MLflow folder without loading it: the trust that loading requires, and its signature as a ``ModelSignature``.

YAML is not parsed: ``MLmodel`` is read in the form that MLflow writes. The process that loads the folder has MLflow itself and
rejects differences from the manifest.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.serving.served_model import ModelError

MLMODEL_FILE = "MLmodel"
# flavors that load a file of their library; scikit-learn's is a pickle unless it is skops
_LIBRARIES = ("mlflow.catboost", "mlflow.lightgbm", "mlflow.sklearn", "mlflow.xgboost")
_CODE = "mlflow.pyfunc.model"
_LOADER = re.compile(r"^ {4}loader_module: ([\w.]+)$", re.MULTILINE)
_SCRIPT = re.compile(r"^ {4}python_model: [\w./-]+\.py$", re.MULTILINE)
_INPUTS, _QUOTED = "  inputs: '", "''"
_KINDS: Mapping[str, Literal["integer", "boolean"] | None] = {
    "double": None,
    "float": None,
    "long": "integer",
    "integer": "integer",
    "boolean": "boolean",
}


def mlflow_entry(folder: Path) -> Path | None:
    """Return the MLflow folder below a model's folder, or that folder itself; None without one."""
    return min((path.parent for path in folder.rglob(MLMODEL_FILE)), default=None)


def loaders_of(folder: Path) -> list[str]:
    """Return the loader modules in ``MLmodel``, such as ``mlflow.sklearn``; MLflow itself writes exactly one."""
    return _LOADER.findall((folder / MLMODEL_FILE).read_text("utf-8", "replace"))


def needed_trust(folder: Path, *, has_pickles: bool, has_scripts: bool, has_data: bool) -> Trust:
    """Return what loading the folder may do; unknown loaders count as pickles.

    Args:
        folder: The folder that contains ``MLmodel``.
        has_pickles: Whether one of its files is a pickle.
        has_scripts: Whether one of its files is Python.
        has_data: Whether one of its files is a model in a data format.
    """
    text, loaders = (folder / MLMODEL_FILE).read_text("utf-8", "replace"), loaders_of(folder)
    if has_pickles or len(loaders) != 1:
        return "pickle"
    if loaders[0] in _LIBRARIES and has_data:
        return "code" if has_scripts else "data"
    return "code" if loaders[0] == _CODE and _SCRIPT.search(text) else "pickle"


def signature_of(
    folder: Path,
    *,
    output: str,
    kind: Literal["number", "probability"] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> ModelSignature:
    """Convert the signature of an MLflow model.

    Args:
        folder: The folder that contains ``MLmodel``.
        output: Name of the predicted column.
        kind: Meaning of a prediction. Default: a number.
        categories: Known values of its ``string`` columns, usually those of the training split. Default: any string.

    Raises:
        ModelError: If it has no signature, or one with columns without a name or of an unsupported type.

    Example:
        >>> signature_of(Path("churn"), output="churned").passes  # doctest: +SKIP
        'values'
    """
    lines = list(_signature_lines((folder / MLMODEL_FILE).read_text("utf-8", "replace")))
    inputs = _quoted(lines)
    if inputs is None:
        raise ModelError(
            f"{MLMODEL_FILE} has no signature; give it one with mlflow.models.set_signature(FOLDER, infer_signature(rows, "
            "predictions)), or write signature.json"
        )
    if any(line.startswith("  params: ") and line != "  params: null" for line in lines):
        raise ModelError(
            f"{MLMODEL_FILE} has a signature with params; requests have only columns: save the model without params"
        )
    try:
        columns = json.loads(inputs)
    except ValueError as error:
        raise ModelError(
            f"{MLMODEL_FILE} has a signature that cannot be read: {error}; write signature.json"
        ) from error
    problems = [problem for column in columns if (problem := _problem(column)) is not None]
    if problems:
        raise ModelError(f"{MLMODEL_FILE}: {'; '.join(problems)}")
    return ModelSignature(
        inputs=tuple(_column(column, categories or {}) for column in columns), output=output, kind=kind, passes="values"
    )


def _signature_lines(text: str) -> Iterator[str]:
    """Yield the lines of the block ``signature``."""
    lines = iter(text.splitlines())
    for line in lines:
        if line == "signature:":
            break
    for line in lines:
        if line and not line.startswith(" "):
            break
        yield line


def _quoted(lines: Sequence[str]) -> str | None:
    """Return the text of the inputs, a folded, single-quoted YAML string."""
    starts = [index for index, line in enumerate(lines) if line.startswith(_INPUTS)]
    if not starts:
        return None
    first, *more = lines[starts[0] :]
    text = " ".join([first.removeprefix(_INPUTS), *(line.strip() for line in more)])
    parts = text.replace(_QUOTED, "\0").partition("'")
    return parts[0].replace("\0", "'") if parts[1] else None


def _problem(column: Mapping[str, Any]) -> str | None:
    name, kind = column.get("name"), column.get("type")
    if not isinstance(name, str):
        return f"its signature has an input of type {kind!r} without a name; train with a pandas frame"
    if kind not in _KINDS and kind != "string":
        return f"column {name!r} has type {kind!r}; {', '.join(_KINDS)} and string can be sent"
    return None


def _column(column: Mapping[str, Any], categories: Mapping[str, Sequence[str]]) -> SignatureColumn:
    name, nullable = column["name"], column.get("required") is False
    if column["type"] == "string":
        known = tuple(categories.get(name, ()))
        return SignatureColumn(name=name, type="category", categories=known, nullable=nullable, kind="text")
    return SignatureColumn(name=name, type="number", nullable=nullable, kind=_KINDS[column["type"]])
