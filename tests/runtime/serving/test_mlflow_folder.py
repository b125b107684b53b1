"""An MLflow folder's metadata: the effects of loading it, and its signature."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.mlflow_folder import needed_trust, signature_of
from mlops_runtime.serving.served_model import ModelError

COLUMNS = [
    {"type": "double", "name": "price", "required": True},
    {"type": "long", "name": "it's a count", "required": False},
    {"type": "boolean", "name": "is_new", "required": True},
    {"type": "string", "name": "store", "required": False},
]


def _folder(folder: Path, columns: Any, params: str = "null") -> Path:
    """Write ``MLmodel`` like MLflow, with lines folded at 80 characters."""
    text = json.dumps(columns).replace("'", "''").replace('"type": "long"', '"type":\n    "long"')
    signature = f"signature:\n  inputs: '{text}'\n  outputs: '[]'\n  params: {params}\n"
    (folder / "MLmodel").write_text(f"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n{signature}")
    return folder


def test_its_signature_is_ours(tmp_path: Path) -> None:
    """Integers and booleans keep their type, strings are texts, values travel."""
    found = signature_of(
        _folder(tmp_path, COLUMNS), output="units", kind="probability", categories={"store": ["a", "b"]}
    )
    assert found == ModelSignature(
        inputs=(
            SignatureColumn(name="price", type="number"),
            SignatureColumn(name="it's a count", type="number", kind="integer", nullable=True),
            SignatureColumn(name="is_new", type="number", kind="boolean"),
            SignatureColumn(name="store", type="category", kind="text", categories=("a", "b"), nullable=True),
        ),
        output="units",
        kind="probability",
        passes="values",
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([{"type": "datetime", "name": "day"}], "column 'day' has type 'datetime'; double, float, long,"),
        ([{"type": "tensor", "tensor-spec": {"shape": [-1, 3]}}], "has an input of type 'tensor' without a name; train"),
        ([{"type": "double"}], "has an input of type 'double' without a name"),
    ],
)  # fmt: skip
def test_fails_for_columns_that_cannot_be_sent(tmp_path: Path, columns: Any, message: str) -> None:
    """By name with the fix."""
    with pytest.raises(ModelError, match=message):
        signature_of(_folder(tmp_path, columns), output="units")


def test_fails_without_a_signature_or_with_more_than_columns(tmp_path: Path) -> None:
    """The error has the fix."""
    (tmp_path / "MLmodel").write_text("flavors: {}\nsignature: null\n")
    with pytest.raises(ModelError, match=r"MLmodel has no signature; give it one with mlflow\.models\.set_signature"):
        signature_of(tmp_path, output="units")
    with pytest.raises(ModelError, match="has a signature with params; requests have only columns"):
        signature_of(_folder(tmp_path, COLUMNS, params="'[]'"), output="units")


@pytest.mark.parametrize(
    ("function", "found", "trust"),
    [
        ("    loader_module: mlflow.xgboost", {"has_data": True}, "data"),
        ("    loader_module: mlflow.xgboost", {"has_data": True, "has_scripts": True}, "code"),
        ("    loader_module: mlflow.xgboost", {}, "pickle"),
        ("    loader_module: mlflow.sklearn", {"has_data": True, "has_pickles": True}, "pickle"),
        ("    loader_module: mlflow.pytorch", {"has_data": True}, "pickle"),
        ("    loader_module: mlflow.pyfunc.model\n    python_model: code/model.py", {"has_scripts": True}, "code"),
        ("    loader_module: mlflow.pyfunc.model\n    python_model: python_model.pkl", {}, "pickle"),
        ('    "loader_module": mlflow.xgboost', {"has_data": True}, "pickle"),
        ("    loader_module: mlflow.xgboost\n    loader_module: os", {"has_data": True}, "pickle"),
    ],
)
def test_what_is_not_known_is_a_pickle(tmp_path: Path, function: str, found: dict[str, bool], trust: str) -> None:
    """MLflow unpickles by default."""
    (tmp_path / "MLmodel").write_text(f"flavors:\n  python_function:\n{function}\n")
    flags = {"has_pickles": False, "has_scripts": False, "has_data": False} | found
    assert needed_trust(tmp_path, **flags) == trust
