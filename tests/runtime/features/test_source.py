"""Rows read in batches: same rows and order, one file at a time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from mlops_runtime.features import source
from mlops_runtime.features.build_intent import ErasedDuringBuildError
from mlops_runtime.features.iceberg_tables import same_entity
from mlops_runtime.features.point_in_time import GroupRows, point_in_time
from mlops_runtime.features.source import (
    DamagedFileError,
    IcebergRows,
    MissingFileError,
    TableRows,
    numbered,
    read_rows,
    take,
)

DAY = [datetime(2017, 1, number, tzinfo=UTC) for number in range(1, 10)]


class Chopped:
    """A table in batches of two rows, like a file."""

    def __init__(self, table):
        self.table, self.schema = table, table.schema

    def read(self, columns):
        """Return the columns."""
        chosen = self.table.select(list(columns))
        return pa.RecordBatchReader.from_batches(chosen.schema, chosen.to_batches(max_chunksize=2))


@pytest.fixture
def table(tmp_path):
    """Return an Iceberg table of two data files."""
    catalog = SqlCatalog("local", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri())
    catalog.create_namespace("features")
    rows = pa.table(
        {
            "store_id": ["1", "2", "1"],
            "event_time": pa.array(DAY[1:4], pa.timestamp("us", "UTC")),
            "created_time": pa.array(DAY[1:4], pa.timestamp("us", "UTC")),
            "ingest_id": ["a", "a", "b"],
            "units": [1.0, float("nan"), None],
        }
    )
    found = catalog.create_table("features.stock", rows.schema)
    found.append(rows)
    found.append(rows.slice(0, 1).set_column(4, "units", pa.array([5.0])))
    return found


def test_takes_as_a_table_does():
    """Row positions may be in any order, repeated and missing, across batches."""
    table = pa.table({"x": ["a", "b", "c", "d", "e"], "y": [0, 1, None, 3, 4]})
    places = pa.chunked_array([[4, None, 0], [4, 2, 1, 0]], pa.int64())
    for found, wanted in zip(
        take(Chopped(table), ["y", "x"], places), take(TableRows(table), ["y", "x"], places), strict=True
    ):
        assert found.to_pylist() == wanted.to_pylist()
    assert take(Chopped(table), ["x"], places)[0].to_pylist() == ["e", None, "a", "e", "c", "b", "a"]
    nothing = pa.chunked_array([[None, None]], pa.int64())
    assert take(Chopped(table), ["y"], nothing)[0].to_pylist() == [None, None]


def test_fails_when_the_rows_have_become_fewer():
    """A missing row is an error, not a null."""
    with pytest.raises(ValueError, match="the rows ended after 2, but place 7 was picked"):
        take(Chopped(pa.table({"x": [1, 2]})), ["x"], pa.chunked_array([[1, 7]]))


def test_places_go_on_from_batch_to_batch():
    """The first row is 0."""
    assert numbered(Chopped(pa.table({"x": list("abcde")})).read(["x"])).read_all()["place"].to_pylist() == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_a_scan_is_read_in_one_order_with_its_filter(table):
    """Filter columns need not be selected; every read gives the same rows at the same positions."""
    rows = IcebergRows(table.scan(row_filter="units >= 1 or units is nan", selected_fields=("store_id", "units")))
    assert rows.schema.field("store_id").type == pa.string()
    one, other = rows.read(["store_id"]).read_all(), rows.read(["units", "store_id"]).read_all()
    assert other.column_names == ["units", "store_id"]
    assert one["store_id"].to_pylist() == other["store_id"].to_pylist()
    assert sorted(one["store_id"].to_pylist()) == ["1", "1", "2"]


def test_a_plan_over_a_scan_equals_the_plan_over_its_table(table):
    """Reading by columns changes nothing."""
    entities = pa.table({"store_id": ["1", "1", "2", "3"], "at": [DAY[2], DAY[5], DAY[5], DAY[5]]})
    names = ("store_id", "event_time", "created_time", "ingest_id", "units")
    results = []
    scan = table.scan(selected_fields=names)
    for rows in (IcebergRows(scan), IcebergRows(scan).read(names).read_all()):
        stock = GroupRows(name="stock", entities=("store_id",), columns=("units",), ttl=None, rows=rows)
        results.append(str(point_in_time(entities, "at", [stock])["units"].to_pylist()))
    # two rows of store 1 have equal times and batch, so the value decides
    assert results == ["[5.0, None, nan, None]"] * 2


def test_an_old_snapshot_is_read_as_it_was(table):
    """A pinned scan excludes later files."""
    first = table.metadata.snapshots[0].snapshot_id
    rows = IcebergRows(table.scan(snapshot_id=first, selected_fields=("units",)))
    assert rows.read(["units"]).read_all().num_rows == 3


def test_rows_are_those_known_in_the_window(filled):
    """Rows created later, and rows of later or older events, are not read."""
    filled.client.ingest(filled.STOCK, filled.stock((4, 99, 12)))
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    rows = read_rows(
        table, snapshot, ("on_hand",), created_by=filled.day(11), event_by=filled.day(5), since=filled.day(3)
    )
    assert sorted(rows["on_hand"].to_pylist()) == [30, 40, 50]


def test_the_cut_is_on_the_created_time_and_inclusive(filled):
    """``as_of`` does not limit the event time."""
    filled.client.ingest(filled.STOCK, filled.stock((19, 99, 3)), idempotency_key="announced ahead")
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    rows = read_rows(table, snapshot, ("on_hand",), created_by=filled.day(3))
    assert sorted(rows["on_hand"].to_pylist()) == [0, 10, 20, 30, 99]


def test_rows_of_one_entity_are_found(filled):
    """By each part of the key, times too."""
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    where = same_entity({"store_id": "1", "event_time": filled.day(4)})
    assert read_rows(table, snapshot, ("on_hand",), where=where)["on_hand"].to_pylist() == [40]
    assert read_rows(table, snapshot, ("on_hand",), where=same_entity({"store_id": "2"})).num_rows == 0


FILES = {
    "data file": lambda table: [task.file.file_path for task in table.scan().plan_files()],
    "manifest": lambda table: [m.manifest_path for m in table.current_snapshot().manifests(table.io)],
    "manifest list": lambda table: [table.current_snapshot().manifest_list],
}


@pytest.fixture
def readings(filled):
    """Return the read functions by name, at a day whose rows are recent enough for ``latest``."""
    filled.set_day(10)
    entities, restated = filled.asked((1, "1")), filled.stock((1, 11, 1))
    one = pa.table({"store_id": ["1"]})
    return {
        "training_set": lambda: filled.client.training_set(entities, [filled.STOCK], name="s"),
        "latest": lambda: filled.client.latest(filled.STOCK),
        "latest by key": lambda: filled.client.latest(filled.STOCK, one),
        "correct": lambda: filled.client.correct(filled.STOCK, restated),
    }


@pytest.mark.parametrize("reading", ["training_set", "latest", "latest by key", "correct"])
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("is_missing", [True, False])
def test_a_file_that_is_missing_or_damaged_is_named(filled, readings, reading, kind, is_missing):
    """The error has the file, not only Arrow's words, and does not blame an erasure."""
    for place in FILES[kind](filled.client.table("stock_v1")):
        path = Path(place.removeprefix("file://"))
        if is_missing:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = rf"data file .*{path.suffix}" if kind == "data file" else rf"manifest .*{path.suffix}"

    with pytest.raises(MissingFileError if is_missing else DamagedFileError, match=rf"^{message} .*restore it"):
        readings[reading]()


def test_a_file_that_an_erasure_took_is_told_apart(filled, monkeypatch):
    """The build read the table before the erasure and the file after it."""
    scan_tasks = source.scan_tasks

    def erased_then(scan):
        tasks = scan_tasks(scan)
        monkeypatch.setattr(source, "scan_tasks", scan_tasks)
        filled.new_client().erase({"store_id": "1"}, reason="T-1", in_use=[], wait=timedelta(0))
        return tasks

    monkeypatch.setattr(source, "scan_tasks", erased_then)
    with pytest.raises(ErasedDuringBuildError, match=r"data file .*build it again"):
        filled.client.training_set(filled.asked((1, "1")), [filled.STOCK], name="s")
