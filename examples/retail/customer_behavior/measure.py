"""Print the numbers of README.md: ``python -m examples.retail.customer_behavior.measure`` (half a minute, no cloud)."""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from examples.retail.customer_behavior import data
from examples.retail.customer_behavior.declaration import (
    EVALUATION,
    GATE,
    TRAINING_CODE,
    TRAINING_SCRIPT,
    TRAINING_SET,
)
from examples.retail.transactions import week_end, week_start
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.jobs.holdout_losses import row_losses
from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.serving.onnx_model import load_archive

PERIODS = {"27-30": (27, 29), "31-36": (31, 35), "37-44": (37, 43), "45-52": (45, 51)}


def trained(store: FeatureStoreClient, week: int, folder: Path, champion: Path | None = None) -> Path:
    """Train as a retraining after ``week`` would, print evaluation and gate, return ``model.tar.gz``."""
    built = store.split_training_set(TRAINING_SET, as_of=week_start(week + 1))
    for path, content in built.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    command = [sys.executable, TRAINING_CODE / TRAINING_SCRIPT, "--train", folder / "train", "--model-dir", folder]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    archive = folder / f"model-{week}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("model.onnx", "signature.json"):
            tar.add(folder / name, name)
    inputs = Inputs(
        train=built.train, holdout=built.holdout, manifest=built.manifest, candidate=archive, champion=champion
    )
    evaluation, _ = evaluate(EVALUATION, inputs, "file:///baseline.json")
    gate = evaluate_gate(evaluation, GATE, uri="file:///evaluation.json", sha256="0" * 64)
    print(f"trained after week {week}:", {name: round(value, 4) for name, value in evaluation.metrics.items()})
    print(f"  gate {gate.verdict}:", {c.rival: (round(c.low, 4), round(c.high, 4)) for c in gate.checks})
    return archive


def losses(archive: Path | None, column: str = "") -> dict[int, float]:
    """Return the mean log loss of each fortnight from 27 on, of a model or of a naive column."""
    model, found = None if archive is None else load_archive(archive), {}
    for fortnight in range(27, data.LAST_FORTNIGHT + 1, 2):
        table = data.pairs_of(fortnight)
        bought = table["bought"].to_numpy().astype(np.float64)
        chance = table[column].to_numpy() if model is None else model.predict(model_input(table, model.signature))
        found[fortnight] = float(row_losses("log_loss", chance.astype(np.float64), bought).mean())
    return found


def calibration(archive: Path) -> None:
    """Print how often households bought, by tenth of the predicted chance, over all fortnights from 31 on."""
    model = load_archive(archive)
    tables = [data.pairs_of(fortnight) for fortnight in range(31, data.LAST_FORTNIGHT + 1, 2)]
    chance = np.concatenate([model.predict(model_input(table, model.signature)) for table in tables])
    bought = np.concatenate([table["bought"].to_numpy() for table in tables])
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
        found = {column: losses(None, column) for column in EVALUATION.baselines} | {"model of week 30": losses(first)}
        for week in (36, 44, 52):
            found[f"model of week {week}"] = losses(trained(store, week, Path(folder) / str(week), first))
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
