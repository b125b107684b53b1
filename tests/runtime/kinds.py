"""Two public tables that scikit-learn ships: wines of three cultivars, and three measures of twenty men at a fitness club.

Models of them are ONNX of scikit-learn's own, so that scikit-learn is the oracle of what is served and measured.
"""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from skl2onnx import to_onnx
from sklearn.datasets import load_linnerud, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.jobs.evaluate import Inputs

CULTIVARS = ("barolo", "grignolino", "barbera")
MEASURES = ("weight", "waist")
BLOCKS = 12
TABLE = PinnedTable(
    group="wines", version=1, database="d", table="wines_v1", table_uuid="u", snapshot_id=1, sequence=1, schema_id=0,
    tag="t", columns=("alcohol",),
)  # fmt: skip
MANIFEST = TrainingSetManifest(
    name="wines",
    semantics=Semantics(as_of="known_at", cutoff="2017-09-01T00:00:00Z"),
    entities=TABLE,
    features=(),
    build=Build(engine="duckdb", engine_version="1", planner="frontier", client="0"),
    output=Output(rows=1, content_hash="c", files=(), columns={}),
    split={
        "trained_until": "2017-08-04T00:00:00Z",
        "holdout_from": "2017-08-04T00:00:00Z",
        "holdout_until": "2017-09-01T00:00:00Z",
    },
)


def wine() -> Any:
    """Return the wines: their cultivar by name, thirteen measures, a naive guess, and blocks of rows."""
    found = load_wine()
    random = np.random.default_rng(3)
    table = pa.table({name.replace("/", "_"): found.data[:, i] for i, name in enumerate(found.feature_names)})
    names = [CULTIVARS[code] for code in found.target]
    order = random.permutation(len(names))
    table = table.append_column("cultivar", pa.array(names))
    colour = ["dark" if value > 5 else "light" for value in found.data[:, 9]]
    table = table.append_column("colour", pa.array(colour))
    return _with_blocks(table.take(order))


def men() -> Any:
    """Return the men: weight and waist, three exercises, and what each weighed at a visit before, with rows repeated and noise."""
    found = load_linnerud()
    random = np.random.default_rng(5)
    rows = np.tile(np.column_stack([found.data, found.target[:, :2]]), (12, 1)) + random.normal(size=(240, 5))
    table = pa.table({name.lower(): rows[:, i] for i, name in enumerate((*found.feature_names, *MEASURES))})
    for name in MEASURES:
        values = np.asarray(table.column(name))
        table = table.append_column(f"last_{name}", pa.array(values + random.normal(0, values.std(), len(values))))
    return _with_blocks(table)


def _with_blocks(table: Any) -> Any:
    return table.append_column("shelf", pa.array([f"shelf {row % BLOCKS}" for row in range(table.num_rows)]))


SCALES = (180.0, 35.0)
METRIC = f"""
SCALES = {SCALES}


def loss(label, prediction):
    return sum(abs(one - other) / scale for one, other, scale in zip(label, prediction, SCALES, strict=True))
"""


def men_as_vectors() -> Any:
    """Return the men with both measures, and both of the visit before, as a list a row."""
    table = men()
    for column, names in (("measures", MEASURES), ("last_measures", tuple(f"last_{name}" for name in MEASURES))):
        values = np.column_stack([np.asarray(table.column(name)) for name in names])
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), len(names))
        table = table.append_column(column, lists.cast(pa.list_(pa.float64())))
    return table


def table_of(kind: str) -> Any:
    """Return the rows of a kind."""
    return wine() if kind == "classes" else men_as_vectors() if kind == "vector" else men()


def metric_file(folder: Path, text: str = METRIC) -> tuple[Path, str]:
    """Write the metric function of vectors; return the file and its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "metric.py"
    file.write_text(text)
    return file, hashlib.sha256(text.encode()).hexdigest()


def wine_inputs() -> tuple[str, ...]:
    """Return the names of a wine's measures."""
    return tuple(name for name in wine().column_names if name not in ("cultivar", "colour", "shelf"))


