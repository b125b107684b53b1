"""Labels by id become the records that monitors join with captures (moto, in process)."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from tests.runtime.monitor.conftest import Lines

from mlops_runtime.labels import label_upload
from mlops_runtime.labels.label_rows import CheckedLabels, LabelError
from mlops_runtime.labels.label_upload import LabelStore, LabelUpload
from mlops_runtime.monitor.monitors.label_join import Timed, join
from mlops_runtime.serving.named_calls import NamedCalls, name_call

NOW = datetime(2017, 8, 7, 12, 30, tzinfo=UTC)
BATCH = ["a", "b", "c"]
LINES = Lines()


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return a bucket with a call of one row, x, and one of three rows, two days ago."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="captures")
        called = NOW - timedelta(days=2)
        named = name_call(BATCH, called)
        NamedCalls(client, bucket="captures", endpoint="demand-forecast").put([named], at=called)
        captured = [
            LINES.call("1", "10", inference_id="x"),
            LINES.call("1\n2\n3", "10\n20\n30", inference_id=named.inference_id, event_id="e-2"),
            LINES.call("1", "10", event_id="e-3"),
        ]
        key = f"capture/demand-forecast/AllTraffic/{called:%Y/%m/%d/%H}/a.jsonl"
        client.put_object(Bucket="captures", Key=key, Body="\n".join(captured).encode())
        yield client


def _put(
    s3: Any, texts: Mapping[str, str], *, hours: float = 0, known: Mapping[str, datetime] | None = None, **options: Any
) -> LabelUpload:
    labels = CheckedLabels(texts=dict(texts), rows=len(texts), nulls=0, repeated=0, known=dict(known or {}))
    store = LabelStore(s3, bucket="captures", endpoint="demand-forecast")
    return store.put(labels, now=NOW + timedelta(hours=hours), **options)


def _objects(s3: Any, prefix: str) -> list[tuple[str, str]]:
    listed = s3.list_objects_v2(Bucket="captures", Prefix=prefix).get("Contents", [])
    return [(e["Key"], s3.get_object(Bucket="captures", Key=e["Key"])["Body"].read().decode()) for e in listed]


def _joined(s3: Any) -> list[tuple[float, float]]:
    """Return prediction and label of each row as a monitor sees them."""
    labels = [
        Timed(datetime.strptime(key[23:36], "%Y/%m/%d/%H").replace(tzinfo=UTC), line)
        for key, body in _objects(s3, "labels/demand-forecast/")
        for line in body.splitlines()
    ]
    captures = [line for _, body in _objects(s3, "capture/") for line in body.splitlines()]
    rows = join(labels, captures).labelled
    return sorted(zip(rows.prediction.tolist(), rows.label.tolist(), strict=True))


def test_monitors_read_what_was_put(s3: Any) -> None:
    """Rows of a larger call are joined by their own ids, single calls by inference id or event id."""
    done = _put(s3, {"a": "11", "c": "33", "x": "1", "e-3": "5"})
    assert (done.added, done.replaced, done.unchanged, done.unknown, done.unchecked, done.calls) == (4, 0, 0, 0, 0, 3)
    assert _joined(s3) == [(10.0, 1.0), (10.0, 5.0), (10.0, 11.0), (30.0, 33.0)]


def test_what_is_there_is_not_written_again(s3: Any) -> None:
    """A repeated part of a call keeps its other labels; a changed label replaces the earlier one."""
    _put(s3, {"a": "11", "b": "22", "x": "1"})
    again = _put(s3, {"a": "11", "b": "22", "x": "1"}, hours=5)
    assert (again.added, again.unchanged, again.calls) == (0, 3, 0)
    assert len(_objects(s3, "labels/")) == 1

    later = _put(s3, {"a": "12", "c": "33", "x": "1"}, hours=6)
    assert (later.added, later.replaced, later.unchanged, later.calls) == (1, 1, 1, 1)
    assert _joined(s3) == [(10.0, 1.0), (10.0, 12.0), (20.0, 22.0), (30.0, 33.0)]


def test_a_label_that_was_corrected_can_be_corrected_back(s3: Any) -> None:
    """A label is compared with the newest one only, not with all earlier ones."""
    for hours, text in enumerate(["1", "2", "1"]):
        assert _put(s3, {"x": text}, hours=hours).unchanged == 0
    assert _joined(s3) == [(10.0, 1.0)]


def test_ids_of_no_call_are_counted_and_left_out(s3: Any) -> None:
    """The message lists some of them."""
    done = _put(s3, {"x": "1", **{f"ghost-{n}": "1" for n in range(5)}})
    assert (done.added, done.unknown, done.examples) == (1, 5, ("ghost-0", "ghost-1", "ghost-2"))
    assert "ghost" not in _objects(s3, "labels/")[0][1]


def test_fails_where_no_id_is_of_a_call(s3: Any) -> None:
    """Nothing is written; calls before `since` are not read."""
    with pytest.raises(LabelError, match=r"none of 1 ids is of a call since 2017-07-03T12:30:00\+00:00: ghost; send"):
        _put(s3, {"ghost": "1"})
    with pytest.raises(LabelError, match=r"none of 2 ids is of a call since 2017-08-06"):
        _put(s3, {"x": "1", "a": "1"}, since=NOW - timedelta(days=1))
    assert _objects(s3, "labels/") == []


def test_who_may_not_read_captures_gives_inference_ids(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference ids cannot be checked, and the result reports that."""

    def denied(*_: object, **__: object) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")

    monkeypatch.setattr(LabelStore, "_variants", denied)
    done = _put(s3, {"a": "11", "x": "1", "ghost": "1"})
    assert (done.added, done.unknown, done.unchecked) == (3, 0, 2)


