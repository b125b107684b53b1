"""`mlops plan` reads the policy of a key that a unit uses and does not own."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.business_unit.key_policy import Place, shared_key_statements

Run = Callable[..., subprocess.CompletedProcess[str]]
ACCOUNT, REGION = "000000000000", "us-east-1"
PLACE = Place(partition="aws", region=REGION, account=ACCOUNT)
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}


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
    """A platform team's key: its policy delegates to the account."""
    return str(cloud.client("kms").create_key()["KeyMetadata"]["Arn"])


def lend(cloud: Cloud, key: str, *statements: dict[str, Any]) -> None:
    """Write the key's policy."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ROOT, *statements]})
    cloud.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)


def test_a_key_without_the_statements_is_refused_with_them(plan: Any, cloud: Cloud, key: str) -> None:
    """One line: unit, stack, key, what is missing, and the statements to paste; pasted, the plan passes."""
    refused = plan(key)
    printed = json.loads(refused.stderr[refused.stderr.index("[{") : refused.stderr.rindex("}]") + 2])

    assert refused.returncode == 1
    assert f"the policy of {key} lacks Logs, Alarms, Events, Bus, LogDelivery" in refused.stderr
    assert printed == [s for s in shared_key_statements(PLACE) if "Service" in s["Principal"]]

    lend(cloud, key, *printed)
    assert plan(key).returncode == 0


def test_a_key_may_be_used_as_it_is_knowingly(plan: Any, key: str) -> None:
    """By the bus's logical id; what is lost is still said. A name that allows nothing is refused as ever."""
    allowed = plan(key, "--allow", "Bus")

    assert allowed.returncode == 0
    assert f"the policy of {key} lacks Logs, Alarms, Events, Bus, LogDelivery" in allowed.stderr
    assert "allowed by --allow Bus" in allowed.stderr
    assert "or go on without by --allow Bus: [{" in plan(key).stderr
    assert "--allow Other allows nothing of this plan" in plan(key, "--allow", "Bus", "--allow", "Other").stderr


def test_a_condition_that_stops_eventbridge_is_found(plan: Any, cloud: Cloud, key: str) -> None:
    """The statement is there, and would never be met."""
    statements = shared_key_statements(PLACE)
    (events,) = (s for s in statements if s["Sid"] == "Events")
    events["Condition"] = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    lend(cloud, key, *statements)

    refused = plan(key)

    assert (refused.returncode, "lacks Events," in refused.stderr) == (1, True)


def test_what_cannot_be_judged_is_said_and_refuses_nothing(plan: Any, cloud: Cloud, key: str) -> None:
    """An organization's condition, as landing zones have it, and alarms by their ARN."""
    statements = [s for s in shared_key_statements(PLACE) if "Service" in s["Principal"]]
    (alarms,) = (s for s in statements if s["Sid"] == "Alarms")
    alarms["Condition"] = {"ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:*"}}
    administrator = {**ROOT, "Action": ["kms:Put*", "kms:Get*"]}
    used = {**ROOT, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [administrator, used, *statements]})
    cloud.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)

    planned = plan(key)

    assert planned.returncode == 0
    assert f"whether the policy of {key} gives Use, GrantToResources cannot be judged" in planned.stderr


def test_a_key_from_a_parameter_of_the_platform_is_read(plan: Any, cloud: Cloud, key: str, unique_stack: str) -> None:
    """As ``BusinessUnit(platform=...)`` writes it."""
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
        ({"Ref": "Missing"}, "is known when the stack is deployed"),
    ],
)
def test_a_key_that_cannot_be_read_is_said_and_refuses_nothing(plan: Any, value: Any, why: str) -> None:
    """A plan with few rights still plans."""
    planned = plan(value)

    assert planned.returncode == 0
    assert "key of unit 'demand'" in planned.stderr
    assert "its policy cannot be read" in planned.stderr
    assert why in planned.stderr


def test_a_key_of_the_units_own_is_not_read(plan: Any) -> None:
    """The stack writes its policy."""
    planned = plan({"Fn::GetAtt": ["Key", "Arn"]})

    assert (planned.returncode, "key of unit" in planned.stderr) == (0, False)


def test_an_arn_in_parts_is_put_together(plan: Any, key: str) -> None:
    """As ``Stack.format_arn`` writes it."""
    parts = ["arn:", {"Ref": "AWS::Partition"}, ":kms:", {"Ref": "AWS::Region"}, ":", {"Ref": "AWS::AccountId"}]
    value = {"Fn::Join": ["", [*parts, f":key/{key.rpartition('/')[2]}"]]}

    assert f"the policy of {key} lacks" in plan(value).stderr
