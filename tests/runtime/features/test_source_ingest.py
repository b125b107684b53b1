"""Ingests of many files, each once, and entity rows from files."""

import json
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pytest
from moto import mock_aws
from tests.runtime.features.test_row_files import parquet

from mlops_runtime.features import row_files, source_ingest
from mlops_runtime.features.access_errors import SourceError
from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.row_files import RowFiles
from mlops_runtime.features.source_ingest import IngestedSource
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_request import TrainingSetError


@pytest.fixture
def lake(shop, monkeypatch):
    """Return the shop with an in-process S3 bucket whose history has two files of stock."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="history")
        lake = SimpleNamespace(
            s3=s3,
            put=lambda key, body: s3.put_object(Bucket="history", Key=key, Body=body),
            files=lambda prefix="stock/": RowFiles(f"s3://history/{prefix}", s3=s3),
            **vars(shop),
        )
        for part in range(2):
            rows = [(n, n * 10, n + 0.5) for n in range(part * 4, part * 4 + 4)]
            lake.put(f"stock/{part}.parquet", parquet(shop.stock(*rows)))
        yield lake


def on_hand(shop) -> list[int]:
    """Return the values of the table."""
    return sorted(shop.new_client().table("stock_v1").scan().to_arrow()["on_hand"].to_pylist())


def test_a_prefix_is_ingested_file_by_file(lake):
    """Rows keep the times at which they became known, so that training sets find them."""
    done = lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    assert done == IngestedSource(table="stock_v1", files=2, pieces=2, rows=8)
    built = lake.client.training_set(lake.asked((4.7, "1"), (0.2, "1")), [lake.STOCK], name="s")
    assert built.rows["stock__on_hand"].to_pylist() == [40, None]


def test_a_repeat_reads_no_file_again(lake, monkeypatch):
    """Ingested files are recognised by name and version; a rewritten file is read, and its rows are duplicates."""
    lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    again = lake.new_client().ingest_from(lake.STOCK, lake.files(), backfill=True)
    assert again == IngestedSource(table="stock_v1", files=2, known=2)
    rows = lake.stock(*((n, n * 10, n + 0.5) for n in range(4)))
    lake.put("stock/0.parquet", parquet(rows, compression="gzip"))
    lake.put("stock/2.csv.parquet", parquet(lake.stock((9, 90, 9))))
    more = lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    assert more == IngestedSource(table="stock_v1", files=3, known=1, pieces=2, duplicates=1, rows=1)
    assert on_hand(lake) == [0, 10, 20, 30, 40, 50, 60, 70, 90]


@pytest.mark.parametrize("step", ["before", "after", "noted"])
def test_nothing_is_ingested_twice_after_a_crash(lake, monkeypatch, step):
    """Killed before and after a commit, and after the file was recorded, at each piece of each file."""
    monkeypatch.setattr(row_files, "_PIECE_BYTES", 1 << 6)
    noted, left = source_ingest.note, [0]

    def crash_in_time(*_):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    class Client(FeatureStoreClient):
        def ingest(self, group, batch, **options):
            crash_in_time() if step == "before" else None
            done = super().ingest(group, batch, **options)
            crash_in_time() if step == "after" else None
            return done

    crashes = 0
    for crash in range(1, 9):
        left[0] = 1 if step == "noted" else crash  # a recorded file is not read again
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            if step == "noted":
                patch.setattr(source_ingest, "note", lambda *given: (noted(*given), crash_in_time()))
            Client.local(lake.path, now=lambda: lake.day(20)).ingest_from(lake.STOCK, lake.files(), backfill=True)
        crashes += left[0] <= 0
    lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    assert crashes > 1
    assert on_hand(lake) == [0, 10, 20, 30, 40, 50, 60, 70]


def test_a_note_that_is_torn_is_written_again(lake):
    """Its file is read again, and the rows are duplicates."""
    lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    torn, _ = sorted((lake.path / "tables/ledger").rglob("*.json"))
    torn.write_bytes(b"")

    again = lake.new_client().ingest_from(lake.STOCK, lake.files(), backfill=True)

    assert (again.known, again.duplicates, len(on_hand(lake))) == (1, 1, 8)
    assert json.loads(torn.read_text())["key_hash"] == torn.stem
    assert lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True).known == 2


def test_text_files_get_the_types_of_the_group(lake):
    """Keys are strings if the group declares them so; rows without created_time become known at the ingest."""
    lake.put("csv/a.csv", b"store_id,event_time,on_hand\n007,2017-01-02T00:00:00Z,\n")
    lake.put("csv/b.csv", b"store_id,event_time,on_hand\n007,2017-01-03T00:00:00Z,5\n")
    assert lake.client.ingest_from(lake.STOCK, lake.files("csv/")).rows == 2
    rows = lake.client.table("stock_v1").scan().to_arrow().sort_by("event_time").select(["store_id", "on_hand"])
    assert rows.to_pylist() == [{"store_id": "007", "on_hand": None}, {"store_id": "007", "on_hand": 5}]
    assert lake.client.ingest_from(lake.STOCK, lake.files("csv/")).known == 2


def test_times_of_text_files_are_as_those_of_a_frame(lake):
    """Covers a group with a zone and finer times; other groups reject them with the fix."""
    declared = {name: getattr(lake.STOCK, name) for name in lake.STOCK.__slots__}
    zoned = FeatureGroup(**declared | {"name": "zoned", "time_zone": "America/New_York", "finer_times": "truncate"})
    lake.put("naive/a.csv", b"store_id,event_time,on_hand\n7,2017-01-02T00:00:00.000000001,NA\n")
    with pytest.raises(BatchError, match="without a time zone; set one, for example UTC, or declare time_zone="):
        lake.client.ingest_from(lake.STOCK, lake.files("naive/"))
    lake.client.ingest_from(zoned, lake.files("naive/"))
    (row,) = lake.client.table("zoned_v1").scan().to_arrow().to_pylist()
    assert (row["event_time"], row["on_hand"]) == (lake.day(1) + timedelta(hours=5), None)


def test_json_lines_without_created_time_are_known_from_now_on(lake):
    """As for CSV and Parquet; keys from folder names apply."""
    lake.put("json/store_id=7/a.jsonl", b'{"event_time": "2017-01-02T00:00:00Z", "on_hand": 3}\n')
    assert lake.client.ingest_from(lake.STOCK, lake.files("json/")).rows == 1
    (row,) = lake.client.table("stock_v1").scan().to_arrow().to_pylist()
    assert (row["store_id"], row["on_hand"], row["created_time"]) == ("7", 3, lake.day(20))


def test_every_problem_is_named_before_anything_is_written(lake):
    """Reports missing and undeclared columns of all files; the table is not created."""
    lake.put("stock/2.parquet", parquet(lake.stock((9, 9, 9)).drop_columns(["event_time", "created_time"])))
    lake.put("stock/3.parquet", parquet(lake.stock((9, 9, 9)).append_column("color", pa.array(["red"]))))
    with pytest.raises(SourceError) as caught:
        lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    assert caught.value.problems == (
        "column 'event_time' is missing (2.parquet)",
        "column 'created_time' is missing; give when each row could first be known (2.parquet)",
        "column 'color' is not declared, allowed are store_id, event_time, created_time, on_hand (3.parquet)",
    )
    assert lake.client.table_names() == ()


def test_a_row_that_does_not_fit_is_named_with_its_file(lake):
    """Earlier rows stay, and are not written again once the file is fixed."""
    lake.put("stock/1.parquet", parquet(lake.stock((25, 1, 25))))
    with pytest.raises(
        BatchError, match=r"s3://history/stock/1\.parquet, rows 1 to 1: .*; 1 pieces before it are in the table"
    ):
        lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    lake.put("stock/1.parquet", parquet(lake.stock((5, 1, 5))))
    done = lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    assert (done.known, done.rows, on_hand(lake)) == (1, 1, [0, 1, 10, 20, 30])


def test_what_is_no_source_is_refused(lake):
    """The error names valid sources."""
    with pytest.raises(
        SourceError, match=r"a source of rows is required, RowFiles\(...\) or AthenaQuery\(...\), got 's3://"
    ):
        lake.client.ingest_from(lake.STOCK, "s3://history/stock/")


def test_entity_rows_of_files(lake):
    """Files are read in order of their names, with the types of the groups' keys for text files."""
    lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    lake.put("asked/a.csv", b"store_id,event_timestamp\n1,2017-01-05T16:00:00Z\n007,2017-01-05T16:00:00Z\n")
    lake.put("asked/b.csv", b"store_id,event_timestamp\n1,2017-01-01T16:00:00Z\n")
    built = lake.client.training_set(lake.files("asked/"), [lake.STOCK], name="s")
    assert built.rows["store_id"].to_pylist() == ["1", "007", "1"]
    assert built.rows["stock__on_hand"].to_pylist() == [40, None, 0]
    same = pa.table({"store_id": ["1", "007", "1"], "event_timestamp": [lake.day(4 + 2 / 3)] * 2 + [lake.day(2 / 3)]})
    times = pa.array([lake.day(4) + timedelta(hours=16)] * 2 + [lake.day(0) + timedelta(hours=16)])
    same = same.set_column(1, "event_timestamp", times)
    assert lake.client.training_set(same, {"stock": ["on_hand"]}, name="s").id == built.id


