"""Print the numbers of README.md: ``python -m examples.retail.customer_behavior.measure`` (half a minute, no cloud)."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from examples.retail.customer_behavior import data, declaration
from examples.retail.model_files import HERE, measured
from examples.retail.transactions import week_end
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.holdout_losses import row_losses
from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.serving.model_source import archived_model

PERIODS = {"27-30": (27, 29), "31-36": (31, 35), "37-44": (37, 43), "45-52": (45, 51)}


def trained(store: FeatureStoreClient, week: int, folder: Path, champion: Path | None = None) -> Path:
    """Train as a retraining after ``week`` would, print evaluation and gate, return ``model.tar.gz``."""
    archive, _, gate = measured(declaration, store, week, folder, champion)
    print(f"  gate {gate.verdict}:", {c.rival: (round(c.low, 4), round(c.high, 4)) for c in gate.checks})
    return archive


def losses(predict: Callable[[Any], Any]) -> dict[int, float]:
    """Return the mean log loss of each fortnight from 27 on."""
    found = {}
    for fortnight in range(27, data.LAST_FORTNIGHT + 1, 2):
        table = data.pairs_of(fortnight)
        bought = table["bought"].to_numpy().astype(np.float64)
        found[fortnight] = float(row_losses("log_loss", predict(table).astype(np.float64), bought).mean())
    return found


def chances(archive: Path) -> Callable[[Any], Any]:
    """Return a function that gives a model's chances for a table."""

    def predict(table: Any) -> Any:
        with archived_model(archive, HERE) as model:
            return model.predict(model_input(table, model.signature))

    return predict


def calibration(archive: Path) -> None:
    """Print how often households bought, by tenth of the predicted chance, over all fortnights from 31 on."""
    table = pa.concat_tables([data.pairs_of(fortnight) for fortnight in range(31, data.LAST_FORTNIGHT + 1, 2)])
    chance, bought = chances(archive)(table), table["bought"].to_numpy()
    tenth = np.minimum((chance * 10).astype(int), 9)
    print("\npredicted and real share by tenth:", end=" ")
    print(
        *(f"{chance[tenth == t].mean():.3f}/{bought[tenth == t].mean():.3f}" for t in range(10) if (tenth == t).any())
    )


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStoreClient.local(Path(folder) / "store", now=lambda: week_end(data.LAST_FORTNIGHT + 1))
        print(data.ingest_fortnights(store, 1, data.LAST_FORTNIGHT), "rows ingested")
        first = trained(store, 30, Path(folder) / "30")
        found = {
            name: losses(lambda table, name=name: table[name].to_numpy()) for name in declaration.EVALUATION.baselines
        }
        found["model of week 30"] = losses(chances(first))
        for week in (36, 44, 52):
            found[f"model of week {week}"] = losses(chances(trained(store, week, Path(folder) / str(week), first)))
        calibration(first)
    print("\nlog loss", *PERIODS)
    for name, by_fortnight in found.items():
        shown = (np.mean([by_fortnight[f] for f in range(start, end + 1, 2)]) for start, end in PERIODS.values())
        print(f"{name:18}", *(f"{value:.4f}" for value in shown))
    live = found["model of week 30"]
    holdout = np.mean([live[fortnight] for fortnight in (27, 29)])
    print(
        "\nits loss over the holdout's:",
        {fortnight: round(float(loss / holdout), 3) for fortnight, loss in live.items()},
    )


if __name__ == "__main__":
    main()
