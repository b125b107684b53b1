"""Runs the command in this process, ten times as fast as in a child process, which `tests/cli/test_main.py` covers."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest


def call_command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it on a wide terminal: ``call_command("features", "list", AWS_PROFILE="x")``.

    The environment applies to the whole process: clients of other threads need their own keys and endpoint, as those of
    ``Cloud.client``, and no other thread prints.
    """
    from mlops_cli.__main__ import main

    # some commands write bytes directly
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        for name, value in {"COLUMNS": "300", **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["mlops", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    printed = [stream.buffer.getvalue().decode() for stream in (output, errors)]
    return subprocess.CompletedProcess(["mlops", *map(str, arguments)], code, *printed)
