"""Custom resources: missing and late responses, and CloudFormation's timeout."""

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local.stacks.custom_resources import Answer, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER = """
import json, urllib.request

def handler(event, context):
    answer = {"Status": "SUCCESS", "PhysicalResourceId": "thing", "RequestId": event["RequestId"], "StackId": event["StackId"],
              "LogicalResourceId": event["LogicalResourceId"]}
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=5).close()
"""
SILENT = "def handler(event, context):\n    return None\n"
BROKEN = "def handler(event, context):\n    raise ValueError('no model')\n"


def _resources(code: str, network: bool = False, **properties: Any) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    interfaces = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": interfaces, "Resource": "*"}]}
    role = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "Policies": [{"PolicyName": "Interfaces", "PolicyDocument": policy}]}  # fmt: skip
    function: dict[str, Any] = {"Runtime": "python3.13", "Handler": "index.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": code}, "Timeout": 10}  # fmt: skip
    vpc = {"Ref": "Vpc"}
    made: dict[str, Any] = {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.3.0.0/16"}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": vpc, "CidrBlock": "10.3.0.0/24"}},
        "Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": vpc}},
        "Routes": {"Type": "AWS::EC2::SubnetRouteTableAssociation",
                   "Properties": {"SubnetId": {"Ref": "Subnet"}, "RouteTableId": {"Ref": "Table"}}},
        "Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "functions", "VpcId": vpc}},
        "S3": {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcId": vpc, "RouteTableIds": [{"Ref": "Table"}],
               "VpcEndpointType": "Gateway", "ServiceName": {"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"}}},
    } if network else {}  # fmt: skip
    if network:
        function["VpcConfig"] = {
            "SubnetIds": [{"Ref": "Subnet"}],
            "SecurityGroupIds": [{"Fn::GetAtt": ["Group", "GroupId"]}],
        }
    custom = {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, **properties}
    return made | {
        "Role": {"Type": "AWS::IAM::Role", "Properties": role},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
        "Custom": {"Type": "Custom::Thing", "Properties": custom},
    }


@pytest.fixture
def run(cloud, unique) -> "Iterator[Callable[..., tuple[str, str]]]":
    """Create or delete a stack of resources: returns its status and failure reasons; no stack is left after the test."""
    client = cloud.client("cloudformation")
    stack = ""

    def settled() -> str:
        while (status := client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]).endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        return str(status)

    def run(resources: dict[str, Any] | None = None) -> tuple[str, str]:
        nonlocal stack
        if resources is None:
            client.delete_stack(StackName=stack)
        else:
            body = json.dumps({"Resources": resources})
            stack = client.create_stack(StackName=unique, TemplateBody=body, Capabilities=["CAPABILITY_IAM"])["StackId"]
        status = settled()
        events = client.describe_stack_events(StackName=stack)["StackEvents"]
        failed = [
            event.get("ResourceStatusReason", "") for event in events if event["ResourceStatus"].endswith("_FAILED")
        ]
        return status, " | ".join(failed)

    yield run
    client.delete_stack(StackName=stack)
    if settled() == "DELETE_FAILED":
        client.delete_stack(StackName=stack, RetainResources=["Custom"])
        assert settled() == "DELETE_COMPLETE"


@pytest.mark.cloud
def test_a_function_that_breaks_fails_at_once_with_its_error(run: "Callable[..., tuple[str, str]]") -> None:
    """Instead of an hour's wait the function's own error is the reason; it fails again during the rollback."""
    status, reasons = run(_resources(BROKEN))

    assert status == "ROLLBACK_FAILED"
    assert "the function failed before it responded" in reasons
    assert "no model" in reasons


@pytest.mark.cloud
def test_an_answer_needs_a_way_to_s3(run: "Callable[..., tuple[str, str]]") -> None:
    """Without a dependency the endpoint does not exist yet; the response is lost, and the reason is reported at once."""
    status, reasons = run(_resources(ANSWER, network=True, ServiceTimeout=700))

    assert status == "ROLLBACK_FAILED"
    assert "no gateway endpoint of s3" in reasons
    assert "AWS would wait 700 s for it" in reasons


@pytest.mark.cloud
def test_a_function_that_depends_on_its_network_answers(run: "Callable[..., tuple[str, str]]") -> None:
    """On create and on delete."""
    resources = _resources(ANSWER, network=True, ServiceTimeout=70)
    resources["Function"]["DependsOn"] = ["S3", "Routes"]

    assert run(resources) == ("CREATE_COMPLETE", "")
    assert run() == ("DELETE_COMPLETE", "")


@pytest.mark.cloud
def test_silence_ends_with_the_service_timeout(run: "Callable[..., tuple[str, str]]") -> None:
    """A function that succeeds without a response is waited for, here a second of the embedded clock."""
    status, reasons = run(_resources(SILENT, ServiceTimeout="1"))

    assert status == "ROLLBACK_FAILED"
    assert "timed out after 1s" in reasons


@pytest.mark.cloud
def test_a_timeout_over_an_hour_is_refused(run: "Callable[..., tuple[str, str]]") -> None:
    """Before the function is invoked."""
    status, reasons = run(_resources(ANSWER, ServiceTimeout=3601))

    assert status == "ROLLBACK_COMPLETE"
    assert "ServiceTimeout must be an integer from 1 to 3600, got 3601" in reasons


@pytest.mark.parametrize(("given", "seconds"), [(1, 1), ("3600", 3600), (660, 660)])
def test_a_timeout_is_a_number_of_seconds(given: object, seconds: int) -> None:
    """Also as CloudFormation's string."""
    assert check_timeout({"ServiceTimeout": given}) == seconds
    assert check_timeout({}) == 3600


@pytest.mark.parametrize("given", [0, -1, 3601, "1.5", "soon", None, True])
def test_other_timeouts_are_refused(given: object) -> None:
    """The error has the value and the allowed range."""
    with pytest.raises(ValueError, match="ServiceTimeout must be an integer from 1 to 3600"):
        check_timeout({"ServiceTimeout": given})


def test_an_answer_ends_the_wait() -> None:
    """It arrives in another thread; a late one does not count."""
    answer = Answer()
    threading.Timer(0.05, answer.set).start()

    assert answer.wait(60)
    assert not answer.wait(0)
