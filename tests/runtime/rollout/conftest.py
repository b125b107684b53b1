"""Credentials without access, and the world of ``world.py``."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.runtime.rollout import world as rollout_world


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def world(_nobody: None) -> Iterator[Any]:
    """Return a new moto world."""
    with rollout_world.world() as made:
        yield made


@pytest.fixture
def promoted(world: Any) -> tuple[Any, Any]:
    """Return a world in which execution ``one`` has the lock and its config serves, and the claim of that."""
    package = world.package()
    world.version("demand-forecast-00000002", package)
    world.serve("demand-forecast-00000002")
    world.lock()
    return world, rollout_world.claim_of(world, "demand-forecast-00000002", package)
