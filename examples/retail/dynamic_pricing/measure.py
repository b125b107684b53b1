"""Print the numbers of README.md: ``python -m examples.retail.dynamic_pricing.measure`` (half a minute, no cloud)."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from examples.retail.dynamic_pricing import data, declaration
from examples.retail.dynamic_pricing.features import SEGMENT
from examples.retail.model_files import measured
from examples.retail.transactions import week_end
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.serving.onnx_model import Model, load_archive

PERIODS = {"27-30": (27, 30), "31-36": (31, 36), "37-43": (37, 43), "44-52": (44, 52)}


def trained(store: FeatureStoreClient, week: int, folder: Path, champion: Path | None = None) -> Path:
    """Train as a retraining after ``week`` would, print evaluation and gate, return ``model.tar.gz``."""
    archive, evaluation, gate = measured(declaration, store, week, folder, champion)
    for segment in evaluation.segments or ():
        total = sum(block.actual_sum for block in segment.blocks)
        loss = sum(block.absolute_error["candidate"] for block in segment.blocks) / total
        print(f"  {segment.name}: {segment.rows} rows, WAPE {loss:.4f}")
    for check in gate.checks:
        print(f"  {check.segment or 'all':16} {check.rival:14} {check.low:+.3f} to {check.high:+.3f} {check.passed}")
    print(f"  gate {gate.verdict}: {gate.reason[:200]}")
    return archive


def tables() -> pa.Table:
    """Return all weeks from 27 on."""
    return pa.concat_tables([data.series_of(week) for week in range(27, data.LAST_WEEK + 1)])


def wapes(table: pa.Table, predicted: np.ndarray, promotion: int | None = None) -> list[str]:
    """Return the WAPE of each period, of all weeks or of those with or without a promotion of the group."""
    units, weeks, on = (table[name].to_numpy() for name in ("units", "week", SEGMENT))
    found = []
    for first, last in PERIODS.values():
        chosen = (weeks >= first) & (weeks <= last) & (np.ones(len(on), bool) if promotion is None else on == promotion)
        found.append(f"{np.abs(predicted - units)[chosen].sum() / units[chosen].sum():.4f}")
    return found


def curve(model: Model, table: pa.Table, factors: tuple[float, ...]) -> dict[float, float]:
    """Return the predicted units, relative to those at the planned prices, when every price is multiplied by a factor."""
    matrix = model_input(table, model.signature)
    column = [entry.name for entry in model.signature.inputs].index("planned_price")
    planned, found = model.predict(matrix).sum(), {}
    for factor in factors:
        changed = matrix.copy()
        changed[:, column] *= factor
        found[factor] = round(float(model.predict(changed).sum() / planned), 3)
    return found


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStoreClient.local(Path(folder) / "store", now=lambda: week_end(data.LAST_WEEK))
        print(data.ingest_weeks(store, 1, data.LAST_WEEK), "rows ingested")
        archives = {30: trained(store, 30, Path(folder) / "30")}
        for week in (36, 40, 43, 47, 52):
            archives[week] = trained(store, week, Path(folder) / str(week), archives[30])
        models = {week: load_archive(archive) for week, archive in archives.items()}
    table = tables()
    predicted = {column: table[column].to_numpy() for column in declaration.EVALUATION.baselines}
    predicted |= {f"model of week {week}": m.predict(model_input(table, m.signature)) for week, m in models.items()}
    for title, promotion in (("all weeks", None), ("promotion", 1), ("no promotion", 0)):
        print(f"\nWAPE, {title}:", *PERIODS)
        for name, values in predicted.items():
            print(f"{name:18}", *wapes(table, values, promotion))
    sums = {name: round(float(values.sum() / table["units"].to_numpy().sum()), 3) for name, values in predicted.items()}
    print("\npredicted units over sold, from week 27 on:", sums)
    print("\nunits when all prices change:", curve(models[30], table, (0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3)))


if __name__ == "__main__":
    main()
