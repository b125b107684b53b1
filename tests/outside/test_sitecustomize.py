"""The hook that keeps the suite on this machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

# 192.0.2.0/24 is reserved for documentation: https://datatracker.ietf.org/doc/html/rfc5737
NOBODY = "192.0.2.1"


def _run(code: str, outside: Path, *options: str) -> tuple[str, list[dict[str, object]]]:
    """Run code in a process like a test's child, and return its last line and the logged connections."""
    outside.touch()
    environment = {**os.environ, "MLOPS_TESTS_OUTSIDE": str(outside)}
    line = [sys.executable, *options, "-c", code]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=60)
    rows = [json.loads(row) for row in outside.read_text().splitlines()]
    return (done.stdout + done.stderr).strip().splitlines()[-1], rows


@pytest.mark.parametrize(
    "code",
    [
        f"import socket; socket.create_connection(('{NOBODY}', 443), timeout=1)",
        f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{NOBODY}', 53))",
        f"import asyncio; asyncio.run(asyncio.open_connection('{NOBODY}', 443))",
        f"import urllib.request; urllib.request.urlopen('http://{NOBODY}/')",
    ],
)
def test_a_connection_is_refused_and_written_down(tmp_path: Path, code: str) -> None:
    """By any API."""
    last, rows = _run(code, tmp_path / "outside")

    assert f"the suite stays on this machine, {NOBODY} is outside" in last
    assert {row["host"] for row in rows} == {NOBODY}
    assert "test_a_connection_is_refused" in str(rows[0]["test"])


def test_a_name_is_not_looked_up(tmp_path: Path) -> None:
    """A DNS query leaves the machine too."""
    last, rows = _run("import socket; socket.getaddrinfo('sts.amazonaws.com', 443)", tmp_path / "outside")

    assert "sts.amazonaws.com is outside" in last
    assert [row["event"] for row in rows] == ["socket.getaddrinfo"]


def test_loopback_is_free(tmp_path: Path) -> None:
    """By each of its names, and sockets of other families."""
    code = """
import socket
a, b = socket.socketpair()
with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    for host in ('127.0.0.1', 'localhost'):
        socket.create_connection((host, port)).close()
print('done')
"""
    assert _run(code, tmp_path / "outside") == ("done", [])


def test_this_process_is_held_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is in the test process; its log for this test goes to a separate file."""
    outside = tmp_path / "outside"
    monkeypatch.setenv("MLOPS_TESTS_OUTSIDE", str(outside))

    with pytest.raises(OSError, match="stays on this machine"):
        socket.create_connection((NOBODY, 443), timeout=1)

    (row,) = [json.loads(line) for line in outside.read_text().splitlines()]
    assert "test_this_process_is_held_too" in row["test"]
