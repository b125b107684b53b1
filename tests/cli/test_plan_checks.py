"""Checks of `mlops plan`: policies of external keys, networks that do not reach KMS, and names that already exist."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_cli.plan_checks import LogRoleFindings, _problem, look_up, read_log_roles, types
from mlops_local.cloud import Cloud
from mlops_runtime.business_unit.key_policy import Place, shared_key_statements
from mlops_runtime.changes import NamedResource
from mlops_runtime.changes.existing_resources import types as named_types

Run = Callable[..., subprocess.CompletedProcess[str]]
ACCOUNT, REGION = "000000000000", "us-east-1"
PLACE = Place(partition="aws", region=REGION, account=ACCOUNT)
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}


KMS = "com.amazonaws.us-east-1.kms"


POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}}
_LAMBDA = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
TRUST = {"Version": "2012-10-17", "Statement": _LAMBDA}


@pytest.fixture
def plan(on_cloud: Run, tmp_path: Path, unique_stack: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Plan a unit's bus with a key: ``plan(key, Parameter={...})``."""

    def run(key: Any, *options: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "cdk.out"
        folder.mkdir(exist_ok=True)
        artifact = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": "stack.template.json"},
        }
        (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": {unique_stack: artifact}}))
        tags = [{"Key": "mlops:unit", "Value": "demand"}]
        bus = {"Type": "AWS::Events::EventBus", "Properties": {"Name": "b", "KmsKeyIdentifier": key, "Tags": tags}}
        template = {"Resources": {"Bus": bus}, "Parameters": parameters}
        (folder / "stack.template.json").write_text(json.dumps(template))
        return on_cloud("plan", "--app", str(folder), *options)

    return run


@pytest.fixture
def key(cloud: Cloud) -> str:
    """A platform team's key, whose policy delegates to the account."""
    return str(cloud.client("kms").create_key()["KeyMetadata"]["Arn"])


def lend(cloud: Cloud, key: str, *statements: dict[str, Any]) -> None:
    """Write the key's policy."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ROOT, *statements]})
    cloud.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)


def test_a_key_without_the_statements_is_refused_with_them(plan: Any, cloud: Cloud, key: str) -> None:
    """One line has unit, stack, key, what is missing, and the statements; with them the plan passes."""
    refused = plan(key)
    printed = json.loads(refused.stderr[refused.stderr.index("[{") : refused.stderr.rindex("}]") + 2])

    assert refused.returncode == 1
    assert f"the policy of {key} lacks Logs, Alarms, Events, Bus, LogDelivery" in refused.stderr
    assert printed == [s for s in shared_key_statements(PLACE) if "Service" in s["Principal"]]

    lend(cloud, key, *printed)
    assert plan(key).returncode == 0


def test_a_key_may_be_used_as_it_is_knowingly(plan: Any, key: str) -> None:
    """Allowed by the bus's logical id, with a warning; a name without effect is rejected as always."""
    allowed = plan(key, "--allow", "Bus")

    assert allowed.returncode == 0
    assert f"the policy of {key} lacks Logs, Alarms, Events, Bus, LogDelivery" in allowed.stderr
    assert "allowed by --allow Bus" in allowed.stderr
    assert "or continue without them with --allow Bus: [{" in plan(key).stderr
    assert "--allow Other has no effect in this plan" in plan(key, "--allow", "Bus", "--allow", "Other").stderr


def test_a_condition_that_stops_eventbridge_is_found(plan: Any, cloud: Cloud, key: str) -> None:
    """The statement exists but its condition never matches."""
    statements = shared_key_statements(PLACE)
    (events,) = (s for s in statements if s["Sid"] == "Events")
    events["Condition"] = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    lend(cloud, key, *statements)

    refused = plan(key)

    assert (refused.returncode, "lacks Events," in refused.stderr) == (1, True)


def test_what_cannot_be_judged_is_said_and_refuses_nothing(plan: Any, cloud: Cloud, key: str) -> None:
    """Covers an organization condition, as in landing zones, and alarms by ARN."""
    statements = [s for s in shared_key_statements(PLACE) if "Service" in s["Principal"]]
    (alarms,) = (s for s in statements if s["Sid"] == "Alarms")
    alarms["Condition"] = {"ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:*"}}
    administrator = {**ROOT, "Action": ["kms:Put*", "kms:Get*"]}
    used = {**ROOT, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [administrator, used, *statements]})
    cloud.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)

    planned = plan(key)

    assert planned.returncode == 0
    assert f"whether the policy of {key} allows Use, GrantToResources depends on its conditions" in planned.stderr


