"""A file's rows in a feature store: groups from its schema, point-in-time features, and idempotent writes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.training_data.feature_rows import write_rows
from mlops_runtime.training_data.stored_schema import feature_groups, stored_schema
from mlops_runtime.training_data.table_file import TableError
from mlops_runtime.training_data.table_schema import DAY, TableSchema, read_schema

STORES, DAYS = 20, 60
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def sales(**changed: Any) -> dict[str, Any]:
    """Return sixty days of twenty stores, some closed on some days, by columns."""
    rows = [(day, store) for day in range(DAYS) for store in range(STORES)]
    return {
        "store_id": [store for _, store in rows],
        "day": [datetime(2026, 1, 1) + timedelta(days=day) for day, _ in rows],
        "price": [1 + (day * 7 + store) % 13 / 4 for day, store in rows],
        "shelf": [None if (day + store) % 7 == 0 else ("low", "top")[store % 2] for day, store in rows],
        "open": [day % 3 > 0 for day, _ in rows],
        "visits": [day * 3 % 11 for day, _ in rows],
        "units": [float(store + day % 5) for day, store in rows],
        **changed,
    }


def written(folder: Path, columns: dict[str, Any]) -> Path:
    """Write a file."""
    pq.write_table(pa.table(columns), folder / "sales.parquet")
    return folder / "sales.parquet"


def read(path: Path, *, row_key: Sequence[str] = (), **options: Any) -> TableSchema:
    """Return the store's rows of a file."""
    return stored_schema(
        path, read_schema(path, label="units", time="day", **{"key": "store_id", **options}), entities=row_key
    )


def store(folder: Path, schema: TableSchema) -> SimpleNamespace:
    """Return an empty store with the schema's groups and plan."""
    features, labels = feature_groups(schema, name="units", owner="shop")
    plan = TrainingSetPlan(
        name="shop-units",
        label_group=labels.name,
        timestamp=schema.time,
        label=schema.label,
        features={features.name: features.feature_names},
        holdout_days=schema.holdout_days or 0,
        baselines=schema.baselines,
    )
    client = FeatureStoreClient.local(folder / "store", now=lambda: NOW)
    return SimpleNamespace(client=client, groups=(features, labels), plan=plan)


def rows_of(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    """Return rows as sorted tuples."""
    return sorted(zip(*(table[name].to_pylist() for name in names), strict=True), key=repr)


def test_each_row_finds_its_own_features(tmp_path: Path) -> None:
    """Both splits of the store equal the file's, by key and time, as the model's input."""
    columns = sales()
    path = written(tmp_path, columns)
    schema = read(path)
    shop = store(tmp_path, schema)
    done = write_rows(shop.client, path, schema, shop.groups)
    built = shop.client.split_training_set(shop.plan, as_of=NOW)

    assert [(each.table, each.rows) for each in done] == [
        ("units_features_v1", STORES * DAYS),
        ("units_labels_v1", STORES * DAYS),
    ]
    both = pa.concat_tables([built.train, built.holdout])
    names = ("store_id", "price", "shelf", "open", "visits", "units")
    wanted = pa.table({**columns, "store_id": [str(each) for each in columns["store_id"]]})
    assert rows_of(both, *names) == rows_of(wanted, *names)
    assert both[DAY][0].as_py() == "2026-01-01"
    assert both.schema.field("visits").type == pa.int64()
    assert both.schema.field("open").type == pa.bool_()
    assert both["naive_last_by_store_id"].null_count == 0


def test_the_newest_days_are_held_out_as_of_the_file(tmp_path: Path) -> None:
    """At least the file's own holdout, in whole days, or from the given time."""
    path = written(tmp_path, sales())
    schema = read(path)
    shop = store(tmp_path, schema)
    write_rows(shop.client, path, schema, shop.groups)
    built = shop.client.split_training_set(shop.plan, as_of=NOW)

    assert STORES * (schema.holdout_days or 0) <= built.holdout.num_rows <= STORES * ((schema.holdout_days or 0) + 1)
    assert built.holdout.num_rows >= schema.holdout_rows
    assert read(path, holdout_from="2026-02-01").holdout_days == 28


def test_a_file_is_written_once_and_a_longer_one_adds_its_rows(tmp_path: Path) -> None:
    """Changed values take effect from then on, also when changed back."""
    columns = sales()
    short = pa.table(columns).slice(0, STORES * (DAYS - 5))
    path = tmp_path / "sales.parquet"
    pq.write_table(short, path)
    schema = read(path)
    shop = store(tmp_path, schema)

    def write(table: pa.Table) -> list[tuple[int, int]]:
        pq.write_table(table, path)
        return [(each.rows, each.restated) for each in write_rows(shop.client, path, schema, shop.groups)]

    def units() -> list[float]:
        built = shop.client.split_training_set(shop.plan, as_of=NOW)
        return sorted(pa.concat_tables([built.train, built.holdout])["units"].to_pylist())

    assert write(short) == [(STORES * (DAYS - 5), 0)] * 2
    assert write(short) == [(0, 0)] * 2
    assert write(pa.table(columns)) == [(STORES * 5, 0)] * 2
    raised = pa.table(
        {**columns, "units": [each + 100 if place < 3 else each for place, each in enumerate(columns["units"])]}
    )
    for table, expected in ((raised, raised), (pa.table(columns), pa.table(columns)), (raised, raised)):
        assert write(table) == [(0, 0), (3, 3)]
        assert units() == sorted(expected["units"].to_pylist())


def test_rows_of_one_key_and_time_need_what_tells_them_apart(tmp_path: Path) -> None:
    """The message contains the column that becomes part of the key; it need not be an input."""
    columns = sales(
        product=[f"p{n:04}" for n in range(STORES * DAYS)], store_id=[n % STORES % 12 for n in range(STORES * DAYS)]
    )
    path = written(tmp_path, columns)
    with pytest.raises(TableError, match="1200 rows have only 720 values of store_id and day") as raised:
        read(path)
    assert "add --row-key product" in str(raised.value)
    schema = read(path, row_key=("product",))
    assert schema.entities == ("store_id", "product")
    assert "product" not in [each.name for each in schema.inputs]
    shop = store(tmp_path, schema)
    assert [each.rows for each in write_rows(shop.client, path, schema, shop.groups)] == [1200, 1200]
    built = shop.client.split_training_set(shop.plan, as_of=NOW)
    assert rows_of(built.train, "product", "price") == rows_of(
        pa.table(columns).slice(0, built.train.num_rows), "product", "price"
    )


def test_rows_that_do_not_fit_are_refused_by_the_group(tmp_path: Path) -> None:
    """A missing column, and a null in a required one."""
    path = written(tmp_path, sales())
    schema = read(path)
    shop = store(tmp_path, schema)
    with pytest.raises(TableError, match="column 'price' is missing"):
        write_rows(
            shop.client, written(tmp_path, {k: v for k, v in sales().items() if k != "price"}), schema, shop.groups
        )
    with pytest.raises(BatchError, match="price"):
        write_rows(shop.client, written(tmp_path, sales(price=[None, *sales()["price"][1:]])), schema, shop.groups)
    other = FeatureGroup(
        name="weather",
        entities=shop.groups[0].entities,
        features=shop.groups[0].features[:1],
        owner="shop",
        description="",
    )
    written(tmp_path, sales())
    assert write_rows(shop.client, path, schema, [other])[0].rows == STORES * DAYS
