"""The stack is created, updated, updated with a failure and deleted during a rollout: nothing waits, nothing fails."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.examples.test_rollouts import NAME, Shop

from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_local.stacks.deployer import DeployError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

STACK = "Rollouts"
LONGEST = 600  # seconds of the embedded clock
SLOW = 40.0  # a deployment in real seconds fits well into a rollout
FAST = 120.0  # what precedes and follows is only awaited


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Deploy the stack; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("changes")
    cloud = local_cloud.up(folder / "cloud", clock_scale=FAST)
    try:
        yield Shop(cloud, folder)
    finally:
        cloud.down(forget=True)


def made(shop: Shop) -> Path:
    """Return the assembly of the stack's first deployment."""
    return shop.folder / "linear" / "assembly"


def changed(shop: Shop, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy the assembly of the stack and change its template."""
    assembly = shutil.copytree(made(shop), shop.folder / name)
    path = assembly / f"{STACK}.template.json"
    template = json.loads(path.read_text())
    change(template)
    path.write_text(json.dumps(template))
    return assembly


def spec_of(template: dict[str, Any]) -> dict[str, Any]:
    """Return the resource with the endpoint's serving spec."""
    (resource,) = (r for r in template["Resources"].values() if r["Type"] == "Custom::MLOpsServingSpec")
    found: dict[str, Any] = resource["Properties"]
    return found


def more_instances(template: dict[str, Any]) -> None:
    """Serve on four instances instead of two."""
    pieces = spec_of(template)["Spec"]["Fn::Join"][1]
    more = [p.replace('"instance_count":2', '"instance_count":4') if isinstance(p, str) else p for p in pieces]
    assert more != pieces
    pieces[:] = more


def more_and_broken(template: dict[str, Any]) -> None:
    """The same, followed by a resource that cannot be created."""
    more_instances(template)
    (spec,) = (name for name, r in template["Resources"].items() if r["Type"] == "Custom::MLOpsServingSpec")
    template["Resources"]["Broken"] = {
        "Type": "AWS::EC2::FlowLog",
        "DependsOn": [spec],
        "Properties": {"ResourceType": "VPC"},
    }


def instances(shop: Shop) -> int:
    """Return the number of serving instances."""
    (variant,) = shop.loop.sagemaker.describe_endpoint(EndpointName=NAME)["ProductionVariants"]
    return int(variant["CurrentInstanceCount"])


def while_rolling_out(shop: Shop, factor: float, act: Callable[[], None]) -> None:
    """Approve a model, run a function once its rollout shifts traffic, and wait until nothing runs."""
    package = shop.register(factor)
    shop.loop.approve(package, "a person looked at it")
    with shop.loop.traffic([{"x": 2.0}], f"changes-{factor}"):
        shop.until_updating()
        shop.cloud.clock_scale(SLOW)
        before = shop.cloud.clock()["epoch"]
        act()
        assert shop.cloud.clock()["epoch"] - before <= LONGEST
        assert shop.loop.sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"] == "Updating"
        shop.cloud.clock_scale(FAST)
        shop.loop.wait_idle("DeployMachineArn")


def test_an_update_is_accepted_and_comes_after_the_rollout(shop: Shop) -> None:
    """The promoted model serves with the spec that was queued during its rollout."""
    shop.approve(3.0)

    while_rolling_out(shop, 4.0, lambda: deployer.deploy(shop.cloud, changed(shop, "more", more_instances)) and None)

    assert shop.ask() == pytest.approx(8.0)
    assert instances(shop) == 4
    assert shop.leftovers() == []


def test_an_update_that_fails_leaves_the_spec_before_and_the_promoted_model(shop: Shop) -> None:
    """CloudFormation rolls its stack back; the rollout of the model is unaffected."""
    deployer.deploy(shop.cloud, made(shop))
    shop.loop.wait_idle("DeployMachineArn")
    assert instances(shop) == 2

    def fail() -> None:
        with pytest.raises(DeployError, match="UPDATE_ROLLBACK_COMPLETE"):
            deployer.deploy(shop.cloud, changed(shop, "broken", more_and_broken))

    while_rolling_out(shop, 5.0, fail)

    assert shop.ask() == pytest.approx(10.0)
    assert instances(shop) == 2
    assert shop.leftovers() == []


def test_two_approvals_at_once_are_rolled_out_one_after_the_other(shop: Shop) -> None:
    """The second waits for the lock; the newer one serves at the end, and both are recorded."""
    before = len(shop.loop.audit())

    while_rolling_out(shop, 6.0, lambda: shop.loop.approve(shop.register(7.0), "a person looked at it"))

    assert shop.ask() == pytest.approx(14.0)
    assert [r.outcome for r in shop.loop.audit()[before:]] == ["PROMOTED", "PROMOTED"]
    assert shop.leftovers() == []


def test_a_delete_stops_the_rollout_and_leaves_nothing(shop: Shop) -> None:
    """Endpoint, versions and alarms are deleted with the stack."""
    package = shop.register(8.0)
    shop.loop.approve(package, "a person looked at it")
    with shop.loop.traffic([{"x": 2.0}], "delete"):
        shop.until_updating()
    shop.cloud.clock_scale(SLOW)
    before = shop.cloud.clock()["epoch"]

    deployer.destroy(shop.cloud, made(shop))

    assert shop.cloud.clock()["epoch"] - before <= LONGEST
    sagemaker = shop.loop.sagemaker
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
    assert [name for name in shop.loop.alarms() if name.startswith(f"{NAME}-rollout-")] == []
