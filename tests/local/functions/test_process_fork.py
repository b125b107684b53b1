"""Byte code of a function's own modules; processes forked after imports, and which module a process loads."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import mlops_runtime
from mlops_local.functions.function_processes import ForkServer

_SCRIPT = """
import builtins, json, os, sys
folder, compiled, compiles = os.getcwd(), [], compile
def noted(source, name, *rest, **options):
    compiled.append(str(name))
    return compiles(source, name, *rest, **options)
builtins.compile = noted
sys.path.insert(0, folder)
import mlops_runtime.wildcards as wildcards
print(json.dumps({
    "compiled": [os.path.relpath(name, folder) for name in compiled if name.startswith(folder)],
    "file": os.path.relpath(wildcards.__file__, folder),
    "functions": [os.path.relpath(wildcards.matches.__code__.co_filename, folder)],
    "matches": wildcards.matches("a*", "b"),
    "beside": sorted(str(path) for path, _, _ in os.walk(folder) if path.endswith("__pycache__")),
}))
"""
_MODULE = "mlops_runtime/wildcards.py"


@pytest.mark.parametrize("is_changed", [False, True])
def test_installed_modules_are_not_compiled_again(tmp_path: Path, *, is_changed: bool) -> None:
    """A file equal to the installed one uses its byte code under its own name; a different file is compiled itself."""
    installed = Path(mlops_runtime.__file__).parent
    (tmp_path / "mlops_runtime").mkdir()
    for name in ("__init__.py", "wildcards.py"):
        shutil.copy(installed / name, tmp_path / "mlops_runtime" / name)
    if is_changed:
        with (tmp_path / _MODULE).open("a") as file:
            file.write("\n\ndef matches(pattern: str, value: str) -> str:\n    return value\n")
    script = tmp_path / "_worker.py"
    script.write_text(_SCRIPT)
    server = ForkServer()
    try:
        process = server.start(str(script), folder=str(tmp_path), environment={})
        found = json.loads(process.stdout.readline() or process.stderr.read())
        assert process.wait(timeout=30) == 0
    finally:
        server.close()

    assert found["compiled"] == [_MODULE] * is_changed
    assert (found["file"], found["functions"]) == (_MODULE, [_MODULE])
    assert found["matches"] == ("b" if is_changed else False)
    assert found["beside"] == []  # the folder is deleted with the process, so byte code there is useless


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