@pytest.mark.parametrize("fraction", ["", ".5"])
def test_times_of_entity_rows_in_json_keep_their_zone(lake, fraction):
    """With or without fractions; the given zone applies to times without one."""
    lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    for name, time in (("zone", f"2017-01-05T16:00:00{fraction}Z"), ("naive", f"2017-01-05T11:00:00{fraction}")):
        lake.put(f"{name}/a.jsonl", f'{{"store_id": "1", "event_timestamp": "{time}"}}\n'.encode())
    built = [
        lake.client.training_set(lake.files(f"{name}/"), [lake.STOCK], name="s", time_zone="America/New_York")
        for name in ("zone", "naive")
    ]
    time = lake.day(4) + timedelta(hours=16, seconds=float(fraction or 0))
    assert [each.rows["event_timestamp"].to_pylist() for each in built] == [[time], [time]]


def test_entity_rows_that_do_not_go_together_are_refused(lake):
    """Rejects differing columns, more bytes than memory, and missing features."""
    lake.client.ingest_from(lake.STOCK, lake.files(), backfill=True)
    lake.put("asked/a.parquet", parquet(lake.asked((1, "1"))))
    with pytest.raises(SourceError, match="have more than the 10 bytes of memory=; select only the required columns"):
        lake.client.training_set(lake.files("asked/"), [lake.STOCK], name="s", memory=10)
    lake.put("asked/b.parquet", parquet(lake.asked((1, "1")).append_column("units", pa.array([1]))))
    with pytest.raises(SourceError, match=r"column 'units' is missing, but other files have it \(a.parquet\)"):
        lake.client.training_set(lake.files("asked/"), [lake.STOCK], name="s")
    with pytest.raises(TrainingSetError, match="there is no feature table of group 'shelf', there are stock_v1"):
        lake.client.training_set(lake.files("asked/"), {"shelf": ["on_hand"]}, name="s")


def test_folders_of_hive_are_columns_of_the_group(lake):
    """A folder of the key is its column; undeclared ones are ignored. For entity rows both are columns."""
    rows = lake.stock((1, 7, 1.5))
    lake.put("by-store/year=2017/store_id=9/x.parquet", parquet(rows.drop_columns(["store_id"])))
    lake.client.ingest_from(lake.STOCK, lake.files("by-store/"), backfill=True)
    assert lake.new_client().table("stock_v1").scan().to_arrow()["store_id"].to_pylist() == ["9"]

    lake.put("asked/split=train/store_id=9/x.parquet", parquet(lake.asked((1.7, "9")).drop_columns(["store_id"])))
    built = lake.client.training_set(lake.files("asked/"), [lake.STOCK], name="s")
    assert built.rows.select(["store_id", "split", "stock__on_hand"]).to_pylist() == [
        {"store_id": "9", "split": "train", "stock__on_hand": 7}
    ]
