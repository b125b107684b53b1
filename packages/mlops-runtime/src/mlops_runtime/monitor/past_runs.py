"""Earlier runs of a monitor: their keys are listed once, and each report is read once, when first requested."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.report_keys import REPORT, report_folder, report_keys
from mlops_runtime.monitor.window import Inventory

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OBJECTS = "objects.json"
# look-back periods for the previous run: days for an hourly monitor, two years for a yearly one
_DAYS = (10, 100, 800)
_GONE = frozenset({"NoSuchKey", "404", "NoSuchBucket", "AccessDenied"})


class PastRuns:
    """An endpoint's runs whose windows ended before a time.

    Args:
        s3: Client.
        bucket: Bucket of the reports.
        endpoint: Name of the endpoint.
        since: Earliest end of the windows that `reports` yields.
        until: Windows that ended from this time on are excluded.
    """

    def __init__(self, s3: "S3Client", bucket: str, endpoint: str, *, since: datetime, until: datetime) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._since, self._until = since, until
        self._read: dict[str, MonitorReport] = {}

    def reports(self) -> Iterator[MonitorReport]:
        """Yield the runs' reports, newest first."""
        for key in reversed(self._keys):
            if key.endswith(f"/{REPORT}"):
                yield self._report(key)

    def report_of(self, end: datetime) -> MonitorReport | None:
        """Return the report of the window that ended at a time, however far back; None if no report exists."""
        try:
            return self._report(f"{report_folder(self._endpoint, end)}/{REPORT}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return None

    def inventory(self) -> Inventory | None:
        """Return the inventory of objects of the newest run, up to 800 days back; None without a run."""
        keys, days = self._keys, iter(_DAYS)
        while not (found := [key for key in keys if key.endswith(f"/{_OBJECTS}")]):
            back = next(days, None)
            if back is None:
                return None
            if (since := self._until - timedelta(days=back)) < self._since:
                keys = report_keys(self._s3, self._bucket, self._endpoint, since=since, until=self._until)
        return from_json(Inventory, self._body(found[-1]))

    @cached_property
    def _keys(self) -> list[str]:
        return report_keys(self._s3, self._bucket, self._endpoint, since=self._since, until=self._until)

    def _report(self, key: str) -> MonitorReport:
        if key not in self._read:
            self._read[key] = from_json(MonitorReport, self._body(key))
        return self._read[key]

    def _body(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
