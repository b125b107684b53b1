"""Items in a file and in DynamoDB: equal results, and nothing left of deleted items."""

import sqlite3
from multiprocessing import get_context

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.online_items import (
    KEY,
    ORDER,
    ErasedMeanwhileError,
    Generation,
    OnlineStoreError,
    generation_key,
)
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
    """Covers bytes, strings of any kind, numbers in strings, lists, nulls, and a feature named B."""
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
    """Writing the same item again changes nothing; the count excludes both."""
    assert rows.put([item("a", "1"), item("b", "2")]) == 2
    assert rows.put([item("a", "1"), item("b", "1"), item("c", "0")]) == 1
    assert rows.put([item("a", "3")]) == 1
    found = rows.read(["a", "b", "c"], consistent=False)
    assert {key: each[ORDER]["S"] for key, each in found.items()} == {"a": "3", "b": "2", "c": "0"}


def test_thousands_of_keys_are_read(rows):
    """Reads in chunks, in parallel where that helps; missing keys are left out."""
    keys = [f"t_v1/[{number}]" for number in range(1200)]
    assert rows.put([item(key, "1") for key in keys[:1100]]) == 1100
    assert sorted(rows.read(keys, consistent=False)) == sorted(keys[:1100])
    assert sorted(rows.all_keys()) == sorted(keys[:1100])


def test_an_item_is_deleted_by_its_order(rows):
    """With an order only that version is deleted; without, any version."""
    rows.put([item("a", "2"), item("b", "2")])
    by_order = [rows.delete("a", order=each) for each in ("1", "2", "2")]
    assert by_order == [False, True, False]
    assert (rows.delete("b"), rows.delete("b")) == (True, False)
    rows.settle()
    assert list(rows.all_keys()) == []


def test_an_item_is_deleted_by_its_ingest(rows):
    """Only an item of an earlier or unknown ingest is deleted; an order may be given too."""
    rows.put([item("a", "1") | {INGEST_ID: {"S": "0007-x"}}, item("b", "1")])
    assert (rows.delete("a", before="0007"), rows.delete("b", before="0009")) == (False, True)
    assert (rows.delete("a", order="2", before="0008"), rows.delete("a", order="1", before="0008")) == (False, True)


def test_items_of_a_generation_that_ended_are_refused(rows):
    """Rejects all of them and accepts those of the next generation; older items stay, as without a generation."""
    first = Generation(key=generation_key("t_v1"), value=None)
    assert rows.put([item(f"t_v1/[{n}]", "1") for n in range(250)], first) == 250
    assert rows.put([item(f"t_v1/[{n}]", "2" if n % 2 else "1") for n in range(250)], first) == 125
    rows.replace(item(first.key, "g1"))
    with pytest.raises(
        ErasedMeanwhileError, match=r"an erasure rewrote t_v1 after the rows were read, .*; read them again"
    ):
        rows.put([item("t_v1/[0]", "3"), item("t_v1/[new]", "3")], first)
    assert rows.read(["t_v1/[new]"], consistent=True) == {}
    second = Generation.of("t_v1", rows.read([first.key], consistent=True)[first.key])
    assert rows.put([item("t_v1/[0]", "3"), item("t_v1/[new]", "3")], second) == 2
    rows.replace(item(first.key, "g0"))
    with pytest.raises(ErasedMeanwhileError):
        rows.put([item("t_v1/[0]", "4")], second)


def test_an_order_is_lowered_and_never_raised(rows):
    """The rest of the item is unchanged; a missing item stays missing."""
    rows.put([item("mark", "5", n={"S": "x"})])
    for order in ("7", "3"):
        rows.lower("mark", order)
    rows.lower("absent", "1")
    found = rows.read(["mark", "absent"], consistent=True)
    assert found == {"mark": item("mark", "3", n={"S": "x"})}
    assert rows.put([item("mark", "4")]) == 1


