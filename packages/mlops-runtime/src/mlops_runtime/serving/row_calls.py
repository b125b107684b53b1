"""Send many rows to an endpoint, in calls of limited size that run in parallel; results are in row order."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving.endpoint_client import EndpointClient, EndpointError, PersonalDataError
from mlops_runtime.serving.named_calls import NamedCalls, name_call

MAX_ROWS = 2000
# the smallest limit on SageMaker request bodies, that of serverless endpoints
MAX_BYTES = 4_000_000
_BATCH = 50  # number of calls whose ids are written together, before the calls are made
_WORKERS = 4
_FRAME = len('{"instances": []}')


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """Result of one call."""

    first: int  # number of its first row, from 1
    rows: int  # number of rows
    ids: tuple[str, ...] = ()  # ids of its rows; empty without
    predictions: tuple[Any, ...] = ()  # one prediction per row; empty after an error
    status: str = "200"  # 200, the status of the model's server, or the code of AWS's error
    problem: str | None = None  # description of the error; None without one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    first: int
    rows: int
    body: bytes
    ids: tuple[str, ...]


class RowCalls:
    """Sends rows to one endpoint.

    Args:
        entry: Entry that the endpoint's stack published.
        client: Returns a boto3 client for a service name.
        now: The time in the cloud.
        workers: Number of concurrent calls.

    Raises:
        PersonalDataError: If the key of hashes is invalid.
    """

    def __init__(
        self,
        entry: EndpointEntry,
        *,
        client: Callable[[str], Any],
        now: Callable[[], datetime],
        workers: int = _WORKERS,
    ) -> None:
        self._entry, self._now, self._workers = entry, now, workers
        self._client = EndpointClient(entry, client=client)
        self._named = (
            None
            if entry.capture_bucket is None
            else NamedCalls(client("s3"), bucket=entry.capture_bucket, endpoint=entry.endpoint)
        )

    def check_ids(self, column: str) -> None:
        """Check that rows may be sent with ids of a column.

        Raises:
            EndpointError: If the endpoint has no data capture, so that labels could not be joined.
            PersonalDataError: If the column is personal: ids are sent and stored unchanged.
        """
        if self._named is None:
            raise EndpointError(
                f"endpoint {self._entry.endpoint!r} captures nothing, so rows with ids could not be joined with labels; send them "
                "without ids, or enable its data capture"
            )
        personal = self._entry.personal
        if personal is not None and column in (*personal.hashed, *personal.withheld):
            raise PersonalDataError(
                f"column {column!r} is personal, and ids are sent and stored unchanged; choose another column"
            )

    def send(
        self, rows: Iterable[Mapping[str, object]], ids: Iterable[str] | None = None, *, first: int = 1
    ) -> Iterator[AnsweredCall]:
        """Send rows and yield the result of each call, in row order.

        A call has at most 2,000 rows and 4 MB. If a call with ids has several rows, the ids are written beside the captures before
        the call is made, so that labels can be uploaded for them.

        Args:
            rows: Value by column.
            ids: Id of each row, checked by `mlops_runtime.labels.label_rows.check_ids`. Default: rows have no ids.
            first: Number of the first row.

        Raises:
            PersonalDataError: If personal fields cannot be identified in a row; it is not sent.
        """
        calls = self._calls(rows, ids, first)
        pool = ThreadPoolExecutor(self._workers)
        try:
            while batch := list(islice(calls, _BATCH)):
                yield from pool.map(self._answer, batch, self._name(batch, has_ids=ids is not None))
        finally:  # when interrupted, do not wait for calls that have not started
            pool.shutdown(cancel_futures=True)

    def _name(self, calls: Sequence[_Call], *, has_ids: bool) -> list[str | None]:
        """Return the inference id of each call, after writing the ids of its rows."""
        if self._named is None or not has_ids:
            return [None] * len(calls)
        at = self._now()
        named = [name_call(call.ids, at) for call in calls]
        self._named.put(named, at=at)
        return [call.inference_id for call in named]

    def _calls(self, rows: Iterable[Mapping[str, object]], ids: Iterable[str] | None, first: int) -> Iterator[_Call]:
        texts, names, size = list[str](), list[str](), _FRAME
        of_rows = None if ids is None else iter(ids)
        for row in rows:
            text = json.dumps(self._client.protect(row))
            if texts and (len(texts) == MAX_ROWS or size + len(text) + 2 > MAX_BYTES):
                yield _call(first, texts, names)
                first, texts, names, size = first + len(texts), [], [], _FRAME
            texts.append(text)  # ASCII: one byte per character
            size += len(text) + 2
            if of_rows is not None:
                names.append(next(of_rows))
        if texts:
            yield _call(first, texts, names)

    def _answer(self, call: _Call, inference_id: str | None) -> AnsweredCall:
        try:
            body = self._client.send_protected(call.body, "application/json", inference_id=inference_id)
            predictions = tuple(json.loads(body)["predictions"])
        except EndpointError as error:
            return _failed(call, error.status or "no answer", error.model_message)
        except ClientError as error:
            details = error.response.get("Error", {})
            return _failed(call, str(details.get("Code", "unknown")), " ".join(str(details.get("Message", "")).split()))
        except (ValueError, KeyError, TypeError):
            return _failed(call, "not an answer", 'the answer must be {"predictions": [...]}')
        if len(predictions) != call.rows:
            return _failed(call, "not an answer", f"the answer has {len(predictions)} predictions for {call.rows} rows")
        return AnsweredCall(first=call.first, rows=call.rows, ids=call.ids, predictions=predictions)


def _call(first: int, texts: Sequence[str], names: Sequence[str]) -> _Call:
    body = ('{"instances": [' + ", ".join(texts) + "]}").encode()
    return _Call(first=first, rows=len(texts), body=body, ids=tuple(names))


def _failed(call: _Call, status: str, problem: str) -> AnsweredCall:
    return AnsweredCall(first=call.first, rows=call.rows, ids=call.ids, status=status, problem=problem)
