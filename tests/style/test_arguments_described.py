"""Descriptions of arguments in docstrings: complete for the public API, and none that only repeats the argument's name."""

import inspect
import re
from collections.abc import Iterator

import pytest
from tests.style.test_constructs import PUBLIC
from tests.style.test_files import PYTHON, ROOT

import mlops_runtime.client
from mlops_runtime.features.store_client import FeatureStoreClient

_FOLDERS = ("src/", "packages/", "lambdas/", "tools/", "examples/")
_LINE = re.compile(r"^ +\*{0,2}([a-z_][a-z0-9_]*): (.+)\.$", re.MULTILINE)
_FILLERS = {"a", "an", "it", "name", "of", "that", "the", "thi"}  # without a final s, as `_words` returns them
_CLIENT = {name: getattr(mlops_runtime.client, name) for name in mlops_runtime.client.__all__}
_API = {**PUBLIC, **_CLIENT, "FeatureStoreClient": FeatureStoreClient}


def _words(text: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower())}


def _repeats(name: str, description: str) -> bool:
    said = _words(description) - _FILLERS
    return bool(said) and said <= _words(name.replace("_", " "))


def _members(item: object) -> Iterator[tuple[str, object]]:
    """Yield public functions of a class with their names, or the function itself."""
    if not inspect.isclass(item):
        yield "", item
        return
    for name, member in inspect.getmembers(item):
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function) and not name.startswith("_"):
            yield f".{name}", function


@pytest.mark.parametrize(
    ("name", "description", "repeats"),
    [
        ("key", "The key", True),
        ("endpoint", "Name of the endpoint", True),
        ("snapshot_id", "The snapshot", True),
        ("next_state", "Next state", True),
        ("vpc", "The created VPC", False),
        ("manifests", "Kubernetes objects, applied in this order", False),
    ],
)
def test_a_description_that_repeats_the_name_is_found(name: str, description: str, repeats: bool) -> None:
    """Articles, "its" and "name of" add nothing."""
    assert _repeats(name, description) is repeats


def test_no_description_repeats_the_name() -> None:
    """Docstrings describe an argument by its meaning, unit, shape or default, or, if internal, not at all."""
    read = [path for path in PYTHON if str(path.relative_to(ROOT)).startswith(_FOLDERS)]
    found = [
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for path in read
        for match in _LINE.finditer(path.read_text())
        if _repeats(match[1], match[2])
    ]

    assert len(read) > 500
    assert found == []


def test_public_arguments_are_complete() -> None:
    """A section ``Args`` of the public API describes every argument of its function."""
    read, missing = 0, []
    for name, item in _API.items():
        for member, function in _members(item):
            arguments = (inspect.getdoc(function) or "").partition("Args:\n")[2].split("\n\n")[0]
            described = set(re.findall(r"^ {4}\*{0,2}(\w+): ", arguments, re.MULTILINE))
            parameters = set(inspect.signature(function).parameters) - {"self", "cls"} if described else set()
            read += len(parameters)
            missing += [f"{name}{member}({each}=)" for each in sorted(parameters - described)]

    assert read > 400
    assert missing == []
