"""Checks for a MiniStack other than the one our modules require."""

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_local import compat

EXPECTED = {(module, name) for module, names in tomllib.loads(compat.NAMES).items() for name in names}


def test_accepts_the_pinned_version() -> None:
    """Passes when every name has its signature or type."""
    compat.check("""
        ["ministack.services.stepfunctions"]
        _scaled_sleep = "(seconds)"
        _SERVICE_DISPATCH = "dict"
    """)


def test_fails_with_every_difference_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line has version, missing names, other signatures and other kinds, with the fix."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.6.0")
    with pytest.raises(compat.CompatError) as caught:
        compat.check("""
            ["ministack.services.stepfunctions"]
            _gone = "()"
            _scaled_sleep = "(seconds, scale)"
            _SERVICE_DISPATCH = "()"
            _executions = "dict"

            ["ministack.services.gone"]
            name = "()"
        """)
    sfn = "ministack.services.stepfunctions"
    assert str(caught.value) == (
        "ministack 1.6.0 does not fit: version must be 1.5.33, got 1.6.0; "
        f"{sfn}._gone is missing; "
        f"{sfn}._scaled_sleep must be a function (seconds, scale), got (seconds); "
        f"{sfn}._SERVICE_DISPATCH must be a function (), got dict; "
        f"{sfn}._executions must be a dict, got AccountRegionScopedDict; "
        "ministack.services.gone.name is missing; "
        "install mlops-local again"
    )


def test_fails_when_a_name_is_expected_as_two_things() -> None:
    """A name has one kind."""
    with pytest.raises(tomllib.TOMLDecodeError, match="Cannot overwrite a value"):
        compat.check("""
            ["ministack.services.sqs"]
            _queues = "object"
            _queues = "dict"
        """)


def private_names(path: Path) -> Iterator[tuple[str, str]]:
    """Return the private names of MiniStack that a module of ours uses."""
    tree = ast.parse(path.read_text())
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ministack"):
            for alias in node.names:
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if alias.name.startswith("_"):
                    yield str(node.module), alias.name
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
            and node.attr.startswith("_")
        ):
            yield modules[node.value.id], node.attr


def test_every_private_name_is_expected() -> None:
    """A private name of MiniStack that is not checked at the start would fail in the middle of an operation."""
    package = Path(compat.__file__).parent
    used = {name for path in package.rglob("*.py") for name in private_names(path)}
    assert len(used) > 50
    assert sorted(used - EXPECTED) == []


# called as values of EC2's _ACTION_MAP
BY_ACTION = {"_create_vpc", "_create_vpc_endpoint"}


def test_every_expected_name_is_used() -> None:
    """A name that no module uses any more needs no check."""
    package = Path(compat.__file__).parent
    words = {word for path in package.rglob("*.py") for word in re.findall(r"\w+", path.read_text())}
    assert {name for _, name in EXPECTED} - words == BY_ACTION