def test_a_key_from_a_parameter_of_the_platform_is_read(plan: Any, cloud: Cloud, key: str, unique_stack: str) -> None:
    """Follows the parameter of ``BusinessUnit(platform=...)``."""
    name = f"/mlops-platform/{unique_stack}/1/key_arn"
    cloud.client("ssm").put_parameter(Name=name, Type="String", Value=key)
    parameter = {"Type": "AWS::SSM::Parameter::Value<String>", "Default": name}

    assert f"the policy of {key} lacks" in plan({"Ref": "Key"}, Key=parameter).stderr
    lend(cloud, key, *shared_key_statements(PLACE))
    assert plan({"Ref": "Key"}, Key=parameter).returncode == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000", "NotFound"),
        ({"Fn::ImportValue": "Nowhere"}, "the export 'Nowhere' is not deployed yet; deploy its stack and plan again"),
        ({"Ref": "Missing"}, "is known only at deployment"),
    ],
)
def test_a_key_that_cannot_be_read_is_said_and_refuses_nothing(plan: Any, value: Any, why: str) -> None:
    """A plan with few permissions still works."""
    planned = plan(value)

    assert planned.returncode == 0
    assert "key of unit 'demand'" in planned.stderr
    assert "its policy cannot be read" in planned.stderr
    assert why in planned.stderr


def test_a_key_of_the_units_own_is_not_read(plan: Any) -> None:
    """The stack itself defines its policy."""
    planned = plan({"Fn::GetAtt": ["Key", "Arn"]})

    assert (planned.returncode, "key of unit" in planned.stderr) == (0, False)


def test_an_arn_in_parts_is_put_together(plan: Any, key: str) -> None:
    """Resolves ``Stack.format_arn``."""
    parts = ["arn:", {"Ref": "AWS::Partition"}, ":kms:", {"Ref": "AWS::Region"}, ":", {"Ref": "AWS::AccountId"}]
    value = {"Fn::Join": ["", [*parts, f":key/{key.rpartition('/')[2]}"]]}

    assert f"the policy of {key} lacks" in plan(value).stderr


@pytest.fixture
def plan_plan_networks(on_cloud: Run, tmp_path: Path, unique_stack: str) -> Callable[..., str]:
    """Plan a recorder in subnets and return the report: ``plan(["subnet-1"], Parameter={...})``."""

    def run(subnets: list[Any], **parameters: Any) -> str:
        folder = tmp_path / "cdk.out"
        folder.mkdir(exist_ok=True)
        artifact = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": "stack.template.json"},
        }
        (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": {unique_stack: artifact}}))
        function = {
            "VpcConfig": {"SubnetIds": subnets, "SecurityGroupIds": []},
            "Environment": {"Variables": {"SIGNING_KEY": "k"}},
        }
        resources = {
            "Own": {"Type": "AWS::EC2::Subnet", "Properties": {}},
            "Record": {"Type": "AWS::Lambda::Function", "Properties": function},
        }
        template = {"Resources": resources, "Parameters": parameters}
        (folder / "stack.template.json").write_text(json.dumps(template))
        result = on_cloud("plan", "--app", str(folder))
        assert result.returncode == 0, result.stderr
        return "\n".join(line for line in result.stderr.splitlines() if "network of stack" in line)

    return run


@pytest.fixture
def network(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """Create a platform network: its id and that of a private subnet without egress."""
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    yield vpc, subnet
    for gateway in ec2.describe_internet_gateways()["InternetGateways"]:
        if any(attached["VpcId"] == vpc for attached in gateway["Attachments"]):
            ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)  # an account has a limit of five


def test_a_network_without_a_way_to_kms_is_named_with_the_fix(
    plan_plan_networks: Any, cloud: Cloud, network: Any
) -> None:
    """With the endpoint nothing is reported."""
    vpc, subnet = network
    reported = plan_plan_networks([subnet])
    assert f"{vpc} has no access to KMS from {subnet}" in reported
    assert f"add an interface endpoint {KMS} with private DNS names" in reported

    ec2 = cloud.client("ec2")
    made = {"VpcId": vpc, "ServiceName": KMS, "VpcEndpointType": "Interface", "SubnetIds": [subnet]}
    ec2.create_vpc_endpoint(**made, PrivateDnsEnabled=True)
    assert plan_plan_networks([subnet]) == ""


def test_a_route_to_the_internet_will_do(plan_plan_networks: Any, cloud: Cloud, network: Any) -> None:
    """A NAT gateway suffices; an internet gateway does not route private addresses."""
    vpc, subnet = network
    ec2 = cloud.client("ec2")
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    internet = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=internet, VpcId=vpc)
    route = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    ec2.create_route(**route, GatewayId=internet)
    assert "has no access to KMS" in plan_plan_networks([subnet])
    nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    ec2.delete_route(**route)
    ec2.create_route(**route, NatGatewayId=nat)
    assert plan_plan_networks([subnet]) == ""


