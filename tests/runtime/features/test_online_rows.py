"""Items in a file and in DynamoDB: the same answers, and nothing left of what was deleted."""

import sqlite3
from multiprocessing import get_context

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.features.online_items import KEY, ORDER, OnlineStoreError
from mlops_runtime.features.online_rows import DynamoRows, FileRows

TABLE = {
    "TableName": "online",
    "AttributeDefinitions": [{"AttributeName": "entity", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "entity", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def item(key, order, **row):
    """Return an item."""
    return {KEY: {"S": key}, ORDER: {"S": order}, "row": {"M": row}}


@pytest.fixture(params=["file", "dynamodb"])
def rows(request, tmp_path):
    """Return empty items of each kind."""
    if request.param == "file":
        yield FileRows(tmp_path / "online.db")
        return
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-central-1")
        client.create_table(**TABLE)
        yield DynamoRows(client, "online")


def test_items_come_back_as_they_were_written(rows):
    """Bytes, texts of any kind, numbers as texts, lists, nulls, and a feature that is called B."""
    given = item(
        't_v1/["ä,\\"1"]',
        "1",
        B={"B": b"\x00\xff"},
        n={"N": "-12345678901234567890.5"},
        s={"S": "\u2028 'B'"},
        l={"L": [{"B": b""}, {"NULL": True}, {"BOOL": False}]},
    )
    assert rows.put([given]) == 1
    assert rows.read([given[KEY]["S"], "t_v1/[2]"], consistent=True) == {given[KEY]["S"]: given}


def test_an_older_item_never_replaces_a_newer_one(rows):
    """And the same one again changes nothing; both are told by the count."""
    assert rows.put([item("a", "1"), item("b", "2")]) == 2
    assert rows.put([item("a", "1"), item("b", "1"), item("c", "0")]) == 1
    assert rows.put([item("a", "3")]) == 1
    found = rows.read(["a", "b", "c"], consistent=False)
    assert {key: each[ORDER]["S"] for key, each in found.items()} == {"a": "3", "b": "2", "c": "0"}


def test_thousands_of_keys_are_read(rows):
    """In parts, in parallel where that helps; those that are not there are left out."""
    keys = [f"t_v1/[{number}]" for number in range(1200)]
    assert rows.put([item(key, "1") for key in keys[:1100]]) == 1100
    assert sorted(rows.read(keys, consistent=False)) == sorted(keys[:1100])
    assert sorted(rows.all_keys()) == sorted(keys[:1100])


def test_an_item_is_deleted_by_its_order(rows):
    """With an order only that one goes; without, whatever there is."""
    rows.put([item("a", "2"), item("b", "2")])
    assert (rows.delete("a", "1"), rows.delete("a", "2"), rows.delete("a", "2")) == (False, True, False)
    assert (rows.delete("b"), rows.delete("b")) == (True, False)
    rows.settle()
    assert list(rows.all_keys()) == []


def test_nothing_of_what_was_deleted_is_left_in_any_file(tmp_path):
    """Neither in pages of the file nor in its log."""
    rows = FileRows(tmp_path / "online.db")
    rows.put([item(f"t_v1/[{number}]", "1", name={"S": f"PLANTED-{number}."}) for number in range(500)])
    rows.delete("t_v1/[77]")
    rows.settle()
    for path in tmp_path.iterdir():
        assert b"PLANTED-77." not in path.read_bytes()
    assert any(b"PLANTED-78." in path.read_bytes() for path in tmp_path.iterdir())


def test_a_reader_that_keeps_the_log_is_named(tmp_path, monkeypatch):
    """What was deleted is then still in the log, and that is no success."""
    monkeypatch.setattr("mlops_runtime.features.online_rows._BUSY_SECONDS", 0)
    rows = FileRows(tmp_path / "online.db")
    rows.put([item("a", "1")])
    reader = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    reader.execute("begin")
    reader.execute("select * from online").fetchall()
    rows.delete("a")
    with pytest.raises(OnlineStoreError, match=r"another process reads .*online\.db.*erase again"):
        rows.settle()
    reader.execute("commit")
    rows.settle()


def test_another_file_is_named(tmp_path):
    """A text file is no store."""
    (tmp_path / "online.db").write_text("not a database, but long enough to look at" * 30)
    with pytest.raises(OnlineStoreError, match=r"online store .*online\.db failed: file is not a database"):
        FileRows(tmp_path / "online.db")


def test_a_write_that_fails_writes_nothing(tmp_path):
    """All of one call is one transaction."""
    rows = FileRows(tmp_path / "online.db")
    with pytest.raises(TypeError, match="an item holds"):
        rows.put([item("a", "1"), item("b", "1", n={"N": object()})])
    with pytest.raises(OnlineStoreError, match="failed"):
        rows.put([item("a", "1"), item("b", {"not": "text"})])
    assert list(rows.all_keys()) == []
    assert rows.put([item("a", "1")]) == 1


def _write(path, first):
    rows = FileRows(path)
    for number in range(first, first + 50):
        rows.put([item("shared", f"{number:09d}"), item(f"own-{number}", "1")])


def test_processes_write_one_file_at_once(tmp_path):
    """Each waits for the other, and the newest of all is there at the end."""
    context = get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path / "online.db", first)) for first in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    rows = FileRows(tmp_path / "online.db")
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert rows.read(["shared"], consistent=True)["shared"][ORDER]["S"] == f"{149:09d}"
    assert len(list(rows.all_keys())) == 101
