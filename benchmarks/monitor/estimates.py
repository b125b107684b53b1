"""``python -m benchmarks.monitor.estimates [windows]``: performance estimated before labels, compared with NannyML's estimates.

Each case has a model (LightGBM), a labelled reference of 10,000 rows that it was not trained on, and windows of 5,000
rows whose labels no estimator reads. Both tools get the same rows in one run; NannyML in an environment of its own with
telemetry off.

Printed: mean distance between the estimate and the metric of the labels, the share of windows whose interval contains
that metric, and CPU seconds of learning and estimating. Our intervals claim 95 %; NannyML's bounds are three sampling
errors, and 1.96 of them in brackets. Windows that ours rejects are listed as not estimable; their estimates are in the
figures all the same. Default: 40 windows of each case, ten minutes.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.measure import load
from benchmarks.monitor.__main__ import FOLDER, environment_of

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.estimates.estimator_fit import Holdout, fit_estimator
from mlops_runtime.monitor.monitors.estimates.expectation import expected_metrics, shown_columns
from mlops_runtime.monitor.monitors.estimates.support import unsupported
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.monitors.rows import Rows

REFERENCE, WINDOW = 10_000, 5_000
INPUTS = ("a", "b", "c", "d")
CLASSES = ("q", "r", "s", "t")
# our names of metrics by NannyML's
THEIRS = {"auc": "roc_auc", "f1": "f1", "accuracy": "accuracy", "mae": "mae", "rmse": "rmse", "macro_recall": "recall"}

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """A model and the difference between its windows and the reference.

    Args:
        kind: Kind of model.
        name: Name in the table.
        shift: Added to each input.
        concept: Change of the relation between the first input and the label.
    """

    kind: str
    name: str
    shift: tuple[float, float, float, float] = (0, 0, 0, 0)
    concept: float = 0.0


CASES = (
    Case("classification", "no shift"),
    Case("classification", "inputs +0.7 sd", (0.7, 0, 0, 0)),
    Case("classification", "an interaction's input +1 sd", (0, 0, 1, 0)),
    Case("classification", "inputs +3 sd", (3, 0, 0, 0)),
    Case("classification", "concept drift", concept=0.8),
    Case("regression", "no shift"),
    Case("regression", "inputs +0.7 sd", (0.7, 0, 0, 0)),
    Case("regression", "what makes the noise +0.7 sd", (0, 0, 0, 0.7)),
    Case("regression", "inputs +2 sd", (2, 0, 0, 0)),
    Case("regression", "concept drift", concept=1.0),
    Case("classes", "no shift"),
    Case("classes", "inputs +1 sd", (1, 0, 0, 0)),
)
_WEIGHTS = np.random.default_rng(11).normal(0, 1.2, (4, len(CLASSES)))


def draw(case: Case, rows: int, random: np.random.Generator) -> tuple[Wide, Wide]:
    """Return inputs and labels of a case."""
    x = random.normal(0, 1, (rows, 4)) + np.array(case.shift)
    if case.kind == "classification":
        logit = (1.2 - case.concept) * x[:, 0] - 0.8 * x[:, 1] + 0.7 * x[:, 0] * x[:, 2] - 0.5
        return x, (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    if case.kind == "regression":
        wide = np.exp(0.6 * x[:, 3]) * (1 + 0.3 * np.abs(x[:, 0]))
        return x, 10 + 3 * x[:, 0] - x[:, 1] + wide * random.normal(0, 1, rows) + case.concept
    logits = x @ _WEIGHTS
    logits[:, 0] += 0.6 * x[:, 0] * x[:, 1]
    logits[:, 3] -= 0.4 * x[:, 2] ** 2
    return x, (logits + random.gumbel(size=logits.shape)).argmax(axis=1).astype(np.float64)


def model_of(kind: str, random: np.random.Generator) -> Any:
    """Return a predictor of rows of a kind of model, trained on 15,000 other rows."""
    x, y = draw(Case(kind, "training"), 15_000, random)
    maker = lgb.LGBMRegressor if kind == "regression" else lgb.LGBMClassifier
    model = maker(n_estimators=120, num_leaves=15, min_child_samples=40, verbose=-1, n_jobs=1).fit(x, y)
    if kind == "regression":
        return model.predict
    return lambda rows: model.predict_proba(rows)[:, 1] if kind == "classification" else model.predict_proba(rows)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows with inputs, predictions and labels."""

    x: Wide
    prediction: Wide
    label: Wide

    @property
    def columns(self) -> dict[str, Any]:
        """The inputs by name."""
        return {name: self.x[:, place].astype(np.float32) for place, name in enumerate(INPUTS)}

    @property
    def table(self) -> pa.Table:
        """The rows in NannyML's format."""
        found: dict[str, Any] = dict(self.columns)
        if self.prediction.ndim == 2:
            found |= {f"p{place}": column for place, column in enumerate(self.prediction.T)}
            found["predicted"] = self.prediction.argmax(axis=1)
        else:
            found |= {"p": self.prediction, "predicted": (self.prediction > 0.5).astype(np.int64)}
        return pa.table(found | {"y": self.label})


