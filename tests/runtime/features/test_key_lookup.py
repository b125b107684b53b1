"""Reads by key return the same rows as a full scan from few row groups."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.features import key_lookup
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, Entity, Feature, FeatureGroup
from mlops_runtime.features.key_lookup import rows_of_keys
from mlops_runtime.features.source import read_group
from mlops_runtime.features.store_client import FeatureStoreClient

START = datetime(2017, 1, 1, tzinfo=UTC)
GROUP = FeatureGroup(
    name="shelves",
    entities=(
        Entity("store", "string", "store"),
        Entity("item", "int", "item"),
        Entity("on", "date", "day of the plan"),
    ),
    features=(Feature("units", "int", "units", nullable=True), Feature("place", "vector(2)", "place", nullable=True)),
    owner="demand",
    description="shelves",
)
GROWN = replace(
    GROUP,
    features=(
        Feature("units", "long", "units", nullable=True),
        GROUP.features[1],
        Feature("price", "double", "price", nullable=True),
    ),
)
KEYS = ["store", "item", "on"]
STORES, ITEMS, DAYS = ["", "a", "b", "zürich"], 40, 4


def _batch(seed: int, **more: pa.Array) -> pa.Table:
    """Return 300 rows of two months, some restated."""
    random = np.random.default_rng(seed)
    count = 300
    events = [START + timedelta(days=int(n)) for n in random.integers(0, 59, count)]
    rows = pa.table(
        {
            "store": [STORES[n] for n in random.integers(0, len(STORES), count)],
            "item": pa.array(random.integers(0, ITEMS, count), pa.int32()),
            "on": [date(2017, 1, 1 + int(n)) for n in random.integers(0, DAYS, count)],
            EVENT_TIME: events,
            CREATED_TIME: [at + timedelta(hours=seed) for at in events],
            "units": pa.array(random.integers(0, 9, count), pa.int32()),
            "place": [[float(n), 0.5] if n % 3 else None for n in range(count)],
            **more,
        }
    )
    first = rows.append_column("n", pa.arange(0, count, 1)).group_by([*KEYS, EVENT_TIME]).aggregate([("n", "min")])
    return rows.take(first["n_min"].sort())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Return a table of small row groups: two batches, the second wider with another column, and a foreign writer's file."""
    folder = tmp_path_factory.mktemp("shelves")
    client = FeatureStoreClient.local(folder, now=lambda: datetime(2018, 1, 1, tzinfo=UTC))
    client.backfill(GROUP, _batch(1).slice(0, 1))
    made = client.table(GROUP.table_name)
    with made.transaction() as transaction:
        transaction.set_properties({"write.parquet.row-group-limit": "16"})
    client.backfill(GROUP, _batch(2))
    prices = pa.array(np.linspace(0, 1, 300))
    client.backfill(GROWN, _batch(3, price=prices))
    client.backfill(GROWN, _batch(4, price=prices))
    made = client.table(GROUP.table_name)
    foreign = made.scan().to_arrow().filter(pc.field(EVENT_TIME) < datetime(2017, 2, 1, tzinfo=UTC)).slice(0, 20)
    kinds = {field.name: pa.list_(pa.float32()) if field.name == "place" else field.type for field in foreign.schema}
    plain = pa.schema([pa.field(f.name, kinds[f.name], nullable=f.nullable) for f in foreign.schema])
    january = foreign.cast(plain).sort_by([(EVENT_TIME, "ascending")])
    pq.write_table(january, folder / "foreign.parquet", row_group_size=4)
    made.add_files([str(folder / "foreign.parquet")])
    return client.table(GROUP.table_name)


def _shown(rows: pa.Table) -> list[tuple]:
    """Return rows in a comparable form, in any order."""
    columns = [rows[name].to_pylist() for name in rows.column_names]
    return sorted(map(repr, zip(*columns, strict=True)))


@pytest.fixture(scope="module")
def everything(table):
    """Return all rows."""
    return read_group(table, GROWN)


def _expected(everything: pa.Table, keys: pa.Table, created_by, event_by, since) -> list[tuple]:
    """Return the expected rows, filtered in plain Python."""
    wanted = set(zip(*(keys[name].to_pylist() for name in keys.column_names), strict=True))
    own = zip(*(everything[name].to_pylist() for name in keys.column_names), strict=True)
    times = zip(everything[EVENT_TIME].to_pylist(), everything[CREATED_TIME].to_pylist(), strict=True)
    kept = [
        key in wanted
        and (created_by is None or created <= created_by)
        and (event_by is None or event <= event_by)
        and (since is None or event >= since)
        for key, (event, created) in zip(own, times, strict=True)
    ]
    return _shown(everything.filter(pa.array(kept, pa.bool_())))


