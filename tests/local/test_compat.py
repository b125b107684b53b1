"""Checks for a MiniStack other than the one our modules require."""

import ast
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_local import compat


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without expected names."""
    monkeypatch.setattr(compat, "_SEAMS", {})


@pytest.mark.usefixtures("seams")
def test_accepts_the_pinned_version() -> None:
    """Passes when every name has its signature or type."""
    compat.expect("ministack.services.stepfunctions", _scaled_sleep="(seconds)", _SERVICE_DISPATCH=dict)
    compat.check()


@pytest.mark.usefixtures("seams")
def test_fails_with_every_difference_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line has version, missing names, other signatures and other kinds, with the fix."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.6.0")
    compat.expect(
        "ministack.services.stepfunctions",
        _gone="()",
        _scaled_sleep="(seconds, scale)",
        _SERVICE_DISPATCH="()",
        _executions=dict,
    )
    compat.expect("ministack.services.gone", name="()")
    with pytest.raises(compat.CompatError) as caught:
        compat.check()
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


@pytest.mark.usefixtures("seams")
def test_fails_when_two_modules_expect_different_things() -> None:
    """Two of our modules must agree on a name's kind."""
    compat.expect("ministack.services.sqs", _queues=object)
    with pytest.raises(compat.CompatError, match=r"ministack\.services\.sqs\._queues is expected as"):
        compat.expect("ministack.services.sqs", _queues=dict)


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
    from mlops_local import launcher

    package = Path(launcher.__file__).parent
    used = {name for path in package.rglob("*.py") for name in private_names(path)}
    assert len(used) > 50
    assert sorted(used - set(compat._SEAMS)) == []
