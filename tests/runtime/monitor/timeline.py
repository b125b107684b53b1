"""A timeline of captures with S3, CloudWatch and the table in memory, and a run every few hours."""

import io
import json
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import LivePointer, LockRow
from mlops_runtime.monitor.counting.baseline import number_baseline
from mlops_runtime.monitor.scheduled_run import DecideSettings, count_object, decide_window
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window import HOUR

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START = datetime(2017, 8, 7, tzinfo=UTC)
TRAINED = np.random.default_rng(1).normal(10, 2, 2000).astype(np.float32)
GOLDEN = (5**0.5 - 1) / 2  # multiples modulo 1 are evenly spread
BASELINE = Baseline(
    features=(number_baseline("price", TRAINED),), rows=2000, training_set_id="set-1", created="2017-08-01T00:00:00Z"
)
LIVE = LivePointer(
    endpoint="e", config="c", model="m", model_package_arn="arn:p/1", model_sha256="s", artifact_uri="s3://a",
    baseline_uri="s3://artifacts/baseline.json", baseline_sha256=content_hash(BASELINE), evaluation_uri="s3://e",
    training_set_id="set-1", spec_sha256="x", spec_uri="s3://x", execution="arn:e", since="2017-08-01T00:00:00Z",
    artifact_sha256="a" * 64, container_sha256="c" * 64,
)  # fmt: skip


class Body(io.BytesIO):
    """The body of a GetObject response."""

    def iter_chunks(self, size: int) -> Any:
        """Yield the object in chunks."""
        while chunk := self.read(size):
            yield chunk


class MemoryS3:
    """Objects in a dictionary, listed in key order as by S3."""

    def __init__(self) -> None:
        """Start empty."""
        self.objects: dict[tuple[str, str], bytes] = {}
        self.modified: dict[tuple[str, str], datetime] = {}
        self.puts = 0

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 - S3's names
        """Store an object."""
        self.puts += 1
        self.objects[Bucket, Key] = bytes(Body)
        self.modified[Bucket, Key] = START + timedelta(seconds=self.puts)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """Return an object."""
        if (Bucket, Key) not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject")
        return {"Body": Body(self.objects[Bucket, Key])}

    def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int) -> Any:  # noqa: N803
        """List the first objects."""
        [page] = self.paginate(Bucket=Bucket, Prefix=Prefix)
        return {"Contents": page["Contents"][:MaxKeys]}

    def get_paginator(self, _: str) -> Any:
        """Return the paginator."""
        return self

    def paginate(self, *, Bucket: str, Prefix: str, StartAfter: str = "") -> Any:  # noqa: N803
        """Yield one page, keys sorted."""
        keys = sorted(
            key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix) and key > StartAfter
        )
        yield {
            "Contents": [
                {
                    "Key": key,
                    "Size": len(self.objects[Bucket, key]),
                    "LastModified": self.modified.get((Bucket, key), START),
                }
                for key in keys
            ]
        }


class MemoryCloudWatch:
    """Invocation counts by time, without latency."""

    def __init__(self) -> None:
        """Start without calls."""
        self.calls: dict[datetime, int] = {}

    def get_paginator(self, _: str) -> Any:
        """Return the paginator."""
        return self

    def paginate(self, *, MetricDataQueries: Any, StartTime: datetime, EndTime: datetime) -> Any:  # noqa: N803
        """Yield one page."""
        found = {time: float(count) for time, count in self.calls.items() if StartTime <= time < EndTime}
        yield {
            "MetricDataResults": [
                {"Id": q["Id"], "Timestamps": list(found), "Values": list(found.values())}
                if q["MetricStat"]["Metric"]["MetricName"] == "Invocations"
                else {"Id": q["Id"], "Timestamps": [], "Values": []}
                for q in MetricDataQueries
            ]
        }


class MemoryTable:
    """A table with one row."""

    def __init__(self) -> None:
        """Start with a live model."""
        self.live = LIVE

        self.row = LockRow(endpoint="e")

    def read(self) -> LockRow:
        """Return the row."""
        return replace(self.row, live=canonical_json(self.live).decode())


