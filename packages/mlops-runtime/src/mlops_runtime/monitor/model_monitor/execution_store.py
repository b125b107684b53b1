"""Read the files of Model Monitor's executions: ``<prefix>/<monitor>/<endpoint>/<schedule>/yyyy/mm/dd/hh/``."""

from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from mlops_runtime.monitor.model_monitor.executions import (
    ANALYSIS_FILE,
    STATISTICS_FILE,
    VIOLATION_FILES,
    ExecutionFiles,
    MonitorName,
    schedule_name,
)
from mlops_runtime.monitor.window import HOUR, Window, hour_of, stamp

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ = (STATISTICS_FILE, *VIOLATION_FILES, ANALYSIS_FILE)


class ModelMonitorReports:
    """One endpoint's executions in S3.

    Args:
        s3: Client.
        bucket: Bucket of the definitions' outputs.
        endpoint: Name of the endpoint.
        monitors: Scheduled monitors.
        prefix: Key prefix of all outputs, without a trailing slash. Default: ``model_monitor_prefix(endpoint)``.
    """

    def __init__(
        self,
        s3: "S3Client",
        *,
        bucket: str,
        endpoint: str,
        monitors: Sequence[MonitorName],
        prefix: str | None = None,
    ) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._monitors = tuple(monitors)
        self._prefix = model_monitor_prefix(endpoint) if prefix is None else prefix

    def of(self, window: Window) -> Iterator[ExecutionFiles]:
        """Yield the executions that analyzed hours of a window, each once.

        The key of an execution has the hour at which it was due; it analyzed the captures before that hour.

        Args:
            window: Whole hours; executions due after its start and up to its end are read.
        """
        for monitor in self._monitors:
            found: dict[str, dict[str, bytes]] = {}
            for hour, key in self._keys(monitor, window):
                name = key.rsplit("/", 1)[-1]
                if name in _READ:
                    body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
                    found.setdefault(hour, {})[name] = body
                else:  # a container may write other files only; the execution still counts
                    found.setdefault(hour, {})
            for at, files in found.items():
                yield ExecutionFiles(monitor=monitor, at=at, files=files)

    def _keys(self, monitor: MonitorName, window: Window) -> Iterator[tuple[str, str]]:
        """Yield the hour and key of each object of a window; one listing a day."""
        folder = f"{self._prefix}/{monitor}/{self._endpoint}/{schedule_name(self._endpoint, monitor)}/"
        pages = self._s3.get_paginator("list_objects_v2")
        first, last = window.start + HOUR, window.end
        day = first.astimezone(UTC).replace(hour=0)
        while day <= last:
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{folder}{day:%Y/%m/%d}/"):
                for entry in page.get("Contents", []):
                    due = hour_of(entry["Key"], folder)
                    if due is not None and first <= due <= last:
                        yield stamp(due), entry["Key"]
            day += timedelta(days=1)


def model_monitor_prefix(endpoint: str) -> str:
    """Return the key prefix of an endpoint's executions in the unit's bucket of artifacts.

    Example:
        >>> model_monitor_prefix("demand-forecast")
        'monitor/demand-forecast/model_monitor'
    """
    return f"monitor/{endpoint}/model_monitor"