def test_what_is_not_known_is_reported(plan_plan_networks: Any, network: Any) -> None:
    """Covers a missing subnet, and one named at deployment; subnets of the stack itself are skipped."""
    _, subnet = network
    assert "cannot check its access to KMS" in plan_plan_networks(["subnet-00000000000000000"])
    assert "cannot check its access to KMS" in plan_plan_networks([{"Ref": "Given"}], Given={"Type": "String"})
    assert "has no access to KMS" in plan_plan_networks([{"Ref": "Given"}], Given={"Type": "String", "Default": subnet})
    assert plan_plan_networks([{"Ref": "Own"}]) == ""


@pytest.mark.parametrize(
    ("named", "state", "owner"), [(False, "available", "1"), (True, "pending", "1"), (True, "available", "1")]
)
def test_an_endpoint_counts_with_private_names_once_it_is_available(named: bool, state: str, owner: str) -> None:
    """For a network of another account the report says that its endpoints may be invisible."""
    ec2 = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    endpoint = {"VpcId": "vpc-1", "ServiceName": KMS, "State": state, "PrivateDnsEnabled": named}
    with Stubber(ec2) as stubber:
        stubber.add_response("describe_subnets", {"Subnets": [{"VpcId": "vpc-1", "OwnerId": owner}]})
        stubber.add_response("describe_vpc_endpoints", {"VpcEndpoints": [endpoint]})
        stubber.add_response("describe_route_tables", {"RouteTables": []})
        found = _problem(ec2, ["subnet-1"], region="us-east-1", account="2")
    if named and state == "available":
        assert found is None
    else:
        assert found is not None
        assert found.endswith("; it belongs to account 1, whose endpoints this account cannot see: ask its owner")


def resource(kind: str, name: str, parent: str = "") -> NamedResource:
    """Return a planned resource."""
    return NamedResource(stack="S", logical_id="One", type=kind, name=name, parent=parent)


def test_each_type_that_has_a_name_is_looked_at() -> None:
    """The two tables have the same types."""
    assert types() == named_types()


@pytest.mark.parametrize("kind", sorted(types()))
def test_what_does_not_exist_is_not_found(cloud: Cloud, kind: str) -> None:
    """Each service's error for missing resources is recognized and does not stop the plan."""
    if kind == "AWS::Events::Rule":
        parent = "default"
    elif kind == "AWS::Glue::Table":
        parent = "no_such_database"
    else:
        parent = "no-such-cluster" if kind == "AWS::EKS::AccessEntry" else ""
    name = "arn:aws:iam::000000000000:role/none" if kind == "AWS::EKS::AccessEntry" else "no-such-name-1"
    if kind == "AWS::KMS::Alias":
        name = "alias/none"

    assert (
        list(
            look_up(
                cloud.client,
                [resource(kind, name, parent)],
                account=ACCOUNT,
                region=REGION,
            )
        )
        == []
    )


