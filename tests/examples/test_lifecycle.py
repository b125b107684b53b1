"""A seeded sample of the campaign of `tests/campaign/lifecycle/`: stacks fail during creation, update and deletion.

An update changes every resource. After each failure the stack is unchanged or deleted, no custom resource hit its ServiceTimeout,
no resource without an event is left, and finally the stack is created and deleted again.
"""

from pathlib import Path

import pytest
from tests.campaign.lifecycle.cells import CREATE, DELETE, UPDATE, cells, sample
from tests.campaign.lifecycle.world import Lifecycle

from mlops_local import cloud as local_cloud

pytestmark = pytest.mark.cloud

COUNTS = {CREATE: 2, UPDATE: 2, DELETE: 1}
SEED = 20261128


@pytest.mark.parametrize(
    ("stack", "profile"),
    [
        ("FirstEndpoint", "production"),
        ("FirstService", "development"),
        pytest.param("FirstEndpoint", "development", marks=pytest.mark.campaign),
    ],
)
def test_a_stack_outlives_its_failures(stack: str, profile: str, tmp_path: Path) -> None:
    """Each case reports deviations; the last creation and deletion are complete."""
    cloud = local_cloud.up(tmp_path / "cloud")
    try:
        world = Lifecycle(cloud, tmp_path, stack, profile)
        chosen = sample(cells(stack, profile, world.resources()), COUNTS, SEED)
        results = [world.run(cell) for cell in chosen]
        last = world.finish()
    finally:
        cloud.down(forget=True)

    assert {result["key"]: result["problems"] for result in results if result["problems"]} == {}
    assert last == []
    assert sum(result["calls"] for result in results) > 0
    assert max(result["longest"] for result in results) < 1
    reached = [result for result in results if result["property"] is not None]
    assert [result["outcome"] for result in reached] == ["UPDATE_ROLLBACK_COMPLETE"] * len(reached)
    # in production resources with data are retained, and the rollback names them
    ends = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED"} if profile == "production" else {"ROLLBACK_COMPLETE"}
    assert {result["outcome"] for result in results[: COUNTS[CREATE]]} <= ends
