"""What the runs before a time wrote: listed once, each report read once, and only when it is asked for."""

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
# how far back the run before is looked for: an hourly monitor's lies within days, that of a yearly one within two years
_DAYS = (10, 100, 800)
_GONE = frozenset({"NoSuchKey", "404", "NoSuchBucket", "AccessDenied"})


class PastRuns:
    """An endpoint's runs whose windows ended before a time.

    Args:
        s3: Client.
        bucket: Bucket of the reports.
        endpoint: Name of the endpoint.
        since: From when on windows ended whose reports `reports` yields.
        until: The time.
    """

    def __init__(self, s3: "S3Client", bucket: str, endpoint: str, *, since: datetime, until: datetime) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._since, self._until = since, until
        self._read: dict[str, MonitorReport] = {}

    def reports(self) -> Iterator[MonitorReport]:
        """Yield their reports, newest first."""
        for key in reversed(self._keys):
            if key.endswith(f"/{REPORT}"):
                yield self._report(key)

    def report_of(self, end: datetime) -> MonitorReport | None:
        """Return the report of the window that ended at a time, however far back; None if it was not decided."""
        try:
            return self._report(f"{report_folder(self._endpoint, end)}/{REPORT}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return None

    def inventory(self) -> Inventory | None:
        """Return the objects that the newest of them read, however far back; None if there was no run."""
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
