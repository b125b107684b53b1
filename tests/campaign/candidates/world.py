"""Inputs of candidates: the real demand data known after a week, the champion, and weeks that no gate has seen."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import pyarrow as pa
from examples.retail.demand_forecasting import data, declaration
from examples.retail.demand_forecasting.features import INPUTS
from examples.retail.transactions import week_end, week_start

from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest

CHAMPION_WEEK = 30
# weeks of training: those of the unit's own README, in summer, autumn and before Thanksgiving
WEEKS = (36, 40, 47)
HOLDOUT_WEEKS, FRESH_WEEKS = declaration.TRAINING_SET.holdout_days // 7, 6
COLUMN = {name: index for index, name in enumerate(INPUTS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """The two files of ``model.tar.gz``."""

    model: bytes
    signature: Mapping[str, Any]

    def pack(self) -> bytes:
        """Return the archive; the same bytes for the same files."""
        return archive({"model.onnx": self.model, "signature.json": json.dumps(self.signature, indent=1).encode()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """A training set: its two splits and its manifest."""

    train: Any
    holdout: Any
    manifest: TrainingSetManifest


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a gzip tar of files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@cache
def rows(first: int, last: int) -> Any:
    """Return the rows of some weeks in the shape of a training set."""
    table = pa.concat_tables([data.series_of(week) for week in range(first, last + 1)])
    requested = pa.array([week_start(week) for week in table["week"].to_pylist()], pa.timestamp("us", "UTC"))
    return table.append_column("prediction_time", requested).select(
        ["store_id", "category", "week", "prediction_time", "units", *[name for name in INPUTS if name != "category"]]
    )


@cache
def splits(week: int) -> Splits:
    """Return the training set of a retraining right after a week: the last weeks are held out, as the unit declares."""
    cut = week - HOLDOUT_WEEKS
    return Splits(train=rows(data.FIRST_WEEK, cut), holdout=rows(cut + 1, week), manifest=manifest(cut, cut + 1, week))


def fresh(week: int) -> Splits:
    """Return the weeks after a week as a holdout: unseen at the gate's decision."""
    last = min(week + FRESH_WEEKS, data.LAST_WEEK)
    return Splits(
        train=splits(week).train, holdout=rows(week + 1, last), manifest=manifest(week - HOLDOUT_WEEKS, week + 1, last)
    )


def decided_at(week: int) -> datetime:
    """Return the time of the gate's decision about a model trained after a week."""
    return week_start(week + 1)


def manifest(trained: int, first: int, last: int) -> TrainingSetManifest:
    """Return the manifest of a set that was trained up to a week with some later weeks held out."""
    table = PinnedTable(
        group="weekly_demand", version=1, database="demand_features", table="weekly_demand_v1", table_uuid="u", snapshot_id=1,
        sequence=1, schema_id=0, tag="t", columns=INPUTS,
    )  # fmt: skip
    times = (week_end(trained), week_start(first), week_end(last))
    return TrainingSetManifest(
        name="demand-forecast",
        semantics=Semantics(as_of="known_at", cutoff=times[2].isoformat()),
        entities=table,
        features=(),
        build=Build(engine="arrow", engine_version="1", planner="none", client="0"),
        output=Output(rows=0, content_hash="c", files=(), columns={}),
        split=dict(
            zip(("trained_until", "holdout_from", "holdout_until"), [t.isoformat() for t in times], strict=True)
        ),
    )


def categories(table: Any) -> Sequence[str]:
    """Return the categories of a table, largest first."""
    counted = table["category"].combine_chunks().value_counts().to_pylist()
    return [entry["values"] for entry in sorted(counted, key=lambda e: (-e["counts"], e["values"]))]
