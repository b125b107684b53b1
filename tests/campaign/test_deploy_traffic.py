"""An update of SageMaker's whose metrics are missing, late, or bad on both fleets: the record says what serves and why."""

from typing import Any

import pytest
from tests.campaign.traffic import CASES, check_end

_UPDATE_SECONDS = 840.0


@pytest.mark.parametrize("case", CASES)
def test_an_update_ends_well(deploy: Any, case: str) -> None:
    """On SageMaker, whose fleet is judged at the latest before it is promoted."""
    traffic, outcome, why = CASES[case]
    world = deploy(duration=_UPDATE_SECONDS, traffic=traffic)
    traffic.account = world.account
    check_end(world, world.run(), outcome, why)
