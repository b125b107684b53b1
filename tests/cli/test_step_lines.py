"""Progress of steps: one rewritten line on a terminal; in a pipe a line for each start and end."""

import errno
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlops_cli.step_lines import StepLines


@contextmanager
def terminal() -> Iterator[tuple[StepLines, list[str]]]:
    """Return lines on a terminal of 80 columns, and its content after the block."""
    reader, writer = os.openpty()
    shown: list[str] = []
    with os.fdopen(reader, "rb", buffering=0) as screen:
        with os.fdopen(writer, "w") as stream, StepLines(stream) as lines:
            yield lines, shown
        content = b""
        try:
            while part := screen.read(65536):
                content += part
        except OSError as error:  # Linux's error for a closed pipe
            assert error.errno == errno.EIO
        shown.append(content.decode())


def test_a_terminal_shows_the_running_step_and_its_seconds() -> None:
    """The live line is rewritten while the step runs, and replaced by the line of its end."""
    with terminal() as (lines, shown):
        lines.begin("train")
        time.sleep(0.7)
        lines.say("ok  train: done")

    seconds = [float(found) for found in re.findall(r"\r\.\.\. +(\d+\.\d) s  train", shown[0])]
    assert seconds[0] == 0.0
    assert len(seconds) >= 2
    assert seconds == sorted(seconds)
    assert shown[0].rpartition("\x1b[K")[2] == "ok  train: done\r\n"


def test_a_long_name_does_not_wrap() -> None:
    """Only the last row of a wrapped line could be rewritten."""
    with terminal() as (lines, shown):
        lines.begin("train " * 40)

    assert max(len(part) for part in re.findall(r"\r([^\r\x1b]+)", shown[0])) == 79


def test_a_pipe_gets_plain_lines() -> None:
    """Prints one when a step starts and one when it ends, immediately."""
    pipe = io.StringIO()
    with StepLines(pipe) as lines:
        lines.begin("train")
        assert pipe.getvalue() == "...          train\n"
        lines.say("ok  train: done")

    assert pipe.getvalue() == "...          train\nok  train: done\n"


def test_an_interruption_leaves_no_half_line() -> None:
    """The message starts in place of the live line."""
    with terminal() as (lines, shown), suppress(KeyboardInterrupt):
        lines.begin("train")
        interrupt()

    assert shown[0].endswith("\r\x1b[K")


def interrupt() -> None:
    """End a step as Ctrl-C does."""
    raise KeyboardInterrupt