class Cancelling:
    """A DynamoDB client that cancels transactions for given reasons, and reports a number of conflicts."""

    class exceptions:  # noqa: N801 - boto3's name
        """The exceptions that it raises."""

        TransactionCanceledException = type("Cancelled", (ClientError,), {})
        TransactionConflictException = type("Conflict", (ClientError,), {})
        ConditionalCheckFailedException = type("Failed", (ClientError,), {})

    def __init__(self, *reasons, conflicts=0):
        self.reasons, self.conflicts, self.sizes = list(reasons), conflicts, []

    def transact_write_items(self, TransactItems):  # noqa: N803
        """Cancel for the next reasons."""
        self.sizes.append(len(TransactItems))
        if self.reasons:
            codes = self.reasons.pop(0)
            answer = {"CancellationReasons": [{"Code": code} for code in codes], "Error": {"Code": "Cancelled"}}
            raise self.exceptions.TransactionCanceledException(answer, "TransactWriteItems")

    def put_item(self, **_):
        """Report a conflict."""
        self.conflicts -= 1
        if self.conflicts >= 0:
            raise self.exceptions.TransactionConflictException({"Error": {"Code": "Conflict"}}, "PutItem")

    def delete_item(self, **_):
        """Report a conflict."""
        self.put_item()
        return {"Attributes": {}}


GENERATION = Generation(key=generation_key("t_v1"), value="g")


def test_transactions_that_meet_others_are_tried_again():
    """Retries without the items that are not newer, and fails after several attempts."""
    waited = []
    met = ["None", "TransactionConflict", "ConditionalCheckFailed"]
    client = Cancelling(met, ["TransactionConflict", "None"])
    rows = DynamoRows(client, "online", sleep=waited.append)
    assert rows.put([item("a", "1"), item("b", "1")], GENERATION) == 1
    assert (client.sizes, len(waited)) == ([3, 2, 2], 1)
    always = DynamoRows(Cancelling(*[["ThrottlingError", "None"]] * 20), "online", sleep=waited.append)
    with pytest.raises(
        OnlineStoreError, match=r"TransactWriteItems of table online failed: 8 times None, ThrottlingError"
    ):
        always.put([item("a", "1")], GENERATION)


def test_a_transaction_is_waited_for_by_erasures():
    """The items that it checks and puts are in use for a moment."""
    waited = []
    assert DynamoRows(Cancelling(conflicts=2), "online", sleep=waited.append).delete("a")
    DynamoRows(Cancelling(conflicts=1), "online", sleep=waited.append).replace(item("a", "1"))
    assert len(waited) == 3
    for call in ("delete", "replace"):
        with pytest.raises(OnlineStoreError, match="Conflict"):
            getattr(DynamoRows(Cancelling(conflicts=99), "online", sleep=waited.append), call)(
                "a" if call == "delete" else item("a", "1")
            )


def test_large_items_are_put_in_transactions_of_their_own():
    """A transaction has at most 4 MB."""
    client = Cancelling()
    large = [item(str(n), "1", n={"S": "x" * 1_200_000}) for n in range(5)]
    assert DynamoRows(client, "online", sleep=print).put(large, GENERATION) == 5
    assert client.sizes == [3, 3, 2]


def test_nothing_of_what_was_deleted_is_left_in_any_file(tmp_path):
    """Neither the pages of the file nor its log contain it."""
    rows = FileRows(tmp_path / "online.db")
    rows.put([item(f"t_v1/[{number}]", "1", name={"S": f"PLANTED-{number}."}) for number in range(500)])
    rows.delete("t_v1/[77]")
    rows.settle()
    for path in tmp_path.iterdir():
        assert b"PLANTED-77." not in path.read_bytes()
    assert any(b"PLANTED-78." in path.read_bytes() for path in tmp_path.iterdir())


def test_a_reader_that_keeps_the_log_is_named(tmp_path, monkeypatch):
    """The log would still contain deleted items, so the call fails."""
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
    """Rejects a text file."""
    (tmp_path / "online.db").write_text("not a database, but long enough to look at" * 30)
    with pytest.raises(OnlineStoreError, match=r"online store .*online\.db failed: file is not a database"):
        FileRows(tmp_path / "online.db")


def test_a_write_that_fails_writes_nothing(tmp_path):
    """All writes of a call are one transaction."""
    rows = FileRows(tmp_path / "online.db")
    with pytest.raises(TypeError, match="an item contains"):
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
    """Writers wait for each other, and the newest version remains."""
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
