"""Standard error of a process, read completely at the end of an invocation."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlops_local.cloud import Cloud
from mlops_local.functions.log_pipe import LogPipe

HANDLER = """
def handler(event, context):
    for number in range(event["lines"]):
        print(number)
    return event
"""


@dataclass
class Written:
    """A pipe, and the lines read from it."""

    end: int
    pipe: LogPipe
    lines: list[str] = field(default_factory=list)

    def write(self, content: bytes) -> None:
        """Write like a process."""
        os.write(self.end, content)


@pytest.fixture
def written() -> Iterator[Written]:
    """A pipe without a process."""
    lines: list[str] = []
    reader, writer = os.pipe()
    yield Written(writer, LogPipe(reader, lines.append), lines)
    os.close(reader)


def test_what_was_written_is_there_without_waiting(written: Written) -> None:
    """Nothing, one line, then several; an incomplete line waits for its end."""
    written.pipe.take()
    assert written.lines == []
    written.write(b"one\n")
    written.pipe.take()
    assert written.lines == ["one"]
    written.write(b"two\r\n\nthr")
    written.pipe.take()
    assert written.lines == ["one", "two", ""]
    written.write("ee \u00fc\n".encode())
    written.pipe.take()
    assert written.lines == ["one", "two", "", "three \u00fc"]
    os.close(written.end)


def test_a_letter_in_two_parts_is_one(written: Written) -> None:
    """Invalid bytes are shown escaped."""
    whole = "\u00fc\n".encode()
    for part in (whole[:1], whole[1:], b"\xff\n"):
        written.write(part)
        written.pipe.take()
    assert written.lines == ["\u00fc", "\\xff"]
    os.close(written.end)


def test_followed_and_taken_at_once_each_line_comes_once_and_in_order(written: Written) -> None:
    """Including the last incomplete line at the end of the process."""
    follower = threading.Thread(target=written.pipe.follow)
    follower.start()
    for number in range(2000):
        written.write(f"{number}\n".encode())
        written.pipe.take()
        assert len(written.lines) == number + 1
    written.write(b"last")
    os.close(written.end)
    follower.join(timeout=30)
    assert not follower.is_alive()
    written.pipe.take()
    assert written.lines == [*map(str, range(2000)), "last"]


def test_lines_belong_to_the_invocation_that_wrote_them(
    cloud: Cloud, make_function: Callable[..., str], unique: str
) -> None:
    """All lines in order at the response; an invocation without output gets none of another's."""
    make_function(cloud, unique, {"handler.py": HANDLER})
    client, logs, group = cloud.client("lambda"), cloud.client("logs"), f"/aws/lambda/{unique}"
    logs.create_log_group(logGroupName=group)

    def invoke(lines: int) -> None:
        client.invoke(FunctionName=unique, Payload=b'{"lines": %d}' % lines)

    invoke(0)
    invoke(300)
    invoke(0)
    streams = [row["logStreamName"] for row in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    read = [logs.get_log_events(logGroupName=group, logStreamName=stream, limit=1000)["events"] for stream in streams]
    messages = sorted(([event["message"].split()[0] for event in events] for events in read), key=len)
    assert messages == [["START", "END", "REPORT"]] * 2 + [["START", *map(str, range(300)), "END", "REPORT"]]


EMBEDS = """
import json, time

def handler(event, context):
    directive = {"Namespace": event["namespace"], "Dimensions": [["D"]], "Metrics": [{"Name": "M"}]}
    line = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}, "D": "a", "M": 1}
    print(json.dumps(line), flush=True)
    open(event["path"]).read()  # until the line was read
    return {}
"""


def test_metrics_of_a_line_are_of_the_functions_account_and_region(
    cloud: Cloud, make_function: Callable[..., str], wait_for: Callable[..., Any], unique: str, tmp_path: Path
) -> None:
    """Whichever thread reads it: that of the invocation, or the one that follows the running process."""
    place = cloud.at("222222222222", "eu-west-1")
    make_function(place, unique, {"handler.py": EMBEDS})
    pipe, metrics = tmp_path / "pipe", place.client("cloudwatch")
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)  # the function reads until it is closed
    event = json.dumps({"namespace": unique, "path": str(pipe)})
    calls = threading.Thread(target=place.client("lambda").invoke, kwargs={"FunctionName": unique, "Payload": event})
    calls.start()
    try:
        assert wait_for(lambda: metrics.list_metrics(Namespace=unique)["Metrics"])
    finally:
        os.close(writer)
        calls.join(timeout=20)
    assert cloud.client("cloudwatch").list_metrics(Namespace=unique)["Metrics"] == []
