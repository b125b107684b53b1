"""VPC links to load balancers."""

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.local.gateway.conftest import Api, Front

SUBNETS = ["subnet-00000001", "subnet-00000002"]
WAIT = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture(scope="module")
def balancer(front: Front) -> Iterator[dict[str, Any]]:
    """Make a private load balancer that responds to one path."""
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
    """Make a link with a stack, and return its id."""
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
    """The path at the load balancer includes the stage."""
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
    """Its stack fails with the subnet's name."""
    with pytest.raises(WaiterError):
        link(front, "lost", SubnetIds=["subnet-gone"])
    events = front.cloud.client("cloudformation").describe_stack_events(StackName="lost")["StackEvents"]
    assert any("subnet-gone" in event.get("ResourceStatusReason", "") for event in events)


def group(front: Front, name: str, *, open_out: bool = False) -> str:
    """Make a security group of the network; without ``open_out`` it has no egress."""
    client = front.cloud.client("ec2")
    network = client.describe_subnets(SubnetIds=SUBNETS)["Subnets"][0]["VpcId"]
    made = str(client.create_security_group(GroupName=name, Description=name, VpcId=network)["GroupId"])
    if not open_out:
        every = client.describe_security_groups(GroupIds=[made])["SecurityGroups"][0]["IpPermissionsEgress"]
        client.revoke_security_group_egress(GroupId=made, IpPermissions=every)
    return made


def test_a_link_needs_rules_to_its_load_balancer(front: Front, make_api: Callable[..., Api]) -> None:
    """Egress from its own group, and ingress to the load balancer's."""
    client = front.cloud.client("ec2")
    own, other = group(front, "link"), group(front, "balancer", open_out=True)
    elb = front.cloud.client("elbv2")
    made = elb.create_load_balancer(Name="closed", Subnets=SUBNETS, Scheme="internal", SecurityGroups=[other])
    arn = made["LoadBalancers"][0]["LoadBalancerArn"]
    fixed = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "open"}
    answer = [{"Type": "fixed-response", "FixedResponseConfig": fixed}]
    elb.create_listener(LoadBalancerArn=arn, Port=80, Protocol="HTTP", DefaultActions=answer)
    api = make_api()
    api.method(
        "/predict", {}, type="HTTP_PROXY", connectionType="VPC_LINK", uri=f"http://{made['LoadBalancers'][0]['DNSName']}/predict",
        connectionId=link(front, "closed-link", SecurityGroupIds=[own]), integrationTarget=arn,
    )  # fmt: skip
    api.deploy()
    try:
        assert api.call("/predict").status == 500
        rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
        out = [{**rule, "UserIdGroupPairs": [{"GroupId": other}]}]
        client.authorize_security_group_egress(GroupId=own, IpPermissions=out)
        assert api.call("/predict").status == 500
        of_another_port = [{**rule, "ToPort": 79, "FromPort": 79, "UserIdGroupPairs": [{"GroupId": own}]}]
        client.authorize_security_group_ingress(GroupId=other, IpPermissions=of_another_port)
        assert api.call("/predict").status == 500
        client.authorize_security_group_ingress(
            GroupId=other, IpPermissions=[{**rule, "UserIdGroupPairs": [{"GroupId": own}]}]
        )
        assert api.call("/predict").body == b"open"
    finally:
        elb.delete_load_balancer(LoadBalancerArn=arn)


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("https://models.example.com:443/predict", 200),
        ("https://forecast.models.example.com/predict", 200),
        ("https://a.b.models.example.com/predict", 500),
        ("https://other.example.com/predict", 500),
        ("http://models.example.com:443/predict", 500),
    ],
)
def test_a_certificate_has_the_name_of_the_integration(
    front: Front, make_api: Callable[..., Api], uri: str, status: int
) -> None:
    """An asterisk matches one label; an HTTPS listener is called with HTTPS."""
    names = {"DomainName": "models.example.com", "SubjectAlternativeNames": ["*.models.example.com"]}
    certificate = front.cloud.client("acm").request_certificate(**names)["CertificateArn"]
    elb = front.cloud.client("elbv2")
    made = elb.create_load_balancer(Name="secure", Subnets=SUBNETS, Scheme="internal")["LoadBalancers"][0]
    fixed = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "secure"}
    elb.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"], Port=443, Protocol="HTTPS",
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": fixed}],
    )  # fmt: skip
    api = make_api()
    api.method(
        "/predict", {}, type="HTTP_PROXY", connectionType="VPC_LINK", uri=uri,
        connectionId=link(front, f"secure-{zlib.crc32(uri.encode())}"), integrationTarget=made["LoadBalancerArn"],
    )  # fmt: skip
    api.deploy()
    try:
        assert api.call("/predict").status == status
    finally:
        elb.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
