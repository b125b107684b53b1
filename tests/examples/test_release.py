"""Three units on one embedded cloud: deployed together, two of them through their loops; `mlops demo` covers the third."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from examples.retail.demo import UNITS
from examples.retail.release import travel
from examples.retail.steps import Missed, Trip
from examples.retail.transactions import week_start

from mlops_cli.stacks import synthesize_app
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

# one cloud has one clock: the second trip begins at the end of the first
FIRST = {"dynamic_pricing": 31, "customer_behavior": 33}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_cloud.Cloud]:
    """Start an embedded cloud at the first live week."""
    cloud = local_cloud.up(tmp_path_factory.mktemp("release") / "cloud", clock_scale=120.0)
    cloud.clock_jump(to=week_start(min(FIRST.values())))
    yield cloud
    cloud.down(forget=True)


@pytest.fixture(scope="module")
def outputs(running: local_cloud.Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Deploy the three stacks together, on the network of the platform, and return the units' outputs."""
    assembly: Path = tmp_path_factory.mktemp("release") / "assembly"
    synthesize_app(None, assembly)
    chosen = [replay.stack for replay, _ in UNITS.values()]
    return {
        stack: values for stack, values in deployer.deploy(running, assembly, stacks=chosen).items() if stack in chosen
    }


def test_three_stacks_deploy_together(outputs: dict[str, dict[str, str]]) -> None:
    """Each has its own endpoint, bus and buckets."""
    assert {stack: values["EndpointName"] for stack, values in outputs.items()} == {
        "CustomerBehavior": "customer-propensity",
        "DemandForecasting": "demand-forecast",
        "DynamicPricing": "pricing-elasticity",
    }
    for name in ("EventBus", "ArtifactsBucket", "AuditBucket", "RolloutTable", "ApproverRoleArn"):
        assert len({values[name] for values in outputs.values()}) == 3


@pytest.mark.campaign  # a trip takes a minute or two; the demo's is in the default suite
@pytest.mark.parametrize("unit", FIRST)
def test_a_unit_goes_around_its_loop(unit: str, running: local_cloud.Cloud, outputs: dict[str, dict[str, str]]) -> None:
    """Trained, approved, served, captured and monitored, retrained and promoted in steps; two bad models do not stay."""
    replay, _ = UNITS[unit]
    trip = Trip(replace(replay, first=FIRST[unit]), lambda _line: None)
    if trip_starts_later(running, FIRST[unit]):
        running.clock_jump(to=week_start(FIRST[unit]))
    trip.meet(running, outputs[replay.stack])
    try:
        trip.ingest()
        travel(trip, count=1)
    except Missed:
        pass

    assert [f"{row.name}: {row.detail}" for row in trip.result.rows if not row.ok] == []
    before = ["UNCHANGED", *(["REFUSED"] if replay.is_manual else [])]
    chain = [*before, "PROMOTED", "PROMOTED", "REFUSED", "ROLLED_BACK"]
    assert [record.outcome.value for record in trip.loop.audit()] == chain
    assert trip.loop.lock_owner() is None
    (week,) = trip.result.weeks
    assert week.loss < week.naive_loss


def trip_starts_later(running: local_cloud.Cloud, week: int) -> bool:
    """Return whether the clock must still advance to a week."""
    return running.clock()["now"] < week_start(week).isoformat()
