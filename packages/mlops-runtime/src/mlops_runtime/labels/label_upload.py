"""Upload labels by id. Existing labels are not written again, and other labels of a call are preserved.

An upload only adds an object: concurrent uploads each add their labels, and readers merge them by row (``label_times``).
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import EventMetadata, GroundTruthData, GroundTruthRecord, ground_truth_key
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.labels.label_kind import LabelKind
from mlops_runtime.labels.label_rows import CheckedLabels, LabelError, check_labels
from mlops_runtime.labels.label_times import (
    Stamps,
    every_row,
    is_known_later,
    label_times,
    merged,
    newer_stamp,
    stamp_of,
    stamps_of,
)
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.serving.live_baseline import live_baseline
from mlops_runtime.serving.named_calls import CalledRow, NamedCalls, hours_before, read_side_by_side

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HORIZON = timedelta(days=35)  # default age of the oldest calls that labels are searched for
_RECORDS = 100_000  # maximum per object
_DENIED = ("AccessDenied", "403")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelUpload:
    """Result of an upload, in rows."""

    rows: int  # rows read
    added: int = 0  # labels of rows that had none
    replaced: int = 0  # labels that differ from the earlier one
    unchanged: int = 0  # labels that existed already, so that nothing was written
    older: int = 0  # labels that became known before the existing one, which is kept
    nulls: int = 0  # rows whose label is not known yet
    repeated: int = 0  # rows with the id of another one
    unknown: int = 0  # ids without a captured call, which are skipped
    unchecked: int = 0  # ids assumed to be inference ids, because the caller may not read captures
    calls: int = 0  # calls whose records were written
    examples: tuple[str, ...] = ()  # some of the unknown ids


def upload_labels(
    entry: EndpointEntry,
    *,
    client: Callable[[str], Any],
    ids: Sequence[object],
    values: Sequence[Sequence[object]],
    now: datetime,
    times: Sequence[object] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    store: "LabelStore | None" = None,
) -> LabelUpload:
    """Validate labels against an endpoint's live model, and write those that are new or changed.

    Args:
        entry: Entry that the endpoint's stack published.
        client: Returns a boto3 client for a service name.
        ids: Id of each row as it was sent: of the row, or the inference id of a call of one row.
        values: A column of labels; for several outputs one for each.
        now: The time in the cloud.
        times: When each label became known; the newest of an id counts, including existing ones. Default: now; an id may have one
            label.
        since: Time of the oldest call that labels may be for. Default: 35 days ago.
        until: Time of the newest. Default: now.
        store: Store of the endpoint's labels, for a caller with several uploads. Default: a new one.

    Raises:
        LabelError: With every problem; nothing is written then.
    """
    if entry.capture_bucket is None:
        raise LabelError(
            [
                f"endpoint {entry.endpoint!r} captures nothing that labels could be joined with: set ModelEndpoint(capture=...)"
            ]
        )
    baseline = live_baseline(entry, client)
    kind = LabelKind() if baseline is None else LabelKind.of(baseline)
    labels = check_labels(ids, values, kind, times=times, now=now)
    store = LabelStore(client("s3"), bucket=entry.capture_bucket, endpoint=entry.endpoint) if store is None else store
    return store.put(labels, now=now, since=since, until=until)


class _Labels(NamedTuple):
    """The labels of a call in row order, and their stamps."""

    texts: Sequence[str | None]
    stamps: Stamps


@dataclass(slots=True)
class _Changes:
    """Changes of an upload to the labels of calls."""

    now: datetime
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    stamps: dict[str, list[int]] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    added: int = 0
    replaced: int = 0
    older: int = 0

    def begin(self, call: str, rows: int, earlier: _Labels | None) -> None:
        texts, stamps = ((), 0) if earlier is None else earlier
        missing = max(0, rows - len(texts))
        self.texts[call] = [*texts[:rows], *[None] * missing]
        self.stamps[call] = [*every_row(texts, stamps)[:rows], *[0] * missing]

    def put(self, place: CalledRow, text: str, known: datetime | None) -> None:
        call, row = place.inference_id, place.row
        before, earlier = self.texts[call][row], self.stamps[call][row]
        stamp = newer_stamp(self.now, earlier, known=known)
        if stamp is None:
            self.older += before != text
            return
        if before == text and (known is None or not is_known_later(stamp, earlier)):
            return
        self.added += before is None
        self.replaced += before is not None and before != text
        self.texts[call][row], self.stamps[call][row] = text, stamp
        self.changed[call] = None

    def line(self, call: str) -> str:
        texts = "\n".join(text or "" for text in self.texts[call])
        record = GroundTruthRecord(
            truth=GroundTruthData(data=texts),
            event=EventMetadata(event_id=call, inference_id=call),
            times=label_times(self.stamps[call]),
        )
        return json.dumps(to_dict(record))


class LabelStore:
    """Labels of one endpoint, in the capture bucket."""

    def __init__(self, s3: "S3Client", *, bucket: str, endpoint: str) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._named = NamedCalls(s3, bucket=bucket, endpoint=endpoint)
        self._labels: dict[str, dict[str, _Labels]] = {}  # by key of each object that was read or written

    def put(
        self, labels: CheckedLabels, *, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> LabelUpload:
        """Write the labels that are new or changed.

        Args:
            labels: The labels by id.
            now: The time in the cloud, whose hour is in the key.
            since: Time of the oldest call that they may be for. Default: 35 days ago.
            until: Time of the newest. Default: now.

        Raises:
            LabelError: If no id belongs to a call.
        """
        since, until = now - HORIZON if since is None else since, now if until is None else until
        called = self._named.find(labels.texts, since=since, until=until)
        others = [name for name in labels.texts if name not in called]
        captured = self._captured(others, since=since, until=until) if others else {}
        unchecked = others if captured is None else []
        called |= {name: CalledRow(name, 0, 1, since) for name in unchecked} if captured is None else captured
        unknown = [name for name in labels.texts if name not in called]
        if labels.texts and not called:
            raise LabelError(
                [
                    f"none of {len(labels.texts)} ids is of a call since {since.isoformat(timespec='seconds')}: "
                    f"{', '.join(unknown[:3])}; send the rows with these ids (mlops invoke --ids), or use the column with the "
                    "inference ids of the calls"
                ]
            )
        changes = self._changes(labels, called, now)
        self._write(changes)
        return LabelUpload(
            rows=labels.rows,
            added=changes.added,
            replaced=changes.replaced,
            unchanged=len(called) - changes.added - changes.replaced - changes.older,
            older=changes.older,
            nulls=labels.nulls,
            repeated=labels.repeated,
            unknown=len(unknown),
            unchecked=len(unchecked),
            calls=len(changes.changed),
            examples=tuple(unknown[:3]),
        )

    def _changes(self, labels: CheckedLabels, called: Mapping[str, CalledRow], now: datetime) -> _Changes:
        known = self._earlier({row.inference_id for row in called.values()}, called, now)
        changes = _Changes(now)
        for name, place in called.items():
            if place.inference_id not in changes.texts:
                changes.begin(place.inference_id, place.rows, known.get(place.inference_id))
            changes.put(place, labels.texts[name], labels.known.get(name))
        return changes

    def _earlier(self, calls: Collection[str], called: Mapping[str, CalledRow], now: datetime) -> dict[str, _Labels]:
        """Return the merged labels of calls; labels cannot be older than the calls."""
        found: dict[str, _Labels] = {}
        if not calls:
            return found
        since = min(row.hour for row in called.values())
        prefix = f"labels/{self._endpoint}/"
        newest_first = hours_before(self._s3, self._bucket, prefix, since=since, until=now)
        objects = [entry for _, entries in newest_first for entry in entries][::-1]
        new = [(written, key) for written, key in objects if key not in self._labels]
        bodies = read_side_by_side(self._s3, self._bucket, [key for _, key in new])
        for (written, key), lines in zip(new, bodies, strict=True):
            self._labels[key] = _records(lines, stamp_of(written, written))
        for _, key in objects:
            of_object = self._labels[key]
            for call in of_object.keys() & calls:
                before = found.get(call)
                found[call] = of_object[call] if before is None else _Labels(*merged(before, of_object[call]))
        return found

    def _captured(self, ids: Collection[str], *, since: datetime, until: datetime) -> dict[str, CalledRow] | None:
        """Return the ids that belong to captured calls; None if the caller may not read captures."""
        wanted, found = set(ids), dict[str, CalledRow]()
        with Tolerated(*_DENIED):
            for prefix in self._variants():
                for hour, objects in hours_before(self._s3, self._bucket, prefix, since=since, until=until):
                    for lines in read_side_by_side(self._s3, self._bucket, [key for _, key in objects]):
                        for name in wanted.intersection(map(_join_key, lines)):
                            found.setdefault(name, CalledRow(name, 0, 1, hour))
                    if len(found) == len(wanted):
                        return found
            return found
        return None

    def _variants(self) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"capture/{self._endpoint}/", Delimiter="/"
        )
        for page in pages:
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"]

    def _write(self, changes: _Changes) -> None:
        """Write ground truth records, a limited number per object; an interrupted upload can be repeated."""
        calls, now = list(changes.changed), changes.now.astimezone(UTC)
        for start in range(0, len(calls), _RECORDS):
            part = calls[start : start + _RECORDS]
            body = "\n".join(map(changes.line, part)).encode()
            # names within an hour sort by time
            name = f"put-{now:%M%S%f}-{hashlib.sha256(body).hexdigest()[:32]}"
            key = ground_truth_key("labels", self._endpoint, now, name)
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
            self._labels[key] = {
                call: _Labels(tuple(changes.texts[call]), tuple(changes.stamps[call])) for call in part
            }


def _records(lines: Sequence[bytes], written: int) -> dict[str, _Labels]:
    """Return the labels of each call of an object; invalid lines are skipped."""
    found: dict[str, _Labels] = {}
    for call, labels in filter(None, map(_record, lines)):
        of = labels if labels.stamps else labels._replace(stamps=written)
        found[call] = _Labels(*merged(found[call], of)) if call in found else of
    return found


def _record(line: bytes) -> tuple[str, _Labels] | None:
    try:
        record = json.loads(line)
        texts = [text.strip() or None for text in str(record["groundTruthData"]["data"]).split("\n")]
        stamps = stamps_of(record.get("labelTimes"), len(texts))
        return _join_key(line), _Labels(texts, 0 if stamps is None else stamps)
    except (ValueError, KeyError, TypeError):
        return None


def _join_key(line: bytes) -> str:
    """Return the id that captures and labels are joined on; "" for invalid lines."""
    try:
        event = json.loads(line)["eventMetadata"]
        return str(event.get("inferenceId") or event["eventId"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
