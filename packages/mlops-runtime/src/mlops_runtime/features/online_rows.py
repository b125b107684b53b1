"""Storage of the online store's items: a DynamoDB table, or a local SQLite file. Does not import pyarrow."""

import base64
import contextlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.online_items import KEY, ORDER, ErasedMeanwhileError, Generation, Item, OnlineStoreError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html: and at most 16 MB, the rest is unprocessed
_KEYS_A_READ = 100
_ATTEMPTS = 8
_FIRST_WAIT = 0.05  # seconds, doubled each time
_CALLS_AT_ONCE = 8
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html: a hundred actions, 4 MB
_PUTS_A_TRANSACTION = 99
_BYTES_A_TRANSACTION = 3 << 20
_BUSY_SECONDS = 60  # longest wait for writes of other processes
_VARIABLES = 500  # of one statement


class DynamoRows:
    """Items in a DynamoDB table with the string partition key ``entity``."""

    def __init__(self, client: "DynamoDBClient", table: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._client, self._table, self._sleep = client, table, sleep

    def read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        """Return the existing items, with 100 keys per request and concurrent requests.

        Raises:
            OnlineStoreError: If DynamoDB fails, or leaves keys unprocessed.
        """
        parts = [keys[start : start + _KEYS_A_READ] for start in range(0, len(keys), _KEYS_A_READ)]
        if len(parts) == 1:
            return self._part(parts[0], consistent=consistent)
        found: dict[str, Item] = {}
        with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
            for part in pool.map(partial(self._part, consistent=consistent), parts):
                found |= part
        return found

    def put(self, items: Sequence[Item], generation: Generation | None = None) -> int:
        """Write items that are newer than the stored ones, in concurrent requests: BatchWriteItem does not support conditions.

        With ``generation``, in transactions that check it and cost twice the write units.

        Raises:
            OnlineStoreError: If DynamoDB rejects an item; the others stay.
        """
        if generation is not None:
            return sum(self._put_checked(part, generation) for part in _transactions(items))
        if len(items) == 1:
            return int(self._put(items[0]))
        with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
            return sum(pool.map(self._put, items))

    def replace(self, item: Item) -> None:
        """Write an item, replacing an existing one; retries while transactions check the item.

        Raises:
            OnlineStoreError: If DynamoDB rejects the item.
        """
        self._retried("PutItem", lambda: self._client.put_item(TableName=self._table, Item=item))

    def lower(self, key: str, order: str) -> None:
        """Lower the order of an item if its order is later; a missing item is ignored.

        Raises:
            OnlineStoreError: If DynamoDB rejects the update.
        """
        with (
            self._wrapped_errors("UpdateItem"),
            contextlib.suppress(self._client.exceptions.ConditionalCheckFailedException),
        ):
            self._client.update_item(
                TableName=self._table,
                Key={KEY: {"S": key}},
                UpdateExpression="SET #order = :order",
                ConditionExpression="#order > :order",
                ExpressionAttributeNames={"#order": ORDER},
                ExpressionAttributeValues={":order": {"S": order}},
            )

    def delete(self, key: str, *, order: str | None = None, before: str | None = None) -> bool:
        """Delete an item; with ``order`` only if it has this order, with ``before`` only if its ingest id sorts before.

        With any ``before``, an item without an ingest id is deleted: it may be of the erased rows.

        Raises:
            OnlineStoreError: If DynamoDB fails.
        """
        is_before = f"(attribute_not_exists(#{INGEST_ID}) OR #{INGEST_ID} < :{INGEST_ID})"
        wanted = {
            name: (clause, value)
            for name, clause, value in ((ORDER, f"#{ORDER} = :{ORDER}", order), (INGEST_ID, is_before, before))
            if value is not None
        }
        condition: Any = {}
        if wanted:
            condition = {
                "ConditionExpression": " AND ".join(clause for clause, _ in wanted.values()),
                "ExpressionAttributeNames": {f"#{name}": name for name in wanted},
                "ExpressionAttributeValues": {f":{name}": {"S": value} for name, (_, value) in wanted.items()},
            }

        def call() -> bool:
            try:
                answer = self._client.delete_item(
                    TableName=self._table, Key={KEY: {"S": key}}, ReturnValues="ALL_OLD", **condition
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
            return "Attributes" in answer

        return self._retried("DeleteItem", call)

    def all_keys(self) -> Iterator[str]:
        """Yield the keys of all items.

        Raises:
            OnlineStoreError: If DynamoDB fails.
        """
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ProjectionExpression="#key",
            ExpressionAttributeNames={"#key": KEY},
            ConsistentRead=True,
        )
        with self._wrapped_errors("Scan"):
            for page in pages:
                yield from (item[KEY]["S"] for item in page["Items"])

    def settle(self) -> None:
        """Do nothing: DynamoDB has no local file; backups and streams retain deleted items by their own settings."""

    def _put(self, item: Item) -> bool:
        with self._wrapped_errors("PutItem"):
            try:
                self._client.put_item(**self._newer(item))
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _put_checked(self, items: Sequence[Item], generation: Generation) -> int:
        """Write items in transactions that check the generation; return how many were newer than the stored ones."""
        left, attempt = list(items), 0
        while left:
            reasons = self._reasons([self._check(generation), *({"Put": self._newer(item)} for item in left)])
            if reasons is None:
                return len(left)
            if reasons[0] == "ConditionalCheckFailed":
                raise ErasedMeanwhileError(
                    f"an erasure rewrote {generation.key.partition('/')[2]} after the rows were read, so {len(left)} were not "
                    "written; read them again"
                )
            newer = [item for item, why in zip(left, reasons[1:], strict=True) if why != "ConditionalCheckFailed"]
            if len(newer) == len(left):  # conflict with another transaction, or throttling
                if attempt == _ATTEMPTS:
                    raise OnlineStoreError(
                        f"TransactWriteItems of table {self._table} failed: {attempt} times {', '.join(sorted(set(reasons)))}; "
                        "publish again with fewer concurrent writers"
                    )
                self._wait(attempt)
                attempt += 1
            left = newer
        return 0

    def _reasons(self, actions: Sequence[Any]) -> list[str] | None:
        """Return the cancellation reasons of a transaction by action; ``None`` if it succeeded."""
        with self._wrapped_errors("TransactWriteItems"):
            try:
                self._client.transact_write_items(TransactItems=actions)
            except self._client.exceptions.TransactionCanceledException as error:
                return [str(each.get("Code", "None")) for each in error.response["CancellationReasons"]]
        return None

    def _check(self, generation: Generation) -> dict[str, Any]:
        check: dict[str, Any] = {
            "TableName": self._table,
            "Key": {KEY: {"S": generation.key}},
            "ConditionExpression": "attribute_not_exists(#order)",
            "ExpressionAttributeNames": {"#order": ORDER},
        }
        if generation.value is not None:
            check |= {
                "ConditionExpression": "#order = :order",
                "ExpressionAttributeValues": {":order": {"S": generation.value}},
            }
        return {"ConditionCheck": check}

    def _newer(self, item: Item) -> dict[str, Any]:
        """Return the request to put an item unless the stored one has the same or a later order."""
        return {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(#order) OR #order < :order",
            "ExpressionAttributeNames": {"#order": ORDER},
            "ExpressionAttributeValues": {":order": item[ORDER]},
        }

    def _retried(self, operation: str, call: Callable[[], T]) -> T:
        """Return the result of a call, which is retried while transactions check its item."""
        for attempt in range(_ATTEMPTS - 1):
            with (
                self._wrapped_errors(operation),
                contextlib.suppress(self._client.exceptions.TransactionConflictException),
            ):
                return call()
            self._wait(attempt)
        with self._wrapped_errors(operation):
            return call()

    def _wait(self, attempt: int) -> None:
        """Wait for a random part of an exponential delay, so that conflicting writers do not retry simultaneously."""
        self._sleep(random.random() * _FIRST_WAIT * 2**attempt)  # noqa: S311 - no secret

    def _part(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        found: dict[str, Item] = {}
        left: Any = {self._table: {"Keys": [{KEY: {"S": key}} for key in keys], "ConsistentRead": consistent}}
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_FIRST_WAIT * 2 ** (attempt - 1))
            with self._wrapped_errors("BatchGetItem"):
                answer = self._client.batch_get_item(RequestItems=left)
            found |= {item[KEY]["S"]: item for item in answer["Responses"].get(self._table, [])}
            left = answer.get("UnprocessedKeys")
            if not left:
                return found
        count = len(left[self._table]["Keys"])
        raise OnlineStoreError(
            f"table {self._table} left {count} keys unprocessed after {_ATTEMPTS} attempts; request fewer, or later"
        )

    @contextlib.contextmanager
    def _wrapped_errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise OnlineStoreError(f"{operation} of table {self._table} failed: {error}") from error


class FileRows:
    """Items in a SQLite file, for a local store; several processes may use it concurrently.

    Deleted content is overwritten with zeros, and ``settle`` removes it from the write-ahead log.
    See: https://www.sqlite.org/pragma.html#pragma_secure_delete
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        with self._wrapped_errors():
            self._file = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=wal", "synchronous=normal", "secure_delete=on"):
                self._file.execute(f"pragma {pragma}")
            self._file.execute(
                "create table if not exists online (entity text primary key, version text not null, item text not null) "
                "without rowid"
            )

    def read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:  # noqa: ARG002 - a file always is
        """Return the existing items.

        Raises:
            OnlineStoreError: If the file cannot be read.
        """
        found: dict[str, Item] = {}
        with self._wrapped_errors():
            for start in range(0, len(keys), _VARIABLES):
                part = list(keys[start : start + _VARIABLES])
                marks = ",".join("?" * len(part))
                rows = self._file.execute(f"select entity, item from online where entity in ({marks})", part)  # noqa: S608
                found |= {key: json.loads(text, object_hook=_unpacked) for key, text in rows.fetchall()}
        return found

    def put(self, items: Sequence[Item], generation: Generation | None = None) -> int:
        """Write items that are newer than the stored ones, in one transaction that checks ``generation``.

        Raises:
            OnlineStoreError: If the file cannot be written; nothing is written.
        """
        rows = [_row(item) for item in items]
        with self._wrapped_errors():
            self._file.execute("begin immediate")
            try:
                if generation is not None:
                    self._check(generation)
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

    def replace(self, item: Item) -> None:
        """Write an item, replacing an existing one.

        Raises:
            OnlineStoreError: If the file cannot be written.
        """
        with self._wrapped_errors():
            self._file.execute("insert or replace into online values (?, ?, ?)", _row(item))

    def lower(self, key: str, order: str) -> None:
        """Lower the order of an item if its order is later; a missing item is ignored.

        Raises:
            OnlineStoreError: If the file cannot be written.
        """
        with self._wrapped_errors():
            self._file.execute(
                "update online set version = ?, item = json_set(item, ?, ?) where entity = ? and version > ?",
                (order, f'$."{ORDER}".S', order, key, order),
            )

    def delete(self, key: str, *, order: str | None = None, before: str | None = None) -> bool:
        """Delete an item; with ``order`` only if it has this order, with ``before`` only if its ingest id sorts before.

        With any ``before``, an item without an ingest id is deleted: it may be of the erased rows.

        Raises:
            OnlineStoreError: If the file cannot be written.
        """
        with self._wrapped_errors():
            statement = (
                "delete from online where entity = ? and (? is null or version = ?) "
                "and (? is null or coalesce(json_extract(item, ?), '') < ?)"
            )
            ingest = f'$."{INGEST_ID}".S'
            return bool(self._file.execute(statement, (key, order, order, before, ingest, before)).rowcount)

    def all_keys(self) -> Iterator[str]:
        """Return the keys of all items.

        Raises:
            OnlineStoreError: If the file cannot be read.
        """
        with self._wrapped_errors():
            found = self._file.execute("select entity from online").fetchall()
        return (key for (key,) in found)

    def settle(self) -> None:
        """Truncate the write-ahead log, which contains earlier versions of pages.

        Raises:
            OnlineStoreError: If another process is reading; deleted items are then removed from the file, but not from its log.
        """
        with self._wrapped_errors():
            (is_busy, _, _) = self._file.execute("pragma wal_checkpoint(truncate)").fetchone()
        if is_busy:
            raise OnlineStoreError(
                f"another process reads {self._path}, so its log still contains deleted items; end the process and erase again"
            )

    def _check(self, generation: Generation) -> None:
        row = self._file.execute("select version from online where entity = ?", (generation.key,)).fetchone()
        if (None if row is None else row[0]) != generation.value:
            raise ErasedMeanwhileError(
                f"an erasure rewrote {generation.key.partition('/')[2]} after the rows were read, so none of "
                "them was written; read them again"
            )

    @contextlib.contextmanager
    def _wrapped_errors(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise OnlineStoreError(f"online store {self._path} failed: {error}") from error


def _transactions(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield items in parts within the limits of a transaction."""
    part: list[Item] = []
    size = 0
    for item in items:
        more = len(json.dumps(item, default=_packed))
        if part and (len(part) == _PUTS_A_TRANSACTION or size + more > _BYTES_A_TRANSACTION):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part


def _row(item: Item) -> tuple[str, str, str]:
    """Return an item as a row of the file."""
    return item[KEY]["S"], item[ORDER]["S"], json.dumps(item, default=_packed, separators=(",", ":"))


def _packed(value: object) -> str:
    """Return bytes in base64 for JSON."""
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"an item contains {value!r}")
    return base64.b64encode(value).decode()


def _unpacked(value: dict[str, Any]) -> dict[str, Any]:
    content = value.get("B")
    return {"B": base64.b64decode(content)} if isinstance(content, str) and len(value) == 1 else value
