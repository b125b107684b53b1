"""Fixtures: a world of one service in two slots, with the real functions of its machine."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.campaign.slots.functions import Handlers, slot_functions, slot_maker
from tests.campaign.slots.world import SlotDeploy


@pytest.fixture(scope="module")
def slot_handlers(current: Any) -> Iterator[Handlers]:
    """The real handlers of the functions in a cluster's environment."""
    with slot_functions(current) as found:
        yield found


@pytest.fixture
def slots(current: Any, slot_handlers: Handlers) -> Callable[..., SlotDeploy]:
    """Make a world with one serving service, with arguments for the account: ``slots(fires="-dead")``."""
    return slot_maker(current, slot_handlers)
