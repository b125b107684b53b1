"""Frameworks of generated training scripts: ``mlops new --framework``.

Each framework has one template. This module has the rest that a project needs: packages, and what loading its models may do.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_runtime.training_data.table_schema import TableSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A training library."""

    title: str  # its displayed name
    packages: tuple[str, ...]  # packages of its script in addition to pandas and pyarrow
    trust: tuple[str, ...] = ("data",)  # what loading its models may do; a registry must allow it
    forbidden: str = ""  # characters that its models do not allow in column names
    has_null_categories: bool = True  # whether it accepts missing categories; else the project's `model.py` fills them

    def needs_names(self, schema: TableSchema) -> bool:
        """Return whether a column must be renamed for the library."""
        return any(set(column.name) & set(self.forbidden) for column in schema.inputs)

    def needs_filling(self, schema: TableSchema) -> bool:
        """Return whether missing categories must be filled, in training and in serving."""
        has_nulls = any(column.type == "category" and column.nullable for column in schema.inputs)
        return has_nulls and not self.has_null_categories

    def trusts(self, schema: TableSchema) -> tuple[str, ...]:
        """Return what loading a model of this schema may do."""
        return ("data", "code") if self.needs_filling(schema) else self.trust


DEFAULT = "hist"
FRAMEWORKS: Mapping[str, Framework] = {
    "hist": Framework(
        title="scikit-learn's gradient boosting", packages=("scikit-learn",), trust=("data", "code", "pickle")
    ),
    "xgboost": Framework(title="XGBoost", packages=("xgboost-cpu",), forbidden="[]<"),
    "lightgbm": Framework(title="LightGBM", packages=("lightgbm",), forbidden='"[]{}:,'),
    "catboost": Framework(title="CatBoost", packages=("catboost",), has_null_categories=False),
    "linear": Framework(title="a linear model of scikit-learn", packages=("scikit-learn", "skops")),
    "onnx": Framework(title="a neural network, exported as ONNX", packages=("scikit-learn", "skl2onnx")),
}


def packages_of(frameworks: set[str]) -> list[str]:
    """Return the sorted packages of an environment for several frameworks.

    Example:
        >>> packages_of({"xgboost"})
        ['pandas', 'pyarrow', 'xgboost-cpu']
    """
    return sorted({"pandas", "pyarrow", *(name for each in frameworks for name in FRAMEWORKS[each].packages)})
