"""Batches delivered as Parquet objects: ingested once, or rejected with every problem.

A batch is ``incoming/<table>/<idempotency key>.parquet`` in the store's incoming bucket. Its outcome is an event on the unit's bus;
a rejected batch also gets a report, ``rejected/<table>/<idempotency key>.json``. The object itself stays in place.

This module does not import duckdb, so a function with only pyarrow and pyiceberg can run it.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mlops_runtime.contracts.events import DetailType, EventDetail
from mlops_runtime.contracts.features import INCOMING, SUFFIX
from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.batch_delivery import Delivery, reject, unit_bus
from mlops_runtime.features.batch_ingest import KeyReusedError
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.group_json import read_declaration
from mlops_runtime.features.parquet_size import Bounds, ParquetFormError, ParquetSizeError, read_bounded
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.lambda_protocol import Message

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

_MEBIBYTE = 1 << 20
_DECODED = 3  # maximum ratio of decoded rows to decompressed pages: dictionaries store repeated strings once
_log = logging.getLogger("mlops.features")


class Outcome(StrEnum):
    """Outcome of a batch."""

    INGESTED = "INGESTED"
    DUPLICATE = "DUPLICATE"
    REJECTED = "REJECTED"
    JOB_STARTED = "JOB_STARTED"


class DeliveryError(ValueError):
    """A message does not name an object that could be a batch of this store; it goes to the dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a batch that the function ingests itself: bytes, both compressed and decompressed, and rows."""

    bytes: int
    rows: int


class _TooLargeError(Exception):
    """The batch exceeds the limits; the message has the sizes."""


class IncomingBatches:
    """Ingest the batches that are delivered to a bucket; ``large`` handles those above the limits; without it they are rejected."""

    def __init__(
        self,
        s3: "S3Client",
        *,
        bucket: str,
        groups: Sequence[FeatureGroup],
        limits: Limits,
        open_store: Callable[[datetime], FeatureStoreClient],
        publish: Callable[[EventDetail], None],
        large: Callable[[Delivery], None] | None = None,
    ) -> None:
        self._s3, self._bucket, self._limits, self._large = s3, bucket, limits, large
        self._groups = {group.table_name: group for group in groups}
        self._open_store, self._publish = open_store, publish

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        folder: Path,
        *,
        s3: "S3Client",
        events: "EventBridgeClient",
        glue: "GlueClient",
    ) -> "IncomingBatches":
        """Read the construct's settings: database, bucket, declaration, limits, unit and bus, and the Glue job if there is one."""
        bus, unit, job = environment["EVENT_BUS"], environment["UNIT"], environment.get("GLUE_JOB")
        announce = unit_bus(events, bus=bus, unit=unit)

        def open_store(now: datetime) -> FeatureStoreClient:
            return FeatureStoreClient.glue(database=environment["DATABASE"], now=lambda: now, announce=announce)

        return cls(
            s3,
            bucket=environment["INCOMING_BUCKET"],
            groups=read_declaration((folder / environment["DECLARATION"]).read_text()),
            limits=Limits(bytes=int(environment["MAXIMUM_MIB"]) * _MEBIBYTE, rows=int(environment["MAXIMUM_ROWS"])),
            open_store=open_store,
            publish=unit_bus(events, bus=bus, unit=unit, detail_type=DetailType.FEATURES_REJECTED),
            large=None if job is None else glue_job(glue, job),
        )

    def handle(self, message: Message) -> Outcome:
        """Ingest the object that an "Object Created" event names, with the message's time as the store's clock.

        A batch that fails its checks is finished: its report and its event have the reason. Any other error is raised, so that the
        queue delivers the message again, and finally moves it to the dead-letter queue.

        See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html

        Raises:
            DeliveryError: If the event does not name an object of this bucket below ``incoming/``.
        """
        path = self._named(message.body)
        answer = self._s3.get_object(Bucket=self._bucket, Key=path)
        delivery = Delivery(
            bucket=self._bucket,
            path=path,
            etag=answer["ETag"].strip('"'),
            bytes=answer["ContentLength"],
            now=message.sent,
        )
        try:
            group = self._group(delivery)
            outcome = self._ingest(delivery, group, self._read(delivery, answer["Body"].read))
        except _TooLargeError as error:
            outcome = self._hand_over(delivery, str(error))
        except BatchError as error:
            outcome = self._reject(delivery, str(error), error.problems)
        except KeyReusedError as error:
            outcome = self._reject(delivery, str(error), [str(error)])
        finally:
            answer["Body"].close()
        _log.info(json.dumps({"batch": delivery.uri, "outcome": outcome.value}))
        return outcome

    def _named(self, body: str) -> str:
        try:
            detail = json.loads(body)["detail"]
            bucket, path = str(detail["bucket"]["name"]), str(detail["object"]["key"])
        except (ValueError, KeyError, TypeError) as error:
            raise DeliveryError(f"the message does not name an object: {body[:200]!r}") from error
        if bucket != self._bucket or not path.startswith(INCOMING):
            raise DeliveryError(f"batches must be in s3://{self._bucket}/{INCOMING}, got s3://{bucket}/{path}")
        return path

    def _group(self, delivery: Delivery) -> FeatureGroup:
        problems = []
        group = self._groups.get(delivery.table)
        if group is None:
            problems.append(f"table must be one of {', '.join(sorted(self._groups))}, got {delivery.table!r}")
        if not delivery.path.endswith(SUFFIX):
            problems.append(
                f"a batch must be Parquet, which preserves types, with a name that ends in {SUFFIX}, got {delivery.path!r}"
            )
        elif not delivery.key:
            problems.append(f"the name must be an idempotency key before {SUFFIX}, got an empty one")
        if problems or group is None:
            raise BatchError(f"a batch is {INCOMING}<table>/<idempotency key>{SUFFIX}: {'; '.join(problems)}", problems)
        return group

    def _read(self, delivery: Delivery, read: Callable[[], bytes]) -> pa.Table:
        """Decode the rows, after object, footer and pages have passed the limits."""
        if delivery.bytes > self._limits.bytes:
            raise _TooLargeError(f"it has {delivery.bytes} bytes, the limit is {self._limits.bytes}")
        bounds = Bounds(rows=self._limits.rows, bytes=self._limits.bytes, decoded=_DECODED * self._limits.bytes)
        try:
            return read_bounded(pa.BufferReader(read()), bounds)
        except ParquetSizeError as error:
            raise _TooLargeError(str(error)) from error
        except ParquetFormError as error:
            raise BatchError(f"batch for {delivery.table}: {error}", [str(error)]) from error
        except (
            pa.ArrowException,
            OSError,
        ) as error:  # Arrow raises OSError for a broken Thrift footer; the bytes are in memory, so it is not an I/O error
            raise BatchError(f"batch for {delivery.table}: it cannot be read as Parquet: {error}") from error

    def _ingest(self, delivery: Delivery, group: FeatureGroup, rows: pa.Table) -> Outcome:
        store = self._open_store(delivery.now)
        done = store.ingest(group, rows, idempotency_key=delivery.key)
        return Outcome.DUPLICATE if done.duplicate else Outcome.INGESTED

    def _hand_over(self, delivery: Delivery, reason: str) -> Outcome:
        if self._large is None:
            fix = "split it, or give the feature store a Glue job: FeatureIngest(job=GlueIngestJob())"
            problem = f"batch for {delivery.table} is too large for the function: {reason}; {fix}"
            return self._reject(delivery, problem, [problem])
        self._large(delivery)
        return Outcome.JOB_STARTED

    def _reject(self, delivery: Delivery, reason: str, problems: Sequence[str]) -> Outcome:
        reject(delivery, reason, problems, s3=self._s3, publish=self._publish)
        return Outcome.REJECTED


def glue_job(glue: "GlueClient", name: str) -> Callable[[Delivery], None]:
    """Return a function that starts a run of a Glue job for a batch, for which the caller needs ``glue:StartJobRun``.

    ``StartJobRun`` fails when the job is at its maximum of concurrent runs or the account is throttled; the queue then retries. Two
    runs of one delivery have the effect of one, because they have the same idempotency key.

    See: https://docs.aws.amazon.com/glue/latest/webapi/API_StartJobRun.html
    """

    def start(delivery: Delivery) -> None:
        arguments = {
            "--batch_uri": delivery.uri,
            "--table": delivery.table,
            "--idempotency_key": delivery.key,
            "--now": delivery.now.astimezone(UTC).isoformat(),
        }
        run = glue.start_job_run(JobName=name, Arguments=arguments)
        _log.info(json.dumps({"batch": delivery.uri, "job": name, "run": run["JobRunId"]}))

    return start
