"""VPC links to load balancers."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.local.gateway.conftest import Api, Front

SUBNETS = ["subnet-00000001", "subnet-00000002"]
WAIT = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture(scope="module")
def balancer(front: Front) -> Iterator[dict[str, Any]]:
    """Make a private load balancer that answers one path."""
    client = front.cloud.client("elbv2")
    made = client.create_load_balancer(Name="private", Subnets=SUBNETS, Scheme="internal")["LoadBalancers"][0]

    def fixed(status: str) -> list[dict[str, Any]]:
        given = {"StatusCode": status, "ContentType": "text/plain", "MessageBody": f"private {status}"}
        return [{"Type": "fixed-response", "FixedResponseConfig": given}]

    listener = client.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"], Port=80, Protocol="HTTP", DefaultActions=fixed("404")
    )["Listeners"][0]["ListenerArn"]
    path = [{"Field": "path-pattern", "Values": ["/live/predict"]}]
    client.create_rule(ListenerArn=listener, Priority=1, Conditions=path, Actions=fixed("200"))
    yield {**made, "ListenerArn": listener}
    client.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])


def link(front: Front, name: str, **properties: Any) -> str:
    """Make a link by a stack, and return its id."""
    client = front.cloud.client("cloudformation")
    given = {"Name": name, "SubnetIds": SUBNETS, **properties}
    resources = {"Link": {"Type": "AWS::ApiGatewayV2::VpcLink", "Properties": given}}
    template = {"Resources": resources, "Outputs": {"Id": {"Value": {"Ref": "Link"}}}}
    client.create_stack(StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING")
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAIT)
    return str(client.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"])


@pytest.mark.parametrize("target", ["LoadBalancerArn", "ListenerArn"])
def test_a_link_reaches_a_private_load_balancer(
    front: Front, make_api: Callable[..., Api], balancer: dict[str, Any], target: str, wait_for: Callable[..., Any]
) -> None:
    """The stage is part of the path that the load balancer sees."""
    identifier = link(front, f"link-{target}")
    api = make_api()
    for path in ("/predict", "/other"):
        api.method(
            path, {}, type="HTTP_PROXY", connectionType="VPC_LINK", connectionId=identifier,
            integrationTarget=balancer[target], uri=f"http://{balancer['DNSName']}{path}",
        )  # fmt: skip
    api.deploy()
    wait_for(lambda: api.call("/predict").status == 200)
    assert api.call("/predict").body == b"private 200"
    assert api.call("/other").body == b"private 404"
    front.cloud.client("cloudformation").delete_stack(StackName=f"link-{target}")
    wait_for(lambda: api.call("/predict").status == 500)


def test_a_link_in_a_network_that_is_not_there_is_refused(front: Front) -> None:
    """Its stack fails, and says which subnet."""
    with pytest.raises(WaiterError):
        link(front, "lost", SubnetIds=["subnet-gone"])
    events = front.cloud.client("cloudformation").describe_stack_events(StackName="lost")["StackEvents"]
    assert any("subnet-gone" in event.get("ResourceStatusReason", "") for event in events)
