"""Parts of objects compared with the whole's lines, on a real S3 client."""

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.jobs import monitor_parts
from mlops_runtime.jobs.monitor_parts import Part, lines_from, part_lines, parts
from mlops_runtime.monitor.counting.capture_lines import bounded_lines


@pytest.fixture(scope="module")
def s3():
    """Return a bucket of captures."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="captures")
        yield client


@given(
    st.lists(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b'{"b": 1}', b"\x0b", b"\xc3\xa9"]), min_size=1, max_size=30
    ),
    st.integers(1, 12),
)
def test_every_line_is_in_exactly_one_part(s3, pieces, part_bytes):
    """For cuts inside a line, at its end and beyond it, parts give the whole's lines in order."""
    body = b"".join(pieces)
    s3.put_object(Bucket="captures", Key="a", Body=body)
    whole = [line for line in bounded_lines([body]) if line]
    cut = sorted(parts({"a": len(body)}, part_bytes), key=lambda part: part.start)
    assert [part.start for part in cut] == list(range(0, len(body), part_bytes))
    assert [line for part in cut for line in part_lines(s3, "captures", part) if line] == whole


def test_a_part_reads_little_beyond_its_last_line(s3, monkeypatch):
    """One request per part and small ones for the rest of its last line; a line over several chunks is whole."""
    monkeypatch.setattr(monitor_parts, "_CHUNK", 7)
    monkeypatch.setattr(monitor_parts, "_AHEAD", 4)
    monkeypatch.setattr(monitor_parts, "_SOME", 5)
    s3.put_object(Bucket="captures", Key="a", Body=b"one is long\ntwo\nthree\nfour\nfive\n")
    requests = []
    note = lambda params, **_: requests.append(params.get("Range"))  # noqa: E731
    s3.meta.events.register("provide-client-params.s3.GetObject", note)
    assert list(part_lines(s3, "captures", Part("a", 0, 3))) == [b"one is long"]
    assert requests == ["bytes=0-2", "bytes=3-6", "bytes=7-10", "bytes=11-14"]
    requests.clear()
    assert next(lines_from(s3, "captures", "a", 5)) == b"two"
    assert requests == ["bytes=4-8", "bytes=9-13", "bytes=14-18"]
    s3.meta.events.unregister("provide-client-params.s3.GetObject", note)
    assert list(lines_from(s3, "captures", "a", 12)) == [b"two", b"three", b"four", b"five"]
    assert list(part_lines(s3, "captures", Part("a", 3, 13))) == [b"two"]
    assert list(part_lines(s3, "captures", Part("a", 13))) == [b"three", b"four", b"five"]


def test_the_largest_parts_come_first_and_small_objects_are_whole():
    """No large part is left at the end; an empty object is counted once."""
    assert parts({"a": 0, "b": 5, "c": 12}, 10) == [Part("c", 0, 10), Part("b"), Part("c", 10), Part("a")]
    assert [part.is_whole for part in parts({"a": 0, "c": 12}, 10)] == [False, False, True]
