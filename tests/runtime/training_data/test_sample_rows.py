"""Rows generated from a schema result in the same schema."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Metric
from mlops_runtime.training_data.baseline_names import baseline_names
from mlops_runtime.training_data.sample_rows import main, sample_splits, sample_table
from mlops_runtime.training_data.table_schema import DAY, WEEK, InputColumn, TableSchema, read_schema

INPUTS = (
    InputColumn(name="shelf", type="category", kind="text", nullable=True, categories=("low", "top")),
    InputColumn(name="price", type="number", kind="float", nullable=True, low=1, high=20),
    InputColumn(name="size", type="number", kind="integer", nullable=False, low=0, high=40),
    InputColumn(name="open", type="number", kind="boolean", nullable=False),
    InputColumn(name="store_id", type="category", kind="integer", nullable=False),
)


def schema(kind: Literal["number", "chance", "classes"], metric: Metric, key: str | None) -> TableSchema:
    """Return a schema of a label."""
    return TableSchema(
        label="sold",
        label_kind=kind,
        metric=metric,
        time="day",
        block=key or WEEK,
        cluster=DAY if key else WEEK,
        baselines=baseline_names(key, has_classes=kind == "classes", is_chance=kind == "chance"),
        inputs=INPUTS if key else INPUTS[:-1],
        left_out=(),
        rows=2400,
        holdout_rows=360,
        minimum_rows=200,
        low=2,
        high=90,
        classes=("few", "many", "some") if kind == "classes" else (),
        key=key,
        key_kind="integer" if key else None,
    )


@pytest.mark.parametrize("key", ["store_id", None])
@pytest.mark.parametrize(
    ("kind", "metric"), [("number", "wape"), ("chance", "log_loss"), ("classes", "macro_log_loss")]
)
def test_rows_have_the_schema(
    kind: Literal["number", "chance", "classes"], metric: Metric, key: str | None, tmp_path: Path
) -> None:
    """Types, nulls, blocks, kind of label; the same rows each time."""
    given = schema(kind, metric, key)
    pq.write_table(sample_table(given), tmp_path / "rows.parquet")
    found = read_schema(tmp_path / "rows.parquet", label="sold", time="day", key=key)
    assert [(each.name, each.type, each.kind, each.nullable) for each in found.inputs] == [
        (each.name, each.type, each.kind, each.nullable) for each in given.inputs
    ]
    kept = ("label_kind", "metric", "block", "baselines", "classes", "key_kind", "minimum_rows")
    assert [getattr(found, name) for name in kept] == [getattr(given, name) for name in kept]
    assert sample_table(given) == sample_table(given)


def test_both_splits_have_baselines(tmp_path: Path) -> None:
    """This includes a schema with an explicit start of the holdout."""
    split = sample_splits(replace(schema("number", "wape", "store_id"), holdout_from="2031-01-01"), tmp_path)
    assert {"naive_median_by_store_id", "naive_last_by_store_id"} <= set(split.holdout.column_names)
    assert split.holdout.num_rows >= 200


def test_the_program_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors are one line."""
    (tmp_path / "schema.json").write_bytes(canonical_json(schema("number", "mae", None)))
    assert main([str(tmp_path / "schema.json"), str(tmp_path / "rows.parquet")]) == 0
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 2400
    assert main(["one"]) == 2
    assert main([str(tmp_path / "none.json"), "rows.parquet"]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_the_times_have_passed() -> None:
    """Otherwise the gate would reject the holdout of users without a file, because it ends after the decision."""
    last = max(sample_table(schema("number", "wape", None))["day"].to_pylist())
    assert last.isoformat() < "2025"
