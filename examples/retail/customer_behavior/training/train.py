"""Train the propensity model: gradient boosting on log loss, saved as LightGBM's own text file.

The model is not ONNX: the server runs it in a separate process, in the environment of `requirements.lock`.

Runs as a SageMaker training job (channel ``train``) and on a laptop:
``python train.py --train folder/with/parquet --model-dir out``.
"""

import argparse
import json
import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq

LABEL = "bought"
NOT_INPUTS = {LABEL, "household_id", "fortnight", "prediction_time", "row_id"}
# ordered: a higher band has a larger number
ORDERED = {
    "age": ["19-24", "25-34", "35-44", "45-54", "55-64", "65+"],
    "income": [
        "Under 15K", "15-24K", "25-34K", "35-49K", "50-74K", "75-99K",
        "100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+",
    ],
    "household_size": ["1", "2", "3", "4", "5+"],
    "kids_count": ["0", "1", "2", "3+"],
}  # fmt: skip
MAY_BE_MISSING = {"days_since_purchase", *ORDERED}


def main() -> None:
    """Train on the channel, write model.txt and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--rounds", type=int, default=os.environ.get("SM_HP_ROUNDS", "120"))
    parser.add_argument("--learning-rate", type=float, default=os.environ.get("SM_HP_LEARNING_RATE", "0.05"))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in NOT_INPUTS]
    levels = {"category": sorted(set(table["category"].to_pylist())), **ORDERED}
    features = np.column_stack([column_values(table, name, levels.get(name)) for name in columns])
    bought = table[LABEL].to_numpy()

    parameters = {
        "objective": "binary",
        "learning_rate": options.learning_rate,
        "num_leaves": 7,
        "min_data_in_leaf": 100,
        "lambda_l2": 5.0,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.7,
        "seed": 7,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # more threads sum in another order, and wait for each other on a busy machine
        "verbosity": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(features, bought), options.rounds)
    chance = np.clip(booster.predict(features), 1e-6, 1 - 1e-6)
    loss = -np.where(bought == 1, np.log(chance), np.log(1 - chance)).mean()
    print(f"trained on {len(bought)} rows, {len(columns)} columns; log loss on them {loss:.4f}")

    options.model_dir.mkdir(parents=True, exist_ok=True)
    booster.save_model(options.model_dir / "model.txt")
    signature = {
        "format": "mlops.signature/1",
        "inputs": [describe(name, levels.get(name)) for name in columns],
        "output": "chance",
        "kind": "probability",
    }
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def column_values(table, name, levels):
    """Return a column in the server's form: 32-bit floats, strings as their position, -1 if unknown or missing."""
    if levels is None:
        return table[name].to_numpy().astype(np.float32)
    position = {level: i for i, level in enumerate(levels)}
    return np.array([position.get(value, -1) for value in table[name].to_pylist()], np.float32)


def describe(name, levels):
    """Return a column's entry in the signature."""
    if levels is None:
        return {"name": name, "type": "number", "nullable": name in MAY_BE_MISSING}
    return {"name": name, "type": "category", "categories": levels, "nullable": name in MAY_BE_MISSING}


if __name__ == "__main__":
    main()
