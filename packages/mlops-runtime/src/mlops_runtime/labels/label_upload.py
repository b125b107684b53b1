"""Upload labels by id: what is there already is not written again, and a call's other labels stay."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import EventMetadata, GroundTruthData, GroundTruthRecord, ground_truth_key
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.labels.label_kind import LabelKind
from mlops_runtime.labels.label_rows import CheckedLabels, LabelError, check_labels
from mlops_runtime.serving.live_baseline import live_baseline
from mlops_runtime.serving.named_calls import CalledRow, NamedCalls, hours_before, read_side_by_side

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HORIZON = timedelta(days=35)  # how old the calls may be that labels are for
_RECORDS = 100_000  # of one object
_DENIED = ("AccessDenied", "403")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelUpload:
    """What an upload did, in rows.

    Args:
        rows: Rows that were read.
        added: Labels of rows that had none.
        replaced: Labels that differ from the earlier one.
        unchanged: Labels that were there already: nothing was written for them.
        nulls: Rows whose label is not known yet.
        repeated: Rows with the id of another one.
        unknown: Ids of which no call was captured: they are left out.
        unchecked: Ids that were taken as inference ids, since the caller may not read captures.
        calls: Calls whose records were written.
        examples: Some of the unknown ids.
    """

    rows: int
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    nulls: int = 0
    repeated: int = 0
    unknown: int = 0
    unchecked: int = 0
    calls: int = 0
    examples: tuple[str, ...] = ()


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
    """Check labels against the live model of an endpoint, and write those that are new or changed.

    Args:
        entry: What the endpoint's stack published.
        client: Gives a boto3 client by service name.
        ids: Id a row, as it was sent: of the row, or the inference id of a call of one row.
        values: A column of labels; of a model of several outputs one for each.
        now: The time in the cloud.
        times: When each label became known: the newest of an id counts. Default: an id may have one label.
        since: The oldest call that labels may be for. Default: 35 days ago.
        until: The newest. Default: now.
        store: Store of the endpoint's labels, for a caller with several uploads. Default: a new one.

    Raises:
        LabelError: With every problem; nothing is written then.
    """
    if entry.capture_bucket is None:
        raise LabelError(
            [
                f"endpoint {entry.endpoint!r} captures nothing that labels could be joined with: ModelEndpoint(capture=...)"
            ]
        )
    baseline = live_baseline(entry, client)
    kind = LabelKind() if baseline is None else LabelKind.of(baseline)
    labels = check_labels(ids, values, kind, times=times, now=now)
    store = LabelStore(client("s3"), bucket=entry.capture_bucket, endpoint=entry.endpoint) if store is None else store
    return store.put(labels, now=now, since=since, until=until)


class LabelStore:
    """Labels of one endpoint, in the bucket of its captures.

    Args:
        s3: Client.
        bucket: The bucket.
        endpoint: Name of the endpoint.
    """

    def __init__(self, s3: "S3Client", *, bucket: str, endpoint: str) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._named = NamedCalls(s3, bucket=bucket, endpoint=endpoint)
        self._labels: dict[str, dict[str, list[str]]] = {}  # of each object that was read or written

    def put(
        self, labels: CheckedLabels, *, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> LabelUpload:
        """Write the labels that are new or changed.

        Args:
            labels: A label by id.
            now: The time in the cloud, under whose hour they are written.
            since: The oldest call that they may be for. Default: 35 days ago.
            until: The newest. Default: now.

        Raises:
            LabelError: If no id is of a call.
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
                    f"{', '.join(unknown[:3])}; send the rows with these ids (mlops invoke --ids), or name the column that "
                    "holds the inference ids of the calls"
                ]
            )
        records, added, replaced = self._records(labels.texts, called, now)
        self._write(records, now)
        return LabelUpload(
            rows=labels.rows,
            added=added,
            replaced=replaced,
            unchanged=len(called) - added - replaced,
            nulls=labels.nulls,
            repeated=labels.repeated,
            unknown=len(unknown),
            unchecked=len(unchecked),
            calls=len(records),
            examples=tuple(unknown[:3]),
        )

    def _records(
        self, texts: Mapping[str, str], called: Mapping[str, CalledRow], now: datetime
    ) -> tuple[dict[str, list[str]], int, int]:
        """Return the labels of each call that gets others, in the order of its rows, and how many are new and changed."""
        known = self._earlier({row.inference_id for row in called.values()}, called, now)
        calls: dict[str, list[str]] = {}
        changed: set[str] = set()
        added = replaced = 0
        for name, place in called.items():
            if place.inference_id not in calls:
                earlier = known.get(place.inference_id, [])[: place.rows]
                calls[place.inference_id] = earlier + [""] * (place.rows - len(earlier))
            row, text = calls[place.inference_id], texts[name]
            if row[place.row] != text:
                changed.add(place.inference_id)
                added, replaced = (added + 1, replaced) if not row[place.row] else (added, replaced + 1)
                row[place.row] = text
        return {call: row for call, row in calls.items() if call in changed}, added, replaced

    def _earlier(self, calls: Collection[str], called: Mapping[str, CalledRow], now: datetime) -> dict[str, list[str]]:
        """Return the newest labels of calls: none came before the calls themselves."""
        found: dict[str, list[str]] = {}
        if not calls:
            return found
        since = min(row.hour for row in called.values())
        prefix = f"labels/{self._endpoint}/"
        for _, keys in hours_before(self._s3, self._bucket, prefix, since=since, until=now):
            new = [key for key in keys if key not in self._labels]
            for key, lines in zip(new, read_side_by_side(self._s3, self._bucket, new), strict=True):
                self._labels[key] = dict(map(_record, lines))  # a later line replaces an earlier one
            for key in keys:
                for call in self._labels[key].keys() & calls:
                    found.setdefault(call, self._labels[key][call])
        return found

    def _captured(self, ids: Collection[str], *, since: datetime, until: datetime) -> dict[str, CalledRow] | None:
        """Return which ids are of captured calls; None where the caller may not read captures."""
        wanted, found = set(ids), dict[str, CalledRow]()
        try:
            for prefix in self._variants():
                for hour, keys in hours_before(self._s3, self._bucket, prefix, since=since, until=until):
                    for lines in read_side_by_side(self._s3, self._bucket, keys):
                        for name in wanted.intersection(map(_join_key, lines)):
                            found.setdefault(name, CalledRow(name, 0, 1, hour))
                    if len(found) == len(wanted):
                        return found
        except ClientError as error:
            if error.response["Error"]["Code"] not in _DENIED:
                raise
            return None
        return found

    def _variants(self) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"capture/{self._endpoint}/", Delimiter="/"
        )
        for page in pages:
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"]

    def _write(self, records: Mapping[str, Sequence[str]], now: datetime) -> None:
        """Write ground truth records, a bounded number an object; an upload that was interrupted goes on where it was."""
        calls = list(records)
        for start in range(0, len(calls), _RECORDS):
            part = calls[start : start + _RECORDS]
            body = "\n".join(_line(call, records[call]) for call in part).encode()
            key = ground_truth_key("labels", self._endpoint, now, f"put-{hashlib.sha256(body).hexdigest()[:32]}")
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
            self._labels[key] = {call: list(records[call]) for call in part}


def _line(call: str, texts: Sequence[str]) -> str:
    event = EventMetadata(event_id=call, inference_id=call)
    return json.dumps(to_dict(GroundTruthRecord(truth=GroundTruthData(data="\n".join(texts)), event=event)))


def _record(line: bytes) -> tuple[str, list[str]]:
    """Return a ground truth line's call and labels; no call for what cannot be read."""
    try:
        return _join_key(line), str(json.loads(line)["groundTruthData"]["data"]).split("\n")
    except (ValueError, KeyError, TypeError):
        return "", []


def _join_key(line: bytes) -> str:
    """Return the id that captures and labels join on; an empty one for what cannot be read."""
    try:
        event = json.loads(line)["eventMetadata"]
        return str(event.get("inferenceId") or event["eventId"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
