"""Loads a handler as Lambda does: environment first, then the module, with clients that call moto."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


rollout_world = _load("rollout_world", ROOT / "tests/runtime/rollout/world.py")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A new moto account, with the environment that constructs give to functions."""
    for name, value in rollout_world.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with rollout_world.world() as made:
        # moto assigns its own key ids
        key = rollout_world.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        monkeypatch.setenv("SIGNING_KEY", key["Arn"])
        yield made


@pytest.fixture
def load(world: object) -> Callable[[str], Any]:
    """Return the handler module of a function's folder."""
    return lambda folder: _load(f"lambda_{folder}", ROOT / "lambdas" / folder / "handler.py")
