"""Fixtures of the campaigns: a world of one endpoint, the real functions of its machines, and the invariant."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.campaign.deploy import Deploy
from tests.campaign.functions import Current, load_handlers, retrain_maker, tables, world_maker
from tests.campaign.retrain import Retrain


@pytest.fixture(scope="module")
def current() -> Iterator[Current]:
    """The current account with moto's tables; both end with the file."""
    with tables() as found:
        yield found


@pytest.fixture(scope="module")
def handlers(current: Current) -> dict[str, Callable[[dict[str, Any], object], Any]]:
    """The real handlers of the Deploy machine's functions."""
    return load_handlers(current)


@pytest.fixture
def deploy(current: Current, handlers: Any) -> Callable[..., Deploy]:
    """Make a world with one serving endpoint, with arguments for the account: ``deploy(update="old")``."""
    return world_maker(current, handlers)


@pytest.fixture
def retrain(current: Current, handlers: Any) -> Callable[..., Retrain]:
    """Make a world with a retraining that holds its lock: ``retrain(verdict="FAILED")``."""
    return retrain_maker(current, handlers)