def test_an_upload_has_objects_of_a_bounded_size(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated upload, interrupted between two objects, writes the rest."""
    monkeypatch.setattr(label_upload, "_RECORDS", 1)
    _put(s3, {"a": "11", "x": "1"})
    second = _objects(s3, "labels/")[1]
    s3.delete_object(Bucket="captures", Key=second[0])
    assert _put(s3, {"a": "11", "x": "1"}, hours=1).added == 1
    assert [body.count("groundTruthData") for _, body in _objects(s3, "labels/")] == [1, 1]
    assert _joined(s3) == [(10.0, 1.0), (10.0, 11.0)]


def test_lines_that_no_record_can_be_are_passed_over(s3: Any) -> None:
    """They are skipped in captures and in label files of other writers."""
    s3.put_object(Bucket="captures", Key="labels/demand-forecast/2017/08/07/11/a.jsonl", Body=b"[]\n{\nnull")
    s3.put_object(Bucket="captures", Key="capture/demand-forecast/AllTraffic/2017/08/07/11/b.jsonl", Body=b"{}\n7")
    assert _put(s3, {"x": "1"}).added == 1


def test_a_record_of_others_counts_by_its_upload(s3: Any) -> None:
    """SageMaker's format has no times: each row gets the label uploaded last, and an empty label removes none."""
    named = _objects(s3, "ids/")[0][1]
    call = json.loads(named)["inference_id"]
    for hour, data in ((9, "1\n2\n3"), (11, "\n5\n")):
        record = {
            "groundTruthData": {"data": data, "encoding": "CSV"},
            "eventMetadata": {"eventId": call},
            "eventVersion": "0",
        }
        key = f"labels/demand-forecast/2017/08/07/{hour:02}/theirs.jsonl"
        s3.put_object(Bucket="captures", Key=key, Body=json.dumps(record).encode())
    assert _joined(s3) == [(10.0, 1.0), (20.0, 5.0), (30.0, 3.0)]
    done = _put(s3, {"a": "1", "b": "2", "c": "7"}, known={name: NOW - timedelta(hours=2) for name in BATCH})
    assert (done.unchanged, done.older, done.replaced) == (1, 1, 1)
    assert _joined(s3) == [(10.0, 1.0), (20.0, 5.0), (30.0, 7.0)]


def test_an_older_file_does_not_take_newer_labels_away(s3: Any) -> None:
    """The time at which a label became known decides, also if the newer file repeated the earlier label."""
    monday, tuesday, wednesday = (NOW - timedelta(hours=hours) for hours in (30, 20, 10))
    _put(s3, {"x": "1"}, known={"x": monday})
    again = _put(s3, {"x": "1"}, known={"x": wednesday}, hours=1)
    assert (again.unchanged, again.replaced, again.calls) == (1, 0, 1)
    late = _put(s3, {"x": "2"}, known={"x": tuesday}, hours=2)
    assert (late.older, late.replaced, late.unchanged, late.calls) == (1, 0, 0, 0)
    assert _joined(s3) == [(10.0, 1.0)]
    assert _put(s3, {"x": "3"}, hours=3).replaced == 1, "a label without a time became known now"
    assert _joined(s3) == [(10.0, 3.0)]


def test_uploads_of_one_second_follow_each_other(s3: Any) -> None:
    """Times in the cloud have a resolution of a second; a correction of a label that was read counts more."""
    for text in ("1", "2", "1", "4"):
        assert _put(s3, {"x": text, "a": text}).unchanged == 0
    assert _joined(s3) == [(10.0, 4.0), (10.0, 4.0)]


class _Shelf:
    """Objects of a bucket in the order of their writing; a reader sees the first ones."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes, datetime]] = []
        self.seen, self.at = 0, NOW

    def get_paginator(self, _: str) -> "_Shelf":
        return self

    def paginate(self, *, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803 - as boto3 has it
        listed = {key: at for key, _, at in self.written[: self.seen] if key.startswith(Prefix)}
        yield {"Contents": [{"Key": key, "LastModified": at} for key, at in listed.items()]}

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        body = io.BytesIO(next(body for key, body, _ in reversed(self.written) if key == Key))
        return {"Body": type("Body", (), {"iter_chunks": lambda _self, size: iter(lambda: body.read(size), b"")})()}

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:  # noqa: N803
        self.written.append((Key, Body, self.at))

    def labels(self) -> list[Timed]:
        return [
            Timed(datetime.strptime(key[23:36], "%Y/%m/%d/%H").replace(tzinfo=UTC), line, at)
            for key, body, at in self.written
            if key.startswith("labels/")
            for line in body.splitlines()
        ]


_MINUTES = st.integers(0, 300)
_UPLOADS = st.lists(
    # the labels, when they became known, how many of the uploads before it has not seen
    st.tuples(st.dictionaries(st.sampled_from(BATCH), _MINUTES, min_size=1), st.integers(0, 3), st.integers(0, 2)),
    min_size=1,
    max_size=6,
)


@given(_UPLOADS, st.randoms())
@settings(max_examples=60, deadline=None)
def test_uploads_at_once_lose_no_label(uploads: Sequence[tuple[dict[str, int], int, int]], random: Any) -> None:
    """Each row has its newest label for any interleaving of reads and writes of several uploads of one call."""
    shelf, call = _Shelf(), name_call(BATCH, NOW)
    NamedCalls(shelf, bucket="captures", endpoint="demand-forecast").put([call], at=NOW)  # type: ignore[arg-type]
    newest: dict[str, int] = {}
    for number, (minutes, late, unseen) in enumerate(uploads):
        shelf.seen = max(1, len(shelf.written) - unseen)
        shelf.at = NOW + timedelta(hours=6 + late, minutes=number)
        # a label is when it became known, so that the right one is the largest
        known = {name: NOW + timedelta(minutes=minute) for name, minute in minutes.items()}
        texts = {name: str(minute) for name, minute in minutes.items()}
        labels = CheckedLabels(texts=texts, rows=len(texts), nulls=0, repeated=0, known=known)
        LabelStore(shelf, bucket="captures", endpoint="demand-forecast").put(labels, now=shelf.at)  # type: ignore[arg-type]
        newest |= {name: max(minute, newest.get(name, 0)) for name, minute in minutes.items()}
    read = shelf.labels()
    random.shuffle(read)
    rows = join(read, [LINES.call("1\n2\n3", "0\n1\n2", inference_id=call.inference_id)]).labelled
    assert {BATCH[int(row)]: label for row, label in zip(rows.prediction, rows.label, strict=True)} == newest
