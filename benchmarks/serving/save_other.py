"""Train and save models in other formats than ONNX, in the running environment: ``save_other.py NAME FOLDER``.

Fifteen columns, two of them categories, and 200 trees.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NUMBERS = [f"n{index}" for index in range(13)]
STORES = ["east", "north", "west"]
ECHO = "def load(folder): return None\n\n\ndef predict(model, frame): return frame['n0']\n"


def table(rows: int) -> pd.DataFrame:
    """Return rows, the same each time."""
    random = np.random.default_rng(7)
    made = pd.DataFrame(random.normal(size=(rows, len(NUMBERS))).round(4), columns=NUMBERS)
    for name in ("store", "city"):
        made[name] = pd.Categorical(random.choice(STORES, rows), categories=STORES)
    return made


def _codes(rows: pd.DataFrame) -> Any:
    return np.column_stack([rows[NUMBERS], rows["store"].cat.codes, rows["city"].cat.codes])


def lightgbm_matrix(rows: pd.DataFrame, label: Any, folder: Path) -> None:
    """From codes."""
    import lightgbm

    data = lightgbm.Dataset(_codes(rows), label)
    lightgbm.train({"verbosity": -1, "num_threads": 1}, data, 200).save_model(folder / "model.txt")


def xgboost_matrix(rows: pd.DataFrame, label: Any, folder: Path) -> None:
    """From codes."""
    import xgboost

    xgboost.train({"nthread": 1}, xgboost.DMatrix(_codes(rows), label), 200).save_model(folder / "model.ubj")


def lightgbm_frame(rows: pd.DataFrame, label: Any, folder: Path) -> None:
    """From native categories."""
    import lightgbm

    lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(rows, label), 200).save_model(
        folder / "model.txt"
    )


def xgboost_frame(rows: pd.DataFrame, label: Any, folder: Path) -> None:
    """From native categories."""
    import xgboost

    data = xgboost.DMatrix(rows, label, enable_categorical=True)
    xgboost.train({"nthread": 1}, data, 200).save_model(folder / "model.ubj")


def catboost_frame(rows: pd.DataFrame, label: Any, folder: Path) -> None:
    """From native categories."""
    import catboost

    made = catboost.CatBoostRegressor(iterations=200, verbose=0, thread_count=1, allow_writing_files=False)
    made.fit(rows, label, cat_features=["store", "city"]).save_model(str(folder / "model.cbm"))


def hist_gradient_boosting(rows: pd.DataFrame, label: Any, folder: Path) -> None:
    """From native categories, pickled."""
    import joblib
    from sklearn.ensemble import HistGradientBoostingRegressor

    made = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=200)
    joblib.dump(made.fit(rows, label), folder / "model.joblib")


def echo_frame(_rows: pd.DataFrame, _label: Any, folder: Path) -> None:
    """Echo of the frame, without a model, to measure the transport."""
    (folder / "model.py").write_text(ECHO)


def call_milliseconds(folder: Path, calls: int) -> float:
    """Return the CPU milliseconds of a call for one row within this process, on a prepared matrix or frame."""
    predict = _ready(folder)
    predict()
    began = time.process_time()
    for _ in range(calls):
        predict()
    return (time.process_time() - began) * 1000 / calls


def _ready(folder: Path) -> Callable[[], Any]:
    if (folder / "model.joblib").exists():
        import joblib

        model, frame = joblib.load(folder / "model.joblib"), table(1)
        return lambda: model.predict(frame)
    import lightgbm

    booster, row = lightgbm.Booster(model_file=folder / "model.txt"), _codes(table(1))
    return lambda: booster.predict(row, num_threads=1)


SAVES: dict[str, Callable[[pd.DataFrame, Any, Path], None]] = {
    save.__name__: save
    for save in (
        lightgbm_matrix, xgboost_matrix, lightgbm_frame, xgboost_frame, catboost_frame, hist_gradient_boosting, echo_frame
    )
}  # fmt: skip


def main() -> None:
    """Save the model that the first argument names, or call one (``ask FOLDER CALLS``)."""
    folder = Path(sys.argv[2])
    if sys.argv[1] == "ask":
        print(call_milliseconds(folder, int(sys.argv[3])))
        return
    folder.mkdir(parents=True)
    rows = table(5000)
    label = rows["n0"] * 3 + np.sin(rows["n1"]) + (rows["store"] == "west") * rows["n2"]
    SAVES[sys.argv[1]](rows, label, folder)


if __name__ == "__main__":
    main()
