"""Trains and saves models in their own environment, with their frameworks' predictions: ``save_model.py TABLE FOLDER NAME...``.

``TABLE`` has households as JSON columns, including the label. ``FOLDER/NAME/model`` gets the model, and
``expected.json`` next to
it the framework's own predictions from its own frame.
"""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LABEL, IS_HIGH = "sales", "is_high"
NUMBERS = ["baskets", "household", "has_kids"]
CATEGORIES = ["store", "age", "home"]
Save = Callable[[pd.DataFrame, Any, Path], Any]


def frame_of(table: dict[str, list[Any]], *, fills: bool = False) -> pd.DataFrame:
    """Return the training columns: a store is an integer, an unknown home is missing."""
    frame = pd.DataFrame({name: table[name] for name in NUMBERS + CATEGORIES})
    if fills:
        frame["home"] = frame["home"].fillna("unknown")
    for name in CATEGORIES:
        frame[name] = frame[name].astype("category")
    return frame


def xgboost_json(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save named numbers in another order than the table's."""
    import xgboost

    part = frame[["household", "has_kids", "baskets"]]
    booster = xgboost.train({"nthread": 1, "max_depth": 4}, xgboost.DMatrix(part, label), 20)
    booster.save_model(folder / "model.json")
    return booster.predict(xgboost.DMatrix(part))


def xgboost_ubj(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save native categories of texts and integers."""
    import xgboost

    rows = xgboost.DMatrix(frame, label, enable_categorical=True)
    booster = xgboost.train({"nthread": 1, "max_depth": 4, "objective": "binary:logistic"}, rows, 20)
    booster.save_model(folder / "model.ubj")
    return booster.predict(rows)


def lightgbm_numbers(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save named numbers in another order than the table's."""
    import lightgbm

    part = frame[["household", "has_kids", "baskets"]]
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(part, label), 20)
    booster.save_model(folder / "model.txt")
    return booster.predict(part)


def lightgbm_categories(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save native categories of texts and integers."""
    import lightgbm

    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(frame, label), 20)
    booster.save_model(folder / "model.txt")
    return booster.predict(frame)


def catboost_poisson(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save a loss whose predictions are exponentials of the trees' sum."""
    import catboost

    model = catboost.CatBoostRegressor(
        loss_function="Poisson", learning_rate=0.1, iterations=20, verbose=0, thread_count=1, allow_writing_files=False
    ).fit(frame, label / 1000, cat_features=CATEGORIES)
    model.save_model(str(folder / "model.cbm"))
    return model.predict(frame)


def catboost_chance(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save the probability of the second class."""
    import catboost

    model = catboost.CatBoostClassifier(iterations=20, verbose=0, thread_count=1, allow_writing_files=False).fit(
        frame, label, cat_features=CATEGORIES
    )
    model.save_model(str(folder / "model.cbm"))
    return model.predict_proba(frame)[:, 1]


def _pipeline(model: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    return make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), CATEGORIES), (StandardScaler(), NUMBERS)),
        model,
    )


def skops_linear(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save types that are data alone."""
    import skops.io
    from sklearn.linear_model import Ridge

    model = _pipeline(Ridge()).fit(frame, label)
    skops.io.dump(model, folder / "model.skops")
    return model.predict(frame)


def skops_trees(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save native categories, with types that the team must declare."""
    import skops.io
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=10).fit(frame, label)
    skops.io.dump(model, folder / "model.skops")
    return model.predict(frame)


def pickle_trees(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save native categories of texts and integers by the standard library's pickle."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=10).fit(frame, label)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    return model.predict_proba(frame)[:, 1]


def joblib_forest(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save a compressed file, as scikit-learn's documentation suggests."""
    import joblib
    from sklearn.ensemble import RandomForestRegressor

    model = _pipeline(RandomForestRegressor(n_estimators=5, random_state=0)).fit(frame, label)
    joblib.dump(model, folder / "model.joblib", compress=3)
    return model.predict(frame)


def _mlflow(frame: pd.DataFrame, label: Any, folder: Path, kind: str) -> Any:
    import logging

    logging.disable(logging.WARNING)
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    texts = frame.assign(**{name: frame[name].astype(object) for name in ("age", "home")})
    texts["store"] = texts["store"].astype("int64")
    model = _pipeline(LogisticRegression(max_iter=1000)).fit(texts, label)
    mlflow.sklearn.save_model(
        model,
        str(folder / "mlflow"),
        signature=infer_signature(texts, label),
        serialization_format=kind,
        pip_requirements=["scikit-learn"],
    )
    return model.predict_proba(texts)[:, 1]


def mlflow_skops(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save MLflow's default format with a signature."""
    return _mlflow(frame, label, folder, "skops")


def mlflow_pickle(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save MLflow's former format."""
    return _mlflow(frame, label, folder, "cloudpickle")


MODEL = """
import json

import joblib


def load(folder):
    return joblib.load(folder / "ridge.bin")


def predict(model, frame):
    return model.predict(frame)
"""
INFERENCE = """
import os

import joblib


def model_fn(folder):
    return joblib.load(os.path.join(folder, "ridge.bin"))


def predict_fn(data, model):
    return model.predict(data)
"""


def _handler(frame: pd.DataFrame, label: Any, folder: Path, name: str, text: str) -> Any:
    import joblib
    from sklearn.linear_model import Ridge

    model = _pipeline(Ridge()).fit(frame, label)
    joblib.dump(model, folder / "ridge.bin")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return model.predict(frame)


def handler(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save a module with ``load`` and ``predict``."""
    return _handler(frame, label, folder, "model.py", MODEL)


def sagemaker_handler(frame: pd.DataFrame, label: Any, folder: Path) -> Any:
    """Save a module with ``model_fn`` and ``predict_fn``."""
    return _handler(frame, label, folder, "code/inference.py", INFERENCE)


SAVES: dict[str, Save] = {
    each.__name__: each
    for each in (
        xgboost_json, xgboost_ubj, lightgbm_numbers, lightgbm_categories, catboost_poisson, catboost_chance, skops_linear,
        skops_trees, pickle_trees, joblib_forest, mlflow_skops, mlflow_pickle, handler, sagemaker_handler,
    )
}  # fmt: skip
CHANCES = ("xgboost_ubj", "catboost_chance", "pickle_trees", "mlflow_skops", "mlflow_pickle")
FILLS = ("catboost_poisson", "catboost_chance", "mlflow_skops", "mlflow_pickle")


def save(name: str, table: dict[str, list[Any]], folder: Path) -> None:
    """Save one model."""
    folder.mkdir(parents=True)
    frame = frame_of(table, fills=name in FILLS)
    label = np.array(table[IS_HIGH if name in CHANCES else LABEL])
    expected = SAVES[name](frame, label, folder)
    folder.with_name("expected.json").write_text(json.dumps(np.asarray(expected, dtype=float).tolist()))


def main() -> None:
    """Save the models named by the arguments."""
    table, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name in sys.argv[3:]:
        save(name, table, folder / name / "model")


if __name__ == "__main__":
    main()