MEN_INPUTS = ("chins", "situps", "jumps")


def matrix(table: Any, names: tuple[str, ...]) -> Any:
    """Return some columns as the model takes them."""
    return np.column_stack([np.asarray(table.column(name)) for name in names]).astype(np.float32)


def signature(kind: str, names: tuple[str, ...] | None = None) -> ModelSignature:
    """Return the signature of a model of wines (``classes``) or of men (``numbers``, ``vector``)."""
    inputs = wine_inputs() if kind == "classes" else MEN_INPUTS
    columns = tuple(SignatureColumn(name=name, type="number") for name in inputs)
    if kind == "classes":
        return ModelSignature(inputs=columns, output="cultivar", kind="classes", classes=names or CULTIVARS)
    if kind == "vector":
        return ModelSignature(inputs=columns, output="measures", kind="vector", width=len(MEASURES))
    return ModelSignature(inputs=columns, output="measures", kind="numbers", outputs=names or MEASURES)


@cache
def classifier(rows: int = 118) -> Any:
    """Return scikit-learn's model of the first wines; its classes are codes in the order of ``CULTIVARS``."""
    table = wine().slice(0, rows)
    codes = [CULTIVARS.index(name) for name in table.column("cultivar").to_pylist()]
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(matrix(table, wine_inputs()), codes)


@cache
def regressor(rows: int = 160) -> Any:
    """Return scikit-learn's model of the first men."""
    table = men().slice(0, rows)
    return LinearRegression().fit(matrix(table, MEN_INPUTS), matrix(table, MEASURES))


def onnx(model: Any, width: int) -> tuple[bytes, str]:
    """Return a model as ONNX, and the name of its output."""
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    graph = to_onnx(model, np.zeros((1, width), dtype=np.float32), options=options, target_opset=17)
    return graph.SerializeToString(), graph.graph.output[-1].name


def files(
    kind: str, model: Any | None = None, *, names: tuple[str, ...] | None = None, width: int | None = None
) -> tuple[bytes, bytes]:
    """Return ``model.onnx`` and ``signature.json``."""
    declared = signature(kind, names)
    declared = declared if width is None else replace(declared, width=width)
    model = model or (classifier() if kind == "classes" else regressor())
    content, output = onnx(model, len(declared.inputs))
    return content, json.dumps(to_dict(declared) | {"output": output}).encode()


def archive(
    path: Path,
    kind: str,
    model: Any | None = None,
    *,
    names: tuple[str, ...] | None = None,
    width: int | None = None,
) -> Path:
    """Write ``model.tar.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in zip(
            ("model.onnx", "signature.json"), files(kind, model, names=names, width=width), strict=True
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def evaluation_inputs(folder: Path, kind: str, **changes: Any) -> Inputs:
    """Return what the evaluation of wines or men reads: a candidate, and a champion that was trained on half of the rows."""
    table = table_of(kind)
    cut = 118 if kind == "classes" else 160
    champion = archive(
        folder / "champion" / "model.tar.gz", kind, classifier(14) if kind == "classes" else regressor(8)
    )
    given = {
        "train": table.slice(0, cut),
        "holdout": table.slice(cut),
        "manifest": MANIFEST,
        "candidate": archive(folder / "candidate" / "model.tar.gz", kind),
        "champion": champion,
        "champion_sha256": hashlib.sha256(champion.read_bytes()).hexdigest(),
    }
    return Inputs(**{**given, **changes})


PLANS = {
    "classes": EvaluationPlan(
        label="cultivar", block="shelf", baselines=("colour",), metric="macro_log_loss", segments=("colour",)
    ),
    "numbers": EvaluationPlan(label="weight", labels=MEASURES, block="shelf", baselines=("last",), metric="wape"),
    "vector": EvaluationPlan(label="measures", block="shelf", baselines=("last_measures",), metric="custom_loss"),
}
URI = "s3://artifacts/baseline.json"
