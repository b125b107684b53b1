# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["nannyml==0.13.1", "pandas<3", "pyarrow", "statsmodels", "scipy<1.16", "setuptools<81", "kaleido==0.2.1"]
# ///
"""``nannyml_estimates.py FOLDER ...``: NannyML's estimates without labels (CBPE or DLE), one chunk per window. Telemetry is off.

``about.json`` of a folder names the case: ``{"kind", "rows", "inputs", "classes"}``. ``reference.parquet`` has inputs,
predictions and labels, ``windows.parquet`` the windows one after another. Prints a line per folder: value and sampling
error of each metric by window, and the CPU seconds of fitting and estimating.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")
import nannyml as nml  # noqa: E402 - the environment comes first
import pandas as pd  # noqa: E402


def made(about: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return an estimator and its metrics."""
    rows = about["rows"]
    if about["kind"] == "regression":
        names = ["mae", "rmse"]
        inputs = about["inputs"]
        return nml.DLE(feature_column_names=inputs, y_pred="p", y_true="y", metrics=names, chunk_size=rows), names
    columns = {"y_pred": "predicted", "y_true": "y", "chunk_size": rows}
    if about["kind"] == "classification":
        names = ["roc_auc", "f1", "accuracy"]
        return nml.CBPE(y_pred_proba="p", problem_type="classification_binary", metrics=names, **columns), names
    names = ["accuracy", "recall"]
    of_class = {place: f"p{place}" for place in range(about["classes"])}
    return nml.CBPE(y_pred_proba=of_class, problem_type="classification_multiclass", metrics=names, **columns), names


for folder in map(Path, sys.argv[1:]):
    reference, windows = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "windows"))
    before = time.process_time()
    estimator, metrics = made(json.loads((folder / "about.json").read_text()))
    estimator.fit(reference)
    frame = estimator.estimate(windows).filter(period="analysis").to_df()
    cpu = time.process_time() - before
    found = {
        name: [list(each) for each in zip(frame[name, "value"], frame[name, "sampling_error"], strict=True)]
        for name in metrics
    }
    print(json.dumps({"cpu": cpu, "found": found}))