class MemoryBus:
    """Records events."""

    def __init__(self) -> None:
        """Start without events."""
        self.received_events: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Record the events."""
        self.received_events += [json.loads(entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{}]}


@dataclass(frozen=True)
class Captured:
    """A capture object.

    ``hour`` is that of its calls, ``arrives`` the delay of the object in hours, ``waits`` the further hours until it is
    counted
    (None: never), ``copies`` the number of deliveries, and ``skew`` the error of the instance's clock in minutes.
    """

    hour: int
    rows: int = 10
    arrives: int = 0
    waits: int | None = 0
    copies: int = 1
    skew: int = 0


class Timeline:
    """An endpoint, its captures and its monitor; hours count from the start."""

    def __init__(
        self, *, window: int = 24, every: int = 6, spec: MonitorSpec | None = None, s3: "S3Client | None" = None
    ) -> None:
        """Start with a live model and no captures; in memory unless a client is given."""
        self.s3: Any = MemoryS3() if s3 is None else s3
        self.cloudwatch, self.table, self.bus = MemoryCloudWatch(), MemoryTable(), MemoryBus()
        self.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(BASELINE))
        self.store: Any = MonitorStore(self.s3, endpoint="e", artifacts="artifacts", captures="captures")
        self.settings = DecideSettings(
            endpoint="e",
            variant="v",
            unit="u",
            bus="b",
            window_hours=window,
            period_hours=every,
            spec=spec or MonitorSpec(),
        )
        self.failed: list[str] = []

    def call(self, hour: int, count: int = 1, *, minute: int = 10) -> None:
        """Count calls in CloudWatch, captured or not."""
        time = START + hour * HOUR
        self.cloudwatch.calls[time.replace(minute=minute)] = count

    def land(self, name: str, captured: Captured) -> None:
        """Store an object."""
        time = START + captured.hour * HOUR
        stamped = (time + captured.skew * HOUR / 60).strftime("%Y-%m-%dT%H:%M:%SZ")
        # each object has its own, evenly spread values, so that no draw looks like drift or repeats another
        places = zlib.crc32(name.encode()) / 2**32 + GOLDEN * np.arange(captured.rows)
        values = np.quantile(TRAINED, places % 1)
        side = {"observedContentType": "text/csv", "mode": "INPUT", "encoding": "CSV"}
        lines = [
            json.dumps(
                {
                    "captureData": {"endpointInput": {**side, "data": f"{value:.4f}"}},
                    "eventMetadata": {"eventId": f"{name}-{i}", "inferenceTime": stamped},
                }
            )
            for i, value in enumerate(values)
        ]
        self.s3.put_object(Bucket="captures", Key=self.key(name, captured), Body="\n".join(lines).encode())

    def count(self, name: str, captured: Captured) -> None:
        """Deliver the object's event like SQS; errors are recorded."""
        detail = {"bucket": {"name": "captures"}, "object": {"key": self.key(name, captured)}}
        try:
            count_object(json.dumps({"detail": detail}), self.store, self.table)  # type: ignore[arg-type] # in memory
        except Exception:
            self.failed.append(name)

    def key(self, name: str, captured: Captured) -> str:
        """Return the capture key, below the hour of its calls."""
        return f"capture/e/v/{START + captured.hour * HOUR:%Y/%m/%d/%H}/{name}.jsonl"

    def run(self, at: int, **changes: Any) -> MonitorReport:
        """Run the monitor some minutes after an hour."""
        now = (START + at * HOUR).replace(minute=15)
        return decide_window(
            now,
            self.settings,
            store=self.store,
            table=self.table,
            cloudwatch=self.cloudwatch,
            events=self.bus,  # type: ignore[arg-type] # in memory
            **changes,
        )

    def replace(self, **changes: Any) -> None:
        """Replace settings."""
        self.settings = replace(self.settings, **changes)
