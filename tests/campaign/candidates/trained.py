"""Really trained models: by the unit's own script, and by its code with another seed, other rows, other settings."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from examples.retail.demand_forecasting import declaration
from tests.campaign.candidates.graphs import edited
from tests.campaign.candidates.world import Artefact
from tests.loaded_module import load_module

DECLARED = {
    "objective": "regression_l1",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 40,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.8,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def by_script(table: Any, script: str = declaration.TRAINING_SCRIPT) -> Artefact:
    """Return the model of a training script of the unit on a table, run as by a training job."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(table, folder / "part-0.parquet")
        command = [sys.executable, declaration.TRAINING_CODE / script, "--train", folder, "--model-dir", folder / "out"]
        subprocess.run(command, check=True, capture_output=True)
        signature = json.loads((folder / "out" / "signature.json").read_text())
        return Artefact(model=(folder / "out" / "model.onnx").read_bytes(), signature=signature)


def fitted(table: Any, *, seed: int, rounds: int = 300, extra: tuple[str, ...] = (), **settings: object) -> Artefact:
    """Return a model trained like the unit's script, with other settings.

    Args:
        table: The training split.
        seed: Seed of the rows and columns sampled per tree.
        rounds: Number of trees.
        extra: Further columns, which the script leaves out.
        settings: LightGBM settings that differ from the script's.
    """
    import lightgbm as lgb  # with SciPy and scikit-learn: not for every process that only collects tests

    script = _script()
    names = [name for name in table.column_names if name not in script.NOT_INPUTS or name in extra]
    known = sorted(set(table["category"].to_pylist()))
    features = np.column_stack([script.column_values(table, name, known) for name in names])
    parameters = {**DECLARED, "seed": seed, **settings}
    booster = lgb.train(parameters, lgb.Dataset(features, table[script.LABEL].to_numpy()), rounds)
    onnx = script.exported(booster, len(names))
    inputs = [script.describe(name, known) for name in names]
    signature = {"format": "mlops.signature/1", "inputs": inputs, "output": onnx.graph.output[0].name}
    return Artefact(model=onnx.SerializeToString(), signature=signature)


def by_scikit_learn(table: Any, *, seed: int) -> Artefact:
    """Return a scikit-learn model of the same columns: boosting on absolute error, nulls as -1."""
    from skl2onnx import convert_sklearn  # these three like LightGBM above
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import GradientBoostingRegressor

    script = _script()
    names = [name for name in table.column_names if name not in script.NOT_INPUTS]
    known = sorted(set(table["category"].to_pylist()))
    features = np.column_stack([script.column_values(table, name, known) for name in names])
    model = GradientBoostingRegressor(
        loss="absolute_error", n_estimators=150, subsample=0.5, max_depth=6, max_features=0.6, random_state=seed
    )
    model.fit(np.nan_to_num(features, nan=-1.0), table[script.LABEL].to_numpy())
    onnx = convert_sklearn(
        model, initial_types=[("input", FloatTensorType([None, len(names)]))], target_opset={"": 17, "ai.onnx.ml": 1}
    )
    inputs = [script.describe(name, known) for name in names]
    signature = {"format": "mlops.signature/1", "inputs": inputs, "output": onnx.graph.output[0].name}
    made = Artefact(model=onnx.SerializeToString(), signature=signature)
    return edited(
        made,
        before=lambda b, x: b.op("Where", b.op("IsNaN", x), b.const([-1.0]), x),
        after=lambda b, _, y: b.op("Relu", y),
    )


def _script() -> Any:
    return load_module(declaration.TRAINING_CODE / declaration.TRAINING_SCRIPT)
