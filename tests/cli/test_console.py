"""The verb, in a process of its own against an embedded cloud."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

from mlops_local.cloud import Cloud


def test_the_console_opens_on_this_machine(cloud: Cloud, tmp_path: Path) -> None:
    """It prints an address whose token the API takes, and ends at SIGTERM."""
    command = [sys.executable, "-m", "mlops_cli", "console", "--home", str(cloud.home)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            address = running.stdout.readline().removeprefix("console: ").strip()
            root, _, token = address.partition("#token=")
            connection = http.client.HTTPConnection(root.removeprefix("http://").rstrip("/"), timeout=30)
            connection.request("GET", "/api/v1/me", headers={"Authorization": f"Bearer {token}"})
            me = json.load(connection.getresponse())
            connection.close()
        finally:
            running.terminate()

    assert (me["person"], running.returncode) == ("root", 143)
