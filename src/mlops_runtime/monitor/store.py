"""What monitors read and write in S3: captures, labels, counts, baselines, reports."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Baseline, Counts, MonitorReport, Violations
from mlops_runtime.monitor.report import Window

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1 << 20


class MonitorStore:
    """One endpoint's objects.

    Args:
        s3: Client.
        endpoint: Name of the endpoint.
        artifacts: Bucket of counts, baselines and reports.
        captures: Bucket of captures and labels. Default: not read through this store.
    """

    def __init__(self, s3: "S3Client", *, endpoint: str, artifacts: str, captures: str = "") -> None:
        self._s3, self._endpoint, self._artifacts, self._captures = s3, endpoint, artifacts, captures
        self._baselines: dict[str, Baseline] = {}

    def baseline(self, uri: str) -> Baseline:
        """Return a baseline; kept, because an execution's baseline never changes."""
        if uri not in self._baselines:
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            self._baselines[uri] = from_json(Baseline, self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return self._baselines[uri]

    def lines(self, bucket: str, key: str) -> Iterator[bytes]:
        """Yield an object's lines without holding the object."""
        yield from self._s3.get_object(Bucket=bucket, Key=key)["Body"].iter_lines(chunk_size=_CHUNK)

    def counts_key(self, capture_key: str) -> str | None:
        """Return where the counts of a capture object lie: one place, so that counting it again changes nothing.

        Returns:
            None for an object that is not a capture of this endpoint.
        """
        prefix = f"capture/{self._endpoint}/"
        if not capture_key.startswith(prefix) or not capture_key.endswith(".jsonl"):
            return None
        return f"monitor/{self._endpoint}/counts/{capture_key[len(prefix) : -len('.jsonl')]}.json"

    def put_counts(self, key: str, counts: Counts) -> None:
        """Write the counts of one capture object."""
        self._s3.put_object(Bucket=self._artifacts, Key=key, Body=canonical_json(counts))

    def capture_keys(self, variant: str, window: Window) -> list[str]:
        """Return the capture objects of a window."""
        return list(self.capture_sizes(variant, window))

    def capture_sizes(self, variant: str, window: Window) -> dict[str, int]:
        """Return the bytes of each capture object of a window, in the order of the hours."""
        return self._sizes(self._captures, f"capture/{self._endpoint}/{variant}/", window)

    def counts_keys(self, variant: str, window: Window) -> list[str]:
        """Return the counts objects of a window."""
        return list(self._sizes(self._artifacts, f"monitor/{self._endpoint}/counts/{variant}/", window))

    def counts(self, keys: Iterable[str]) -> Iterator[Counts]:
        """Yield counts objects."""
        for key in keys:
            yield from_json(Counts, self._s3.get_object(Bucket=self._artifacts, Key=key)["Body"].read())

    def captures(self, variant: str, window: Window) -> Iterator[bytes]:
        """Yield the capture lines of a window."""
        for key in self.capture_keys(variant, window):
            yield from self.lines(self._captures, key)

    def labels(self, window: Window) -> Iterator[bytes]:
        """Yield the ground truth lines that were uploaded in a window."""
        for key in self._sizes(self._captures, f"labels/{self._endpoint}/", window):
            yield from self.lines(self._captures, key)

    def put_report(
        self, report: MonitorReport, violations: Violations, statistics: dict[str, Any] | None, end: datetime
    ) -> str:
        """Write the run's files and return the report's URI; a run that is repeated writes them again."""
        folder = f"monitor/{self._endpoint}/reports/{end:%Y-%m-%dT%H}"
        files = {"constraint_violations.json": canonical_json(violations)}
        if statistics is not None:
            files["statistics.json"] = json.dumps(statistics).encode()
        files["report.json"] = canonical_json(report)  # last: whoever sees it finds the others
        for name, body in files.items():
            self._s3.put_object(Bucket=self._artifacts, Key=f"{folder}/{name}", Body=body)
        return f"s3://{self._artifacts}/{folder}/report.json"

    def _sizes(self, bucket: str, prefix: str, window: Window) -> dict[str, int]:
        """Return the bytes of the objects ``<prefix>yyyy/mm/dd/hh/...`` of a window's hours; one listing a day."""
        found = {}
        pages = self._s3.get_paginator("list_objects_v2")
        day = window.start.astimezone(UTC).replace(hour=0)
        while day < window.end:
            for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}{day:%Y/%m/%d}/"):
                for entry in page.get("Contents", []):
                    hour = entry["Key"][len(prefix) + 11 : len(prefix) + 13]
                    if hour.isdecimal() and window.start <= day + timedelta(hours=int(hour)) < window.end:
                        found[entry["Key"]] = entry["Size"]
            day += timedelta(days=1)
        return found
