"""Where the online store keeps its items: a DynamoDB table, or a SQLite file on a laptop. No pyarrow in here."""

import base64
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.features.online_items import KEY, ORDER, Item, OnlineStoreError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html: and at most 16 MB, the rest is unprocessed
_KEYS_A_READ = 100
_ATTEMPTS = 8
_FIRST_WAIT = 0.05  # seconds, doubled each time
_CALLS_AT_ONCE = 8
_BUSY_SECONDS = 60  # other processes' writes, which one waits for
_VARIABLES = 500  # of one statement


class DynamoRows:
    """Items in DynamoDB.

    Args:
        client: A boto3 client.
        table: Name of the table, whose partition key is the text ``entity``.
        sleep: Waits before unprocessed keys are asked for again. Default: the machine's.
    """

    def __init__(self, client: "DynamoDBClient", table: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._client, self._table, self._sleep = client, table, sleep

    def read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        """Return the items that there are, a hundred keys a call, several calls at once.

        Raises:
            OnlineStoreError: If DynamoDB fails, or does not answer for some keys.
        """
        parts = [keys[start : start + _KEYS_A_READ] for start in range(0, len(keys), _KEYS_A_READ)]
        if len(parts) == 1:
            return self._part(parts[0], consistent=consistent)
        found: dict[str, Item] = {}
        with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
            for part in pool.map(partial(self._part, consistent=consistent), parts):
                found |= part
        return found

    def put(self, items: Sequence[Item]) -> int:
        """Write items that are newer than what is there, one by one, several at once: a condition bars BatchWriteItem.

        Raises:
            OnlineStoreError: If DynamoDB does not take one; the others stay.
        """
        if len(items) == 1:
            return int(self._put(items[0]))
        with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
            return sum(pool.map(self._put, items))

    def delete(self, key: str, order: str | None = None) -> bool:
        """Delete an item, with ``order`` only if it has this one.

        Raises:
            OnlineStoreError: If DynamoDB fails.
        """
        condition: Any = {}
        if order is not None:
            condition = {
                "ConditionExpression": "#order = :order",
                "ExpressionAttributeNames": {"#order": ORDER},
                "ExpressionAttributeValues": {":order": {"S": order}},
            }
        with self._said("DeleteItem"):
            try:
                answer = self._client.delete_item(
                    TableName=self._table, Key={KEY: {"S": key}}, ReturnValues="ALL_OLD", **condition
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return "Attributes" in answer

    def all_keys(self) -> Iterator[str]:
        """Return the keys of all items.

        Raises:
            OnlineStoreError: If DynamoDB fails.
        """
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ProjectionExpression="#key",
            ExpressionAttributeNames={"#key": KEY},
            ConsistentRead=True,
        )
        with self._said("Scan"):
            for page in pages:
                yield from (item[KEY]["S"] for item in page["Items"])

    def settle(self) -> None:
        """Do nothing: DynamoDB has no file of ours; backups and streams keep deleted items as they say."""

    def _put(self, item: Item) -> bool:
        with self._said("PutItem"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(#order) OR #order < :order",
                    ExpressionAttributeNames={"#order": ORDER},
                    ExpressionAttributeValues={":order": item[ORDER]},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _part(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        found: dict[str, Item] = {}
        left: Any = {self._table: {"Keys": [{KEY: {"S": key}} for key in keys], "ConsistentRead": consistent}}
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_FIRST_WAIT * 2 ** (attempt - 1))
            with self._said("BatchGetItem"):
                answer = self._client.batch_get_item(RequestItems=left)
            found |= {item[KEY]["S"]: item for item in answer["Responses"].get(self._table, [])}
            left = answer.get("UnprocessedKeys")
            if not left:
                return found
        count = len(left[self._table]["Keys"])
        raise OnlineStoreError(
            f"table {self._table} did not answer for {count} keys after {_ATTEMPTS} attempts; ask for fewer, or later"
        )

    @contextmanager
    def _said(self, operation: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise OnlineStoreError(f"{operation} of table {self._table} failed: {error}") from error


class FileRows:
    """Items in a SQLite file, for a store on a laptop; several processes may use it at once.

    What is deleted is overwritten with zeros, and leaves the write-ahead log by ``settle``.
    See: https://www.sqlite.org/pragma.html#pragma_secure_delete

    Args:
        path: The file, made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        with self._said():
            self._file = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=wal", "synchronous=normal", "secure_delete=on"):
                self._file.execute(f"pragma {pragma}")
            self._file.execute(
                "create table if not exists online (entity text primary key, version text not null, item text not null) "
                "without rowid"
            )

    def read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:  # noqa: ARG002 - a file always is
        """Return the items that there are.

        Raises:
            OnlineStoreError: If the file cannot be read.
        """
        found: dict[str, Item] = {}
        with self._said():
            for start in range(0, len(keys), _VARIABLES):
                part = list(keys[start : start + _VARIABLES])
                marks = ",".join("?" * len(part))
                rows = self._file.execute(f"select entity, item from online where entity in ({marks})", part)  # noqa: S608
                found |= {key: json.loads(text, object_hook=_unpacked) for key, text in rows.fetchall()}
        return found

    def put(self, items: Sequence[Item]) -> int:
        """Write items that are newer than what is there, all in one transaction.

        Raises:
            OnlineStoreError: If the file cannot be written; nothing is then.
        """
        rows = [(i[KEY]["S"], i[ORDER]["S"], json.dumps(i, default=_packed, separators=(",", ":"))) for i in items]
        with self._said():
            self._file.execute("begin immediate")
            try:
                done = self._file.executemany(
                    "insert into online values (?, ?, ?) on conflict (entity) do update "
                    "set version = excluded.version, item = excluded.item where excluded.version > online.version",
                    rows,
                ).rowcount
            except BaseException:
                self._file.execute("rollback")
                raise
            self._file.execute("commit")
        return done

    def delete(self, key: str, order: str | None = None) -> bool:
        """Delete an item, with ``order`` only if it has this one.

        Raises:
            OnlineStoreError: If the file cannot be written.
        """
        with self._said():
            statement = "delete from online where entity = ? and (? is null or version = ?)"
            return bool(self._file.execute(statement, (key, order, order)).rowcount)

    def all_keys(self) -> Iterator[str]:
        """Return the keys of all items.

        Raises:
            OnlineStoreError: If the file cannot be read.
        """
        with self._said():
            found = self._file.execute("select entity from online").fetchall()
        return (key for (key,) in found)

    def settle(self) -> None:
        """Empty the write-ahead log, which holds pages as they were.

        Raises:
            OnlineStoreError: If another process keeps reading; what is deleted is gone from the file, not yet from its log.
        """
        with self._said():
            (is_busy, _, _) = self._file.execute("pragma wal_checkpoint(truncate)").fetchone()
        if is_busy:
            raise OnlineStoreError(
                f"another process reads {self._path}, so its log still holds what was deleted; end it and erase again"
            )

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise OnlineStoreError(f"online store {self._path} failed: {error}") from error


def _packed(value: object) -> str:
    """Return bytes as JSON has them."""
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"an item holds {value!r}")
    return base64.b64encode(value).decode()


def _unpacked(value: dict[str, Any]) -> dict[str, Any]:
    content = value.get("B")
    return {"B": base64.b64decode(content)} if isinstance(content, str) and len(value) == 1 else value
