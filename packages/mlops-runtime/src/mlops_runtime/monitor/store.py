"""S3 objects of monitors: captures, labels, counts, baselines, reports."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.capture import announcement_prefix
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.counting.announced import Announcement, Announcements, read_announcement
from mlops_runtime.monitor.counting.capture_lines import bounded_lines
from mlops_runtime.monitor.stored_reports import REPORT, PastRuns, metrics_key, report_folder
from mlops_runtime.monitor.window import Window, hour_of, within

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

_CHUNK = 1 << 20
# suffix of counts: the baseline that an object was counted against
_BASELINE = re.compile(r"\.baseline-[0-9a-f]{16}(?=\.json$)")
# variant, hour, and SageMaker's name of the object
_CAPTURE = re.compile(r"[^/]+/\d{4}/\d\d/\d\d/\d\d/.+\.jsonl")
_READERS = 16
_MISSING = frozenset({"NoSuchKey", "404", "NoSuchBucket", "AccessDenied"})


class BaselineIntegrityError(ValueError):
    """A baseline cannot be used: it is missing, differs from the approved one, or cannot be parsed; see the message."""


class MonitorStore:
    """One endpoint's monitoring objects in S3.

    Args:
        s3: Client.
        artifacts: Bucket of counts, baselines and reports.
        captures: Bucket of captures and labels. Default: this store reads none.
    """

    def __init__(self, s3: "S3Client", *, endpoint: str, artifacts: str, captures: str = "") -> None:
        self._s3, self._endpoint, self._artifacts, self._captures = s3, endpoint, artifacts, captures
        self._baselines: dict[tuple[str, str], Baseline] = {}

    def baseline(self, uri: str, sha256: str) -> Baseline:
        """Return a baseline as `read_baseline` does, cached: an execution's baseline never changes."""
        key = uri, sha256
        if key not in self._baselines:
            self._baselines[key] = self.read_baseline(uri, sha256)
        return self._baselines[key]

    def read_baseline(self, uri: str, sha256: str) -> Baseline:
        """Read a baseline from S3 and verify its hash.

        Args:
            uri: S3 URI of the baseline.
            sha256: SHA-256 of the approved baseline's bytes.

        Raises:
            BaselineIntegrityError: If it is missing, has another hash, or is not a baseline.
        """
        body = self._baseline_bytes(uri)
        found = hashlib.sha256(body).hexdigest()
        if found != sha256:
            raise BaselineIntegrityError(
                f"the baseline {uri} was changed: it has SHA-256 {found}, approved was {sha256}"
            )
        return _baseline_of(uri, body)

    def decided_baseline(self, uri: str, sha256: str) -> Baseline:
        """Return the baseline that a window was compared with.

        Raises:
            BaselineIntegrityError: If it is missing, has changed since, or is not a baseline.
        """
        baseline = _baseline_of(uri, self._baseline_bytes(uri))
        if content_hash(baseline) != sha256:
            raise BaselineIntegrityError(f"the baseline {uri} was changed after this window was decided")
        return baseline

    def _baseline_bytes(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _MISSING:
                raise
            raise BaselineIntegrityError(f"the baseline {uri} is missing, or may not be read") from error

    def lines(self, bucket: str, key: str) -> Iterator[bytes]:
        """Stream an object's lines; a line longer than any valid record is truncated."""
        yield from bounded_lines(self._s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK))

    def counts_key(self, capture_key: str, baseline_sha256: str | None = None) -> str | None:
        """Return the key of the counts of a capture object: one key a baseline, so that counting again is idempotent.

        Args:
            capture_key: Key of the capture object.
            baseline_sha256: Hash of the baseline. Default: the key without baseline, by which `counts_by_hour` groups.

        Returns:
            None for an object that is not a capture of this endpoint.
        """
        prefix = f"capture/{self._endpoint}/"
        if not capture_key.startswith(prefix) or _CAPTURE.fullmatch(capture_key, len(prefix)) is None:
            return None
        against = "" if baseline_sha256 is None else f".baseline-{baseline_sha256[:16]}"
        return f"monitor/{self._endpoint}/counts/{capture_key[len(prefix) : -len('.jsonl')]}{against}.json"

    def capture_key(self, counts_key: str) -> str:
        """Return the key of the capture object that a counts object belongs to."""
        tail = _BASELINE.sub("", counts_key).removeprefix(f"monitor/{self._endpoint}/counts/").removesuffix(".json")
        return f"capture/{self._endpoint}/{tail}.jsonl"

    def put_counts(self, key: str, counts: Counts) -> None:
        """Write the counts of one capture object."""
        self._s3.put_object(Bucket=self._artifacts, Key=key, Body=canonical_json(counts))

    def capture_keys(self, variant: str, window: Window) -> list[str]:
        """Return the keys of the capture objects of a window."""
        return list(self.capture_sizes(variant, window))

    def capture_sizes(self, variant: str, window: Window) -> dict[str, int]:
        """Return the size in bytes of each capture object of a window, ordered by hour."""
        return self._sizes(self._captures, f"capture/{self._endpoint}/{variant}/", window)

    def counts_by_hour(self, variant: str, window: Window) -> dict[datetime, dict[str, list[str]]]:
        """Return the keys of counts objects by hour and by `counts_key` of the capture object, for hours that have any.

        An object that was delivered again after a promotion has counts against the baselines of both models.
        """
        prefix = f"monitor/{self._endpoint}/counts/{variant}/"
        found: dict[datetime, dict[str, list[str]]] = {}
        for key in self._sizes(self._artifacts, prefix, window):
            hour = hour_of(key, prefix)
            if hour is not None:
                found.setdefault(hour, {}).setdefault(_BASELINE.sub("", key), []).append(key)
        return found

    def capture_hour(self, variant: str, key: str) -> datetime | None:
        """Return the hour of a capture object."""
        return hour_of(key, f"capture/{self._endpoint}/{variant}/")

    def object_hour(self, key: str) -> datetime | None:
        """Return the hour of a capture object of any variant."""
        return self.capture_hour(key.removeprefix(f"capture/{self._endpoint}/").partition("/")[0], key)

    def counts(self, keys: Iterable[str]) -> Iterator[Counts]:
        """Yield the counts at keys."""
        for key in keys:
            yield from_json(Counts, self._artifact(key))

    def counts_against(
        self, baseline_sha256: str, objects: Sequence[Sequence[str]]
    ) -> Iterator[Counts | ContractError]:
        """Yield each object's counts in order, or the error if they cannot be read; requests run in parallel.

        Args:
            baseline_sha256: Hash of the preferred baseline; an object without counts against it yields those against another.
            objects: Keys of each object's counts, as in `counts_by_hour`.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            # in batches, to bound the memory
            for start in range(0, len(objects), 4 * _READERS):
                batch = objects[start : start + 4 * _READERS]
                yield from pool.map(lambda keys: self._counts_against(baseline_sha256, keys), batch)

    def _counts_against(self, baseline_sha256: str, keys: Sequence[str]) -> Counts | ContractError:
        own = [key for key in keys if key.endswith(f".baseline-{baseline_sha256[:16]}.json")]
        try:
            found = list(self.counts(own or keys))
        except ContractError as error:
            return ContractError(f"{(own or keys)[0]}: {error}")
        return next((c for c in found if c.baseline_sha256 == baseline_sha256), max(found, key=lambda c: c.last))

    def label_hours(self, window: Window) -> list[tuple[datetime, datetime, str]]:
        """Return hour, upload time and key of the ground truth objects of a window, in the order of upload."""
        prefix = f"labels/{self._endpoint}/"
        found = [
            (hour, entry["LastModified"], entry["Key"])
            for entry in self._entries(self._captures, prefix, window)
            if (hour := hour_of(entry["Key"], prefix)) is not None
        ]
        return [(hour, within(hour, written), key) for hour, written, key in sorted(found)]

    def announced(self) -> Announcements:
        """Return the lookup of announced calls; it reads announcements only for calls whose id looks synthetic."""
        return Announcements(self._announced_in)

    def announced_calls(self, window: Window) -> int:
        """Return the number of calls that executions announced in a window, an upper bound of the calls made."""
        prefix = announcement_prefix(self._endpoint)
        found = (read_announcement(e["Key"][len(prefix) :]) for e in self._entries(self._artifacts, prefix, window))
        return sum(announcement.calls for announcement in found if announcement is not None)

    def _announced_in(self, hour: str) -> Iterator[Announcement]:
        prefix = announcement_prefix(self._endpoint)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._artifacts, Prefix=f"{prefix}{hour}/")
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            announcement = read_announcement(entry["Key"][len(prefix) :])
            if announcement is not None:
                yield announcement

    def has_labels(self) -> bool:
        """Return whether a label was ever uploaded."""
        answer = self._s3.list_objects_v2(Bucket=self._captures, Prefix=f"labels/{self._endpoint}/", MaxKeys=1)
        return bool(answer.get("Contents"))

    def object_lines(self, key: str) -> Iterator[bytes]:
        """Yield the lines of an object in the bucket of captures."""
        return self.lines(self._captures, key)

    def put_report(self, report: MonitorReport, files: Mapping[str, bytes], end: datetime) -> str:
        """Write the run's files and return the report's URI; a repeated run overwrites them."""
        folder = self._folder(end)
        # the report is last: a reader that finds it finds the other files
        for name, body in {**files, REPORT: canonical_json(report)}.items():
            self._s3.put_object(Bucket=self._artifacts, Key=f"{folder}/{name}", Body=body)
        return self.report_uri(end)

    def report_uri(self, end: datetime) -> str:
        """Return the URI of the report of the window that ends at a time."""
        return f"s3://{self._artifacts}/{self._folder(end)}/{REPORT}"

    def put_metrics(self, text: str) -> None:
        """Write the newest window's metrics in Prometheus text format: one object an endpoint."""
        self._s3.put_object(Bucket=self._artifacts, Key=metrics_key(self._endpoint), Body=text.encode())

    def put_violations(self, lines: bytes, end: datetime) -> None:
        """Write a window's violations for Athena: JSON lines, partitioned by the hour of the window's end."""
        key = f"monitor/{self._endpoint}/violations/{end:%Y/%m/%d/%H}/violations.jsonl"
        self._s3.put_object(Bucket=self._artifacts, Key=key, Body=lines)

    def past_runs(self, until: datetime, *, since: datetime) -> PastRuns:
        """Return the runs whose windows ended before a time, from ``since`` on."""
        return PastRuns(self._s3, self._artifacts, self._endpoint, since=since, until=until)

    def _artifact(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._artifacts, Key=key)["Body"].read()

    def _folder(self, end: datetime) -> str:
        return report_folder(self._endpoint, end)

    def _sizes(self, bucket: str, prefix: str, window: Window) -> dict[str, int]:
        """Return the sizes in bytes of the objects ``<prefix>yyyy/mm/dd/hh/...`` of a window's hours."""
        return {entry["Key"]: entry["Size"] for entry in self._entries(bucket, prefix, window)}

    def _entries(self, bucket: str, prefix: str, window: Window) -> "Iterator[ObjectTypeDef]":
        """Yield the objects ``<prefix>yyyy/mm/dd/hh/...`` of a window's hours with one listing: keys sort by time."""
        first, end = (f"{prefix}{time.astimezone(UTC):%Y/%m/%d/%H}" for time in (window.start, window.end))
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, StartAfter=first):
            for entry in page.get("Contents", []):
                if entry["Key"] >= end:
                    return
                if hour_of(entry["Key"], prefix) is not None:
                    yield entry


def _baseline_of(uri: str, body: bytes) -> Baseline:
    try:
        return from_json(Baseline, body)
    except ContractError as error:
        raise BaselineIntegrityError(f"the baseline {uri} cannot be read: {error}") from error
