"""Parts of objects against the lines of the whole, on a real S3 client."""

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.jobs import monitor_parts
from mlops_runtime.jobs.monitor_parts import Part, part_lines, parts
from mlops_runtime.monitor.capture import bounded_lines


@pytest.fixture(scope="module")
def s3():
    """Give a bucket of captures."""
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
    """Wherever the cuts fall, also inside a line, on its end, and beyond it: the lines of the whole, in their order."""
    body = b"".join(pieces)
    s3.put_object(Bucket="captures", Key="a", Body=body)
    whole = [line for line in bounded_lines([body]) if line]
    cut = sorted(parts({"a": len(body)}, part_bytes), key=lambda part: part.start)
    assert [part.start for part in cut] == list(range(0, len(body), part_bytes))
    assert [line for part in cut for line in part_lines(s3, "captures", part) if line] == whole


def test_a_part_reads_no_more_than_its_lines_need(s3, monkeypatch):
    """What comes after the part's last line is never fetched; a line that spans chunks is whole."""
    monkeypatch.setattr(monitor_parts, "_CHUNK", 7)
    s3.put_object(Bucket="captures", Key="a", Body=b"one is long\ntwo\nthree\n")
    lines = part_lines(s3, "captures", Part("a", 0, 3))
    assert next(lines) == b"one is long"
    assert list(lines) == []
    assert list(part_lines(s3, "captures", Part("a", 3, 13))) == [b"two"]
    assert list(part_lines(s3, "captures", Part("a", 13))) == [b"three"]


def test_the_largest_parts_come_first_and_small_objects_are_whole():
    """So that no process is left with a large part at the end; an empty object is still counted once."""
    assert parts({"a": 0, "b": 5, "c": 12}, 10) == [Part("c", 0, 10), Part("b"), Part("c", 10), Part("a")]
    assert [part.is_whole for part in parts({"a": 0, "c": 12}, 10)] == [False, False, True]
