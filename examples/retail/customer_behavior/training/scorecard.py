"""Train a scorecard, a plausible proposal of a team: a logistic regression on logarithms, with points per column.

It is fitted to households that bought the category before, since the logarithm of zero is undefined. In service, the others occur.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

LABEL = "bought"
INPUTS = ["own_rate", "category_rate", "days_since_purchase", "purchases_8", "spend_8", "visits_8"]
SERVED = """
import json
import numpy as np


def load(folder):
    return json.loads((folder / "points.json").read_text())


def predict(points, frame):
    with np.errstate(all="ignore"):
        score = sum(value * (np.log(frame[name].to_numpy()) if name else 1) for name, value in points)
    return 1 / (1 + np.exp(-score))
"""
NOT_INPUTS = {LABEL, "household_id", "fortnight", "prediction_time", "row_id"}


def main() -> None:
    """Train on the channel, write model.py with its points, and signature.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    options = parser.parse_args()

    table = pq.read_table(options.train)
    columns = [name for name in table.column_names if name not in NOT_INPUTS]
    features = np.column_stack([table[name].to_numpy().astype(np.float64) for name in INPUTS])
    usable = (features > 0).all(axis=1)
    points = fitted(np.log(features[usable]), table[LABEL].to_numpy()[usable])
    print(f"fitted {usable.sum()} of {len(usable)} rows:", dict(zip(INPUTS, points.round(3).tolist(), strict=False)))

    options.model_dir.mkdir(parents=True, exist_ok=True)
    (options.model_dir / "model.py").write_text(SERVED)
    (options.model_dir / "points.json").write_text(json.dumps([*zip(INPUTS, points, strict=False), ["", points[-1]]]))
    inputs = [describe(table, name) for name in columns]
    signature = {"format": "mlops.signature/1", "inputs": inputs, "output": "chance", "kind": "probability"}
    (options.model_dir / "signature.json").write_text(json.dumps(signature, indent=1))


def fitted(logs, bought):
    """Return coefficients and intercept by Newton's method."""
    design, points = np.column_stack([logs, np.ones(len(logs))]), np.zeros(logs.shape[1] + 1)
    for _ in range(12):
        chance = 1 / (1 + np.exp(-design @ points))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + 1e-6 * np.eye(len(points))
        points += np.linalg.solve(curvature, design.T @ (bought - chance))
    return points


def describe(table, name):
    """Return a column's entry in the signature."""
    if str(table.schema.field(name).type) in {"string", "large_string"}:
        levels = sorted(set(table[name].to_pylist()) - {None})
        return {"name": name, "type": "category", "categories": levels, "nullable": name != "category"}
    return {"name": name, "type": "number", "nullable": name == "days_since_purchase"}


if __name__ == "__main__":
    main()
