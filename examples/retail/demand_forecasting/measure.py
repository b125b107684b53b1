"""Print the numbers of README.md: ``python -m examples.retail.demand_forecasting.measure`` (a minute, no cloud)."""

import tempfile
from pathlib import Path

import numpy as np

from examples.retail.demand_forecasting import data, declaration
from examples.retail.model_files import measured
from examples.retail.transactions import week_end
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.serving.onnx_model import load_archive

PERIODS = {"23-30": (23, 30), "31-36": (31, 36), "37-43": (37, 43), "44-52": (44, 52)}


def trained(store: FeatureStoreClient, week: int, folder: Path, champion: Path | None = None) -> Path:
    """Train as a retraining after ``week`` would, print evaluation and gate, return ``model.tar.gz``."""
    archive, _, gate = measured(declaration, store, week, folder, champion)
    print(
        f"  gate {gate.verdict}:",
        {c.rival: (round(c.low, 4), round(c.high, 4)) for c in gate.checks if c.segment is None},
    )
    return archive


def errors(archive: Path) -> dict[int, tuple[float, float]]:
    """Return absolute error and units of each week from 23 on."""
    model, found = load_archive(archive), {}
    for week in range(23, data.LAST_WEEK + 1):
        table = data.series_of(week)
        units = table["units"].to_numpy()
        predicted = model.predict(model_input(table, model.signature))
        found[week] = float(np.abs(predicted - units).sum()), float(units.sum())
    return found


def wape(found: dict[int, tuple[float, float]], first: int, last: int) -> float:
    """Return the WAPE over the weeks ``first`` to ``last``."""
    weeks = [found[week] for week in range(first, last + 1)]
    return sum(error for error, _ in weeks) / sum(units for _, units in weeks)


def naive(column: str) -> dict[int, tuple[float, float]]:
    """Return the errors of a naive forecast in the shape of ``errors``."""
    found = {}
    for week in range(23, data.LAST_WEEK + 1):
        table = data.series_of(week)
        units = table["units"].to_numpy()
        found[week] = float(np.abs(table[column].to_numpy() - units).sum()), float(units.sum())
    return found


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStoreClient.local(Path(folder) / "store", now=lambda: week_end(data.LAST_WEEK))
        data.ingest_weeks(store, 1, data.LAST_WEEK)
        first = trained(store, 30, Path(folder) / "30")
        rows = {column: naive(column) for column in declaration.EVALUATION.baselines} | {
            "model of week 30": errors(first)
        }
        for week in (36, 40, 43, 44, 46, 47, 48, 50, 52):
            rows[f"model of week {week}"] = errors(trained(store, week, Path(folder) / str(week), first))
    print("\nWAPE", *PERIODS)
    for name, found in rows.items():
        print(f"{name:18}", *(f"{wape(found, *period):.4f}" for period in PERIODS.values()))
    live = rows["model of week 30"]
    holdout = wape(live, 23, 30)
    for window in (1, 2, 4):
        ratios = {w: round(wape(live, w - window + 1, w) / holdout, 3) for w in range(30 + window, data.LAST_WEEK + 1)}
        print(f"\nlive WAPE of {window} weeks over the holdout's {holdout:.4f}:", ratios)


if __name__ == "__main__":
    main()
