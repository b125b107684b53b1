"""Categories of generated projects: distance of good and of wrong models from a live model in the generated request.

``python -m tests.campaign.segments.made_projects FOLDER``: the folder has the files of `tests/campaign/tables` and the
projects that ``mlops new`` generated from them, named by table. Prints one line per table.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LIMIT = 0.9  # default of generated projects
SEED = 20261129
FACTORS = (0.0, 0.5, 2.0, 5.0)
MOST_ROWS, MOST_CATEGORIES, GOOD = 30_000, 250, 6
# label, time and estimator of a table; files of the packages that contain them
TABLES = {
    "groceries": ("sales_value", "transaction_timestamp", "boosting"),
    "flights": ("late", "time_hour", "chance"),
    "wages": ("lwage", "year", "ridge"),
}
Model = Callable[[Any], Any]


def distance(ours: Any, theirs: Any) -> Any:
    """Return the distance of predictions from the live model's, by the rehearsal's measure."""
    return np.abs(ours - theirs) / np.maximum(np.abs(theirs), np.median(np.abs(theirs)) / 2)


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Train a live model on the first 60 % of a table, good models on more of it with other seeds, and wrong variants of one."""
    label, time, kind = TABLES[name]
    project = next((folder / name).glob("*/schema.json")).parent
    columns = json.loads((project / "schema.json").read_text())["inputs"]
    requested = [json.loads(line) for line in (project / "golden.jsonl").read_text().splitlines()]
    rows = next(json.loads(one["body"])["instances"] for one in requested if one["name"] == "categories")
    names = [column["name"] for column in columns]
    categories = [column["name"] for column in columns if column["type"] == "category"]
    table = pd.read_parquet(folder / f"{name}.parquet").sort_values(time, kind="stable")
    for column in categories:
        table = table[table[column].isin(table[column].value_counts().index[:MOST_CATEGORIES])]
    table = table.iloc[:: max(1, len(table) // MOST_ROWS)]
    types = {column: pd.CategoricalDtype(sorted(table[column].unique())) for column in categories}

    def encoded(some: Any) -> Any:
        return pd.DataFrame(some)[names].astype(types)

    live = _fitted(kind, encoded, table.iloc[: int(0.6 * len(table))], label, 0)
    theirs, random = live(rows), np.random.default_rng(SEED)
    good = []
    for number in range(GOOD):
        part = table.iloc[: int((0.7 + 0.03 * number) * len(table))]
        good.append(_fitted(kind, encoded, part[random.random(len(part)) < 0.8], label, number + 1)(rows))
    places = [
        np.array([row[column] == value for row in rows])
        for column in categories
        for value in {row[column] for row in rows}
    ]
    found = {f"{factor:g}": _found(good[0], theirs, places, factor) for factor in FACTORS}
    furthest = sorted(round(float(distance(ours, theirs).max()), 2) for ours in good)
    return {
        "table": name,
        "rows": len(rows),
        "categories": len(places),
        "furthest of good ones": furthest,
        "found": found,
    }


def _found(ours: Any, theirs: Any, places: Sequence[Any], factor: float) -> int:
    """Return in how many categories the wrong predictions are found."""
    return sum(bool((distance(np.where(place, factor * ours, ours), theirs) > LIMIT).any()) for place in places)


def _fitted(kind: str, encoded: Callable[[Any], Any], table: Any, label: str, seed: int) -> Model:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    inputs, labels = encoded(table), table[label]
    settings: dict[str, Any] = {"categorical_features": "from_dtype", "random_state": seed, "max_iter": 60}
    if kind == "ridge":
        wide = pd.get_dummies(inputs)
        ridge = Ridge(1.0).fit(wide, labels)
        return lambda rows: ridge.predict(pd.get_dummies(encoded(rows)).reindex(columns=wide.columns, fill_value=0))
    if kind == "chance":
        classifier = HistGradientBoostingClassifier(**settings).fit(inputs, labels)
        return lambda rows: classifier.predict_proba(encoded(rows))[:, 1]
    regressor = HistGradientBoostingRegressor(loss="absolute_error", **settings).fit(inputs, labels)
    return lambda rows: regressor.predict(encoded(rows))


if __name__ == "__main__":
    for chosen in TABLES:
        print(json.dumps(measure(Path(sys.argv[1]), chosen)), flush=True)  # noqa: T201
