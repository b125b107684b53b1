"""Packages that loading a model requires, derived from its flavor, file names and imports without loading it.

If a model imports a package that is not in these tables and the environment lacks it, its process fails to load it.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.model_manifest import Flavor
from mlops_runtime.serving.loaded_names import PICKLES, pickle_globals
from mlops_runtime.serving.mlflow_folder import MLMODEL_FILE, loaders_of
from mlops_runtime.serving.model_folder import Recognised

# packages of the index that provide an imported module
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "catboost": ("catboost",),
    "joblib": ("joblib",),
    "lightgbm": ("lightgbm",),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "scipy": ("scipy",),
    "skl2onnx": ("skl2onnx",),
    "sklearn": ("scikit-learn",),
    "skops": ("skops",),
    "statsmodels": ("statsmodels",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "torch": ("torch",),
    "xgboost": ("xgboost", "xgboost-cpu"),
}
_MODULES: Mapping[Flavor, tuple[str, ...]] = {
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "skops": ("skops",),
    "mlflow": ("mlflow",),
}
_MATRIX_TOO: tuple[Flavor, ...] = ("xgboost", "lightgbm")


def missing_packages(
    folder: Path, found: Recognised, signature: ModelSignature | None, locked: Collection[str]
) -> dict[str, str]:
    """Return the required packages that a lock lacks, each with the reason.

    Args:
        folder: The model's folder.
        found: The recognised model.
        signature: The model's signature. Default: unknown, and requires nothing.
        locked: The packages of the lock.

    Example:
        >>> trees = Recognised(flavor="xgboost", entry="model.json", takes="matrix", trust="data")
        >>> missing_packages(Path("model"), trees, None, ["numpy"])
        {'xgboost': 'model.json is loaded by xgboost'}
    """
    lacks: dict[str, str] = {}
    for module, needed_by in _imported(folder, found, signature):
        names = _PACKAGES.get(module, ())
        if names and not set(names) & set(locked):
            lacks.setdefault(names[0], needed_by)
    return lacks


def _imported(folder: Path, found: Recognised, signature: ModelSignature | None) -> Iterator[tuple[str, str]]:
    """Yield each imported module with the reason."""
    for module in _MODULES.get(found.flavor, ()):
        yield module, f"{found.entry} is loaded by {module}"
    if found.flavor == "mlflow":
        for loader in loaders_of(folder / found.entry):
            yield loader.partition(".")[2], f"{MLMODEL_FILE} is loaded by {loader}"
    elif found.flavor == "handler":
        path = folder / found.entry
        for module in _imports(path):
            if not any((path.parent / name).exists() for name in (module, f"{module}.py")):
                yield module, f"{path.name} imports {module}"
    elif found.flavor == "pickle":
        for path in sorted(folder.iterdir()):
            if path.suffix in PICKLES:
                for module in sorted({name.partition(".")[0] for name in pickle_globals(path).names}):
                    yield module, f"{path.name} names {module}"
    yield "numpy", "rows and predictions are arrays of numpy"
    has_categories = signature is not None and any(column.type == "category" for column in signature.inputs)
    is_matrix = found.flavor in _MATRIX_TOO and not has_categories
    if found.takes == "frame" and not is_matrix:
        yield "pandas", f"{found.entry} predicts from a pandas frame"


def _imports(path: Path) -> list[str]:
    """Return the modules that a file imports unconditionally."""
    statements = ast.parse(path.read_bytes()).body
    whole = [alias.name for each in statements if isinstance(each, ast.Import) for alias in each.names]
    parts = [each.module for each in statements if isinstance(each, ast.ImportFrom) and not each.level and each.module]
    return sorted({name.partition(".")[0] for name in (*whole, *parts)})
