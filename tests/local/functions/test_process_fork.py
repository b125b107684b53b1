"""Isolation of a forked process from its siblings, and shared botocore data."""

import socket
import subprocess
import sys
from pathlib import Path

from mlops_local.functions.function_processes import ForkServer


def test_it_ends_with_the_other_end_of_its_socket() -> None:
    """When the embedded cloud is killed, no process is left behind."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "mlops_local.functions.process_fork", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    assert process.wait(timeout=60) == 0


def test_a_process_holds_nothing_of_another(tmp_path: Path) -> None:
    """Its input closes with the cloud's end although a sibling was forked meanwhile; botocore's files are not read again."""
    script = tmp_path / "_worker.py"
    script.write_text(
        "import os, sys, boto3, botocore.loaders\n"
        "botocore.loaders.Loader._potential_locations = None\n"  # the search path of its files
        "boto3.client('s3', endpoint_url='http://127.0.0.1:1')\n"
        "print(sorted(int(name) for name in os.listdir('/proc/self/fd'))[:-1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = ForkServer()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-central-1"}
    try:
        processes = [server.start(str(script), folder=str(tmp_path), environment=keys) for _ in range(3)]
        assert [process.stdout.readline() for process in processes] == ["[0, 1, 2]\n"] * 3
        for process in processes:  # the first has two living siblings that were forked later
            process.stdin.close()
            assert process.wait(timeout=10) == 0
    finally:
        server.close()
