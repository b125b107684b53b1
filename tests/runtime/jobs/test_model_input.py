"""Arrow columns reach the model like requests, so that the evaluation measures the server's results."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.model_input import (
    categories,
    milliseconds_a_row,
    model_input,
    numbers,
    read_split,
    require_columns,
    serving_problems,
)
from mlops_runtime.serving.onnx_model import Model, load_archive
from mlops_runtime.serving.request_payload import parse

STORES = ["north", "south, old", "east", "west"]


def test_rows_are_the_same_as_through_a_request(models: Any) -> None:
    """A split and a request with the same values give the same matrix."""
    rows = [
        {"price": 1.25, "stock": None, "store": "east"},
        {"price": 0.1, "stock": 7.0, "store": "unknown"},
    ]
    body = json.dumps({"instances": rows}).encode()
    np.testing.assert_array_equal(
        model_input(pa.Table.from_pylist(rows), models.signature), parse("application/json", body, models.signature)
    )


def test_integers_that_were_written_as_categories_are_categories(tmp_path: Path) -> None:
    """Parquet has no integer categories, and Arrow restores only text ones; a store would be a quantity."""
    stores = pa.array([20, 3, 20])
    pq.write_table(pa.table({"store": stores.dictionary_encode(), "units": [1, 2, 3]}), tmp_path / "part-0.parquet")
    pq.write_table(pa.table({"store": stores.dictionary_encode(), "units": [4, 5, 6]}), tmp_path / "part-1.parquet")
    found = read_split(tmp_path)
    assert pa.types.is_dictionary(found["store"].type)
    assert categories(found, "store") == ["20", "3", "20"] * 2
    assert found["units"].type == pa.int64()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 3], pa.int64()),
        ([Decimal("1.0"), None, Decimal("3.0")], pa.decimal128(5, 1)),
        ([1.0, None, 3.0], pa.float32()),
    ],
)
def test_numbers_of_any_type_are_read(values: list[Any], kind: Any) -> None:
    """Integers, decimals and floats are numbers; null is NaN."""
    np.testing.assert_array_equal(numbers(pa.table({"x": pa.array(values, kind)}), "x"), [1, np.nan, 3])


def test_booleans_are_numbers_and_dictionaries_are_text() -> None:
    """Booleans become 0 and 1; encoded levels their text."""
    table = pa.table({"flag": [True, None], "level": pa.array(["a", ""]).dictionary_encode(), "id": [367, 2]})
    np.testing.assert_array_equal(numbers(table, "flag"), [1, np.nan])
    assert (categories(table, "level"), categories(table, "id")) == (["a", None], ["367", "2"])


def test_a_split_is_all_files_in_order(tmp_path: Path) -> None:
    """Files are read by name."""
    for name, value in (("part-1", 2), ("part-0", 1)):
        pq.write_table(pa.table({"x": [value]}), tmp_path / f"{name}.parquet")
    assert read_split(tmp_path).column("x").to_pylist() == [1, 2]


def test_fails_for_columns_that_are_missing_or_of_the_wrong_type(tmp_path: Path) -> None:
    """All missing columns together, and the existing ones."""
    table = pa.table({"x": ["a"]})
    with pytest.raises(JobError, match="split 'train' lacks 'y', 'z'; it has 'x'"):
        require_columns(table, ["x", "y", "z"], "train")
    with pytest.raises(JobError, match="column 'x' must be numeric, got string"):
        numbers(table, "x")


def test_fails_for_an_empty_split(tmp_path: Path) -> None:
    """Applies to missing files and missing rows."""
    with pytest.raises(JobError, match="must contain Parquet files, got none"):
        read_split(tmp_path)
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / "part-0.parquet")
    with pytest.raises(JobError, match="must contain at least one row, got none"):
        read_split(tmp_path)


@pytest.fixture
def table() -> Any:
    """Return 100 rows, some without stock."""
    return pa.table(
        {
            "price": [1 + i / 10 for i in range(100)],
            "stock": [None if i % 9 == 0 else float(i) for i in range(100)],
            "store": [STORES[i % 4] for i in range(100)],
        }
    )


@pytest.fixture
def model(models: Any, tmp_path: Path) -> Model:
    """Return a valid model."""
    return load_archive(models.archive(tmp_path / "model.tar.gz"))


def variant(model: Model, predict: Any) -> Model:
    """Return a model with other predictions."""
    kind = type("Variant", (Model,), {"__slots__": (), "predict": predict})
    made: Model = kind(model.signature, model.sha256, model.session, model.output)
    return made


def test_a_sound_model_has_no_problem(model: Model, table: Any) -> None:
    """Single, in batches of 2, 7 and 64, and repeated."""
    assert serving_problems(model, table, model_input(table, model.signature)) == []


def test_rows_must_not_depend_on_each_other(model: Model, table: Any) -> None:
    """A batch mean subtracted by a careless export is found at each batch size."""
    centred = variant(model, lambda self, rows: (p := Model.predict(self, rows)) - p.mean())
    problems = serving_problems(centred, table, model_input(table, model.signature))
    assert len(problems) == 4
    assert problems[0].startswith("holdout row 0 gives ")
    assert problems[0].endswith("among all rows and 0.0 alone; rows must not depend on each other")


def test_a_model_that_fails_only_in_batches_of_many_is_found(model: Model, table: Any) -> None:
    """Right for one and two rows, wrong from seven on."""
    crowded = variant(model, lambda self, rows: Model.predict(self, rows) + (1 if 3 < len(rows) < 99 else 0))
    problems = serving_problems(crowded, table, model_input(table, model.signature))
    assert [problem.split("; ")[0].rpartition(" ")[2] for problem in problems] == ["7", "64"]


def test_a_model_must_repeat_itself(model: Model, table: Any) -> None:
    """The same rows twice give another result."""
    noise = iter(np.linspace(0, 1e-3, 1000, dtype=np.float32))
    random = variant(model, lambda self, rows: Model.predict(self, rows) + next(noise))
    problems = serving_problems(random, table, model_input(table, model.signature))
    assert problems[0].endswith("in the same batch; a model must be deterministic")


def test_a_null_that_may_not_be_sent_is_found_once(model: Model, table: Any) -> None:
    """Equal reasons of all batch sizes are one."""
    table = table.set_column(0, "price", pa.array([None, *table.column("price").to_pylist()[1:]], pa.float64()))
    assert serving_problems(model, table, model_input(table, model.signature)) == [
        "holdout row 0 could not be sent to the server: instances[0].price must not be null"
    ]


def test_a_model_that_cannot_answer_has_no_time(model: Model, table: Any) -> None:
    """The other model is still measured."""

    def fail(self: Model, rows: Any) -> Any:
        raise RuntimeError(len(rows))

    ticks = iter(range(10**6))
    taken = milliseconds_a_row(
        {"candidate": model, "champion": variant(model, fail)}, table, lambda: float(next(ticks))
    )
    assert taken == {"candidate": 1000.0}


def test_values_are_those_of_the_table() -> None:
    """Covers integers beyond 32-bit floats, strings, and missing values."""
    columns = (
        SignatureColumn(name="amount", type="number", kind="integer"),
        SignatureColumn(name="store", type="category", categories=("a",), nullable=True),
    )
    table = pa.table({"amount": [20_000_001, 2], "store": ["z", None]})
    whole = model_input(table, ModelSignature(inputs=columns, output="units", passes="values"))
    numbers_alone = model_input(table, ModelSignature(inputs=columns[:1], output="units", passes="values"))
    assert whole.tolist() == [[20_000_001.0, "z"], [2.0, None]]
    assert (numbers_alone.dtype, numbers_alone.tolist()) == (np.float64, [[20_000_001.0], [2.0]])
