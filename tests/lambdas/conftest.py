"""Loads a handler as Lambda does: environment first, then the module, with clients that call moto."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.loaded_module import load_handler
from tests.runtime.rollout import world as rollout_world


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
    return load_handler