def test_what_exists_is_found_by_the_same_calls(cloud: Cloud) -> None:
    """Covers one look-up of each kind: by name, ARN, prefix, or within a parent."""
    iam, glue = cloud.client("iam"), cloud.client("glue")
    iam.create_policy(PolicyName="existing-names", PolicyDocument=json.dumps(POLICY))
    iam.create_role(RoleName="existing-names", AssumeRolePolicyDocument=json.dumps(TRUST))
    glue.create_database(DatabaseInput={"Name": "existing_names"})
    glue.create_table(DatabaseName="existing_names", TableInput={"Name": "one"})
    cloud.client("logs").create_log_group(logGroupName="existing-names-log")
    cloud.client("events").put_rule(Name="existing-names", EventPattern='{"source": ["a"]}')
    found = look_up(
        cloud.client,
        [
            resource("AWS::IAM::ManagedPolicy", "existing-names"),
            resource("AWS::IAM::Role", "existing-names"),
            resource("AWS::Glue::Table", "one", "existing_names"),
            resource("AWS::Glue::Database", "existing_names"),
            resource("AWS::Logs::LogGroup", "existing-names-log"),
            resource("AWS::Logs::LogGroup", "existing-names"),
            resource("AWS::Events::Rule", "existing-names"),
        ],
        account=ACCOUNT,
        region=REGION,
    )
    assert [(one.resource.type, dict(one.identifier)) for one in found] == [
        ("AWS::IAM::ManagedPolicy", {}),
        ("AWS::IAM::Role", {}),
        ("AWS::Glue::Table", {}),
        ("AWS::Glue::Database", {"DatabaseName": "existing_names"}),
        ("AWS::Logs::LogGroup", {"LogGroupName": "existing-names-log"}),
        ("AWS::Events::Rule", {}),
    ]


def test_a_call_that_is_denied_is_reported_and_the_next_is_made(
    cloud: Cloud, make_caller: Callable[[], Callable[[str], Any]]
) -> None:
    """A missing permission leaves the name unknown, which does not stop the deployment."""
    (one,) = look_up(
        make_caller(),
        [resource("AWS::DynamoDB::Table", "denied")],
        account=ACCOUNT,
        region=REGION,
    )

    assert one.reason == "DescribeTable returned AccessDeniedException"
    assert one.text == (
        "One (AWS::DynamoDB::Table): cannot check whether denied exists: DescribeTable returned AccessDeniedException"
    )


@pytest.fixture
def make_caller(cloud: Cloud) -> Callable[[], Callable[[str], Any]]:
    """Create clients of a user without permissions."""

    def make() -> Callable[[str], Any]:
        iam = cloud.client("iam")
        iam.create_user(UserName="existing-names")
        key = iam.create_access_key(UserName="existing-names")["AccessKey"]
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
        return lambda service: session.client(service, endpoint_url=cloud.endpoint_url)

    return make


def test_an_api_needs_a_role_for_its_access_log() -> None:
    """The role is set once per Region. Uncertain cases pass: a condition, a stream, a role in a template."""
    group = {"Calls": {"Type": "AWS::Logs::LogGroup"}}
    logged = stage_template({"Fn::GetAtt": ["Calls", "Arn"]}, **group)
    by_name = stage_template({"Fn::Join": ["", ["arn:aws:logs:", {"Ref": "AWS::Region"}, ":0:log-group:calls"]]})
    account = {"Resources": {"Account": {"Type": "AWS::ApiGateway::Account"}}}
    maybe = {"Resources": {"Stage": {**logged["Resources"]["Stage"], "Condition": "Maybe"}, **group}}

    assert [word in refused(logged) for word in ("stack A:", "has no role for CloudWatch", "update-account")] == [
        True
    ] * 3
    assert refused(by_name) == refused(logged)
    assert not refused(maybe)
    assert not refused(stage_template("arn:aws:firehose:us-east-1:0:deliverystream/amazon-apigateway-calls"))
    assert not refused(stage_template({"Fn::GetAtt": ["Stream", "Arn"]}))
    assert read_log_roles(without_role(), {"A": logged, "B": account}, {}) == LogRoleFindings()
    deployed = read_log_roles(without_role(), {"A": logged}, {"A": logged})
    assert (deployed.problems, "calls are not logged" in deployed.notes[0]) == ((), True)


def stage_template(destination: object, **resources: object) -> dict[str, Any]:
    """Return the template of a stage that writes access logs."""
    properties = {"RestApiId": "a", "StageName": "live", "AccessLogSetting": {"DestinationArn": destination}}
    return {"Resources": {"Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": properties}, **resources}}


def refused(template: dict[str, Any]) -> str:
    """Return why the account rejects a template before its deployment."""
    return "; ".join(read_log_roles(without_role(), {"A": template}, {}).problems)


def without_role() -> Any:
    """Return an account with botocore's stub, whose API Gateway has no role."""
    client = boto3.client("apigateway", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    stubber.add_response("get_account", {}, {})
    stubber.activate()
    return SimpleNamespace(client=lambda _service: client)