_DAYS = st.none() | st.integers(-1, 61).map(lambda n: START + timedelta(days=n, hours=1))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([*STORES, "nowhere"]), st.integers(-2, ITEMS + 2), st.integers(0, DAYS)), max_size=12
    ),
    with_time=st.booleans(),
    created_by=_DAYS,
    event_by=_DAYS,
    since=_DAYS,
)
def test_rows_are_those_of_reading_everything(table, everything, rows, with_time, created_by, event_by, since):
    """Holds for any keys of three columns, with and without the event time, and any bounds."""
    keys = pa.table(
        {
            "store": pa.array([s for s, _, _ in rows], pa.string()),
            "item": pa.array([i for _, i, _ in rows], pa.int32()),
            "on": pa.array([date(2017, 1, 1 + n) for _, _, n in rows], pa.date32()),
        }
    )
    if with_time:
        times = [START + timedelta(days=(7 * i) % 59) for _, i, _ in rows]
        keys = keys.append_column(EVENT_TIME, pa.array(times, pa.timestamp("us", "UTC")))
    bounds = {"created_by": created_by, "event_by": event_by, "since": since}
    found = rows_of_keys(table, GROWN, keys, **bounds)

    assert _shown(found) == _expected(everything, keys, **bounds)
    assert found.schema.equals(everything.schema)


def test_each_row_is_found_by_its_own_key(table, everything):
    """Covers more keys than a filter may list, keys of a file without field ids, and duplicates."""
    keys = everything.select(KEYS)
    assert keys.group_by(KEYS).aggregate([]).num_rows > 200
    assert _shown(rows_of_keys(table, GROWN, keys)) == _shown(everything)
    timed = everything.select([*KEYS, EVENT_TIME])
    assert _shown(rows_of_keys(table, GROWN, timed)) == _shown(everything)


def test_keys_with_a_null_find_nothing(table, everything):
    """The other rows are found."""
    one = everything.select(KEYS).slice(0, 1)
    gap = one.set_column(1, "item", pa.array([None], pa.int32()))
    both = pa.concat_tables([gap, one], promote_options="default")
    assert rows_of_keys(table, GROWN, gap).num_rows == 0
    assert rows_of_keys(table, GROWN, both).num_rows >= 1


def test_few_row_groups_are_read(table, everything, monkeypatch):
    """Files are sorted by key, so a key is in few row groups, and values are read from these alone."""
    read: list[tuple[int, int, tuple[str, ...]]] = []

    class Counting(pq.ParquetFile):
        def read_row_groups(self, row_groups, columns=None, **options):
            read.append((self.num_row_groups, len(row_groups), tuple(columns)))
            return super().read_row_groups(row_groups, columns=columns, **options)

    monkeypatch.setattr(key_lookup.pq, "ParquetFile", Counting)
    one = everything.filter(pc.field("store") == "b").select(KEYS).slice(3, 1)
    rows_of_keys(table, GROWN, one)
    large = [(of, groups) for of, groups, _ in read if of > 5]
    assert large
    assert all(2 * groups < of for of, groups in large)
    read.clear()
    rows_of_keys(table, GROWN, one.set_column(1, "item", pa.array([-5], pa.int32())))
    assert not [columns for _, _, columns in read if "units" in columns]


def test_no_keys_and_no_rows_are_an_empty_table(tmp_path):
    """Both have the columns of the group."""
    client = FeatureStoreClient.local(tmp_path, now=lambda: datetime(2018, 1, 1, tzinfo=UTC))
    client.backfill(GROUP, _batch(1))
    made = client.table(GROUP.table_name)
    none = read_group(made, GROUP).select(KEYS).slice(0, 0)
    assert rows_of_keys(made, GROUP, none).schema.equals(read_group(made, GROUP).schema)
    client.table(GROUP.table_name).delete("item >= 0")
    assert rows_of_keys(client.table(GROUP.table_name), GROUP, read_group(made, GROUP).select(KEYS)).num_rows == 0