def learnt(kind: str, reference: Drawn) -> Baseline:
    """Return the baseline of a reference with its estimator."""
    baseline = fit_baseline(
        reference.columns,
        types=dict.fromkeys(INPUTS, "number"),
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
    )
    of_kind: dict[str, Any] = {"target": kind, "classes": CLASSES if kind == "classes" else None}
    baseline = replace(baseline, **of_kind)
    held = Holdout(columns=reference.columns, rows=Rows.of(reference.prediction, reference.label))
    return replace(baseline, estimator=fit_estimator(baseline, held))


def ours(
    kind: str, reference: Drawn, windows: Sequence[Drawn]
) -> tuple[dict[str, list[tuple[float, ...]]], float, int]:
    """Return value, low and high of each metric by window, CPU seconds, and the number of windows that are not estimable."""
    before = time.process_time()
    baseline = learnt(kind, reference)
    estimator = baseline.estimator
    assert estimator is not None
    found: dict[str, list[tuple[float, ...]]] = {}
    refused = 0
    for window in windows:
        predictions = list(window.prediction) if kind == "classes" else window.prediction
        counts = count_columns(window.columns, baseline, predictions=predictions)
        refused += unsupported(shown_columns(estimator, baseline, counts), estimator.rows) is not None
        for each in expected_metrics(estimator, baseline, counts):
            found.setdefault(each.name, []).append((each.value or 0.0, each.low or 0.0, each.high or 0.0))
    return found, time.process_time() - before, refused


@dataclass(frozen=True, slots=True)
class Measured:
    """A case estimated by ours: estimates, label metrics by window, CPU seconds, windows that are not estimable."""

    found: dict[str, list[tuple[float, ...]]]
    real: list[dict[str, float]]
    cpu: float
    refused: int


def measured(case: Case, count: int, *, seed: int, folder: Path) -> Measured:
    """Draw a case, estimate it with ours, and write its rows to a folder for NannyML.

    Args:
        case: The model and its windows.
        count: Number of windows.
        seed: Seed of all draws.
        folder: Folder to write to.
    """
    random = np.random.default_rng(seed)
    predict = model_of(case.kind, random)

    def drawn(of: Case, rows: int) -> Drawn:
        x, label = draw(of, rows, random)
        return Drawn(x, np.asarray(predict(x), dtype=np.float64), label)

    reference = drawn(Case(case.kind, "reference"), REFERENCE)
    windows = [drawn(case, WINDOW) for _ in range(count)]
    folder.mkdir()
    pq.write_table(reference.table, folder / "reference.parquet")
    pq.write_table(pa.concat_tables([window.table for window in windows]), folder / "windows.parquet")
    about = {"kind": case.kind, "rows": WINDOW, "inputs": list(INPUTS), "classes": len(CLASSES)}
    (folder / "about.json").write_text(json.dumps(about))
    found, cpu, refused = ours(case.kind, reference, windows)
    target = Target.of(learnt(case.kind, reference))
    real = [target.values(Rows.of(window.prediction, window.label)) for window in windows]
    return Measured(found, real, cpu, refused)


def _figures(
    found: Sequence[tuple[float, ...]], estimated: Sequence[Sequence[float]] | None, real: Sequence[float]
) -> dict[str, float]:
    value, low, high = np.array(found).T
    figures = {
        "error": float(np.abs(value - real).mean()),
        "covers": float(((low <= real) & (real <= high)).mean()),
    }
    if estimated is not None:
        theirs_of, deviation = np.array(estimated).T
        far = np.abs(theirs_of - real)
        figures |= {
            "their_error": float(far.mean()),
            "their_covers": float((far <= 3 * deviation).mean()),
            "their_covers_95": float((far <= 1.96 * deviation).mean()),
        }
    return figures


def lines(case: Case, of: Measured, result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table rows of a case.

    Args:
        case: The model and its windows.
        of: Our estimates.
        result: NannyML's output.
    """
    for name, their in THEIRS.items():
        if name not in of.found:
            continue
        figures = _figures(of.found[name], result["found"].get(their), [each[name] for each in of.real])
        rival = ""
        if "their_error" in figures:
            covers = f"{100 * figures['their_covers']:.0f} ({100 * figures['their_covers_95']:.0f})"
            rival = f"{figures['their_error']:.4f}, {covers}"
        yield (
            f"| {case.kind} | {case.name} | {name} | {figures['error']:.4f}, {100 * figures['covers']:.0f} | {rival} | "
            f"{of.refused} | {of.cpu:.1f}, {result['cpu']:.1f} |"
        )


HEADER = (
    "| model | windows | metric | ours: error, covered % | NannyML: error, covered % (at 1.96) | "
    "ours: not estimable | CPU s: ours, NannyML |\n|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Measure each case with both tools, and print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    command = environment_of(FOLDER / "nannyml_estimates.py")
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(place) for place in range(len(CASES))]
        found = [measured(case, count, seed=100 + place, folder=folders[place]) for place, case in enumerate(CASES)]
        done = subprocess.run(
            [*command, *map(str, folders)], check=True, capture_output=True, text=True, cwd=folders[0]
        )
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print(HEADER)
    for case, of, theirs in zip(CASES, found, results, strict=True):
        print("\n".join(lines(case, of, theirs)))
    print(load())


if __name__ == "__main__":
    main()
