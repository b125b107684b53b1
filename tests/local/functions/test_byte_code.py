"""Byte code of a function's own modules, and which module a process loads."""

import json
import shutil
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
