"""What a process writes on its standard error, read whole when an invocation is over."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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
    """A pipe, and what came out of it."""

    end: int
    pipe: LogPipe
    lines: list[str] = field(default_factory=list)

    def write(self, content: bytes) -> None:
        """Write as a process does."""
        os.write(self.end, content)


@pytest.fixture
def written() -> Iterator[Written]:
    """A pipe without a process."""
    lines: list[str] = []
    reader, writer = os.pipe()
    yield Written(writer, LogPipe(reader, lines.append), lines)
    os.close(reader)


def test_what_was_written_is_there_without_waiting(written: Written) -> None:
    """Nothing, one line, then several; what has no end yet waits for it."""
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
    """And bytes that are no text are shown."""
    whole = "\u00fc\n".encode()
    for part in (whole[:1], whole[1:], b"\xff\n"):
        written.write(part)
        written.pipe.take()
    assert written.lines == ["\u00fc", "\\xff"]
    os.close(written.end)


def test_followed_and_taken_at_once_each_line_comes_once_and_in_order(written: Written) -> None:
    """The last one without an end too, when the process is over."""
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
    """All of them, and in order, when it is answered; one that wrote nothing has none of another's."""
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
