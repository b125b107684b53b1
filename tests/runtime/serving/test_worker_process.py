"""Requests to a process over a socket; ``test_worker_model.py`` and ``test_metric_function.py`` cover real ones."""

import sys
from pathlib import Path

import pytest

from mlops_runtime.serving.served_model import ModelError, SlowModelError
from mlops_runtime.serving.worker_process import WorkerEndedError, WorkerProcess

PROGRAM = """
import os, socket, struct, sys

wire = socket.socket(fileno=int(sys.argv[1]))
wire.sendall(struct.pack("<qq", 0, 0))
while data := wire.recv(1024):
    match data:
        case b"fail":
            wire.sendall(struct.pack("<qq", -3, 0) + b"why")
        case b"end":
            os._exit(4)
        case b"hang":
            pass
        case _:
            wire.sendall(struct.pack("<qq", len(data), 7) + data)
"""


def test_it_answers_fails_is_slow_and_ends(tmp_path: Path) -> None:
    """Each case has its own error, in the caller's words."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = WorkerProcess("the oracle", program, Path(sys.executable))
    try:
        process.wait(60, 60)
        assert process.call(b"hello") == (b"hello", 7)
        with pytest.raises(ModelError, match=r"^the oracle failed: why$"):
            process.call(b"fail")
        assert process.call(b"again") == (b"again", 7)
        process._wire.settimeout(0.2)
        with pytest.raises(SlowModelError, match=r"the oracle has not responded within 0\.2 s"):
            process.call(b"hang")
        with pytest.raises(WorkerEndedError, match=r"^the oracle's process has ended with code 4; see the log$"):
            process.call(b"end")
    finally:
        process.close()


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the interpreter."""
    with pytest.raises(ModelError, match=r"the oracle's environment cannot run /.*/python: No such file"):
        WorkerProcess("the oracle", tmp_path / "program.py", tmp_path / "python")


def test_a_process_that_ends_while_it_loads_is_named(tmp_path: Path) -> None:
    """With its exit code, though its socket closes before it ends."""
    program = tmp_path / "program.py"
    program.write_text(
        "import socket, sys, time\nsocket.socket(fileno=int(sys.argv[1])).close()\ntime.sleep(0.1)\nsys.exit(5)\n"
    )
    process = WorkerProcess("the oracle", program, Path(sys.executable))
    with pytest.raises(
        WorkerEndedError, match=r"^the oracle's process has ended with code 5 while it loaded; see the log$"
    ):
        process.wait(60, 60)
