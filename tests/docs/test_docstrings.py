"""The examples of all docstrings run and print the documented output."""

import ast
import doctest
import importlib
from pathlib import Path

import boto3
import pytest
from tests.docs.given import Given

from mlops_runtime.layers import layer_wheels

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    ".".join(path.relative_to(folder).with_suffix("").parts)
    for folder in (ROOT / "src", *sorted(ROOT.glob("packages/*/src")))
    for path in sorted(folder.rglob("*.py"))
    if "templates" not in path.parts and ">>> " in path.read_text()
]


def _taken_as_given(example: doctest.DocTest) -> set[str]:
    """Return the names that an example uses without defining."""
    source = "".join(each.source for each in example.examples if not each.options.get(doctest.SKIP))
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    defined = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - defined - set(example.globs)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example runs in its own folder, and in its own stack if it defines constructs."""
    monkeypatch.chdir(tmp_path)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # clients that send no request
        monkeypatch.setenv(variable, "none")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # boto3 keeps the first session's keys
    module = importlib.import_module(name)
    examples = [each for each in doctest.DocTestFinder(exclude_empty=True).find(module, name) if each.examples]
    wrong: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in examples:
        if name.startswith("mlops_constructs"):
            given = Given(tmp_path)
            _stand_in_for_wheels(tmp_path, monkeypatch)
            names = [each for each in _taken_as_given(example) if hasattr(Given, each) or each in vars(given)]
            example.globs.update({each: getattr(given, each) for each in names})
        runner.run(example, out=wrong.append)

    assert examples != []
    assert wrong == [], "".join(wrong)


def _stand_in_for_wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write empty files in place of the wheels of ``mlops assets build``, which constructs copy."""
    monkeypatch.setattr(layer_wheels, "ASSETS", folder / "assets")
    (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True, exist_ok=True)
    layer_wheels.glue_archive_path("features").parent.mkdir(parents=True, exist_ok=True)
    layer_wheels.glue_archive_path("features").write_bytes(b"wheels")
