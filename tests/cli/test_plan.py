"""`mlops plan` on stacks deployed to the embedded cloud."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_cli.aws_account import UserError
from mlops_cli.plan import write_mapping
from mlops_cli.planned_changes import Versions
from mlops_local.cloud import Cloud
from mlops_runtime.changes.template import Template

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def assembly(tmp_path: Path) -> Callable[..., str]:
    """Write a cloud assembly of one stack: ``assembly("Name", Table={...})`` returns its folder."""

    def write(stack: str, parameters: dict[str, Any] | None = None, **resources: Any) -> str:
        folder = tmp_path / "cdk.out"
        folder.mkdir(exist_ok=True)
        artifact = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": "stack.template.json"},
        }
        (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": {stack: artifact}}))
        template = {"Resources": resources, **({"Parameters": parameters} if parameters else {})}
        (folder / "stack.template.json").write_text(json.dumps(template))
        return str(folder)

    return write


def table(**properties: Any) -> dict[str, Any]:
    """A table whose key may be named."""
    return {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "AttributeDefinitions": [{"AttributeName": "endpoint", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "endpoint", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            **properties,
        },
        "Metadata": {"aws:cdk:path": "Plan/Table/Resource"},
    }


def test_a_table_is_replaced_by_name_only(
    on_cloud: Run, assembly: Callable[..., str], cloud: Cloud, unique_stack: str
) -> None:
    """Compares deployed and planned properties; the refusal has resource, property and fix in one line."""
    folder = assembly(unique_stack, Table=table())
    new = on_cloud("plan", "--app", folder)
    assert (new.returncode, new.stdout.splitlines()[0]) == (0, f"{unique_stack} (new): 1 created")
    stacks = cloud.client("cloudformation")
    stacks.create_stack(StackName=unique_stack, TemplateBody=(Path(folder) / "stack.template.json").read_text())
    stacks.get_waiter("stack_create_complete").wait(StackName=unique_stack, WaiterConfig={"Delay": 1})

    same = on_cloud("plan", "--app", folder)
    assert (same.returncode, same.stdout.splitlines()[0]) == (0, f"{unique_stack}: no changes")

    folder = assembly(unique_stack, Table=table(TableName="named"))
    refused = on_cloud("plan", unique_stack, "--app", folder)
    assert refused.returncode == 1
    assert refused.stderr == (
        "mlops: refused: Table (AWS::DynamoDB::Table, Plan/Table/Resource) would be replaced by TableName, with its content; "
        "undo the change, or allow it with --allow Table\n"
    )
    allowed = on_cloud("plan", "--app", folder, "--allow", "Table", "--json")
    assert allowed.returncode == 0
    (found,) = json.loads(allowed.stdout)["stacks"][0]["changes"]
    assert (found["action"], found["properties"]) == (
        "replaced",
        [{"path": "TableName", "effect": "replace", "cause": None}],
    )
    stacks.delete_stack(StackName=unique_stack)


def key(**properties: Any) -> dict[str, Any]:
    """A key, which has a monthly price."""
    return {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}, **properties}}


def test_the_plan_ends_with_the_price(on_cloud: Run, assembly: Callable[..., str], unique_stack: str) -> None:
    """The monthly total comes last, as text and in JSON, with date and Region of the price table."""
    folder = assembly(unique_stack, Key=key(), Other=key())

    shown = on_cloud("plan", "--app", folder).stdout.splitlines()
    price = json.loads(on_cloud("plan", "--app", folder, "--json").stdout)["price"]

    assert shown[1].startswith("monthly price in us-east-1, USD, list prices of 20")
    assert shown[-1].strip() == "idle 2.00, serving 2.00"
    assert (price["region"], price["total"]) == (
        "us-east-1",
        {"before": {"idle": [0, 0], "serving": [0, 0]}, "after": {"idle": [2.0, 2.0], "serving": [2.0, 2.0]}},
    )


def test_a_region_without_prices_is_named(
    on_cloud: Run, assembly: Callable[..., str], cloud: Cloud, unique_stack: str
) -> None:
    """The plan is still shown; its last line lists Regions with prices."""
    elsewhere = {**cloud.environment(), "AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "ap-south-1"}

    planned = on_cloud("plan", "--app", assembly(unique_stack, Key=key()), **elsewhere)

    assert planned.returncode == 0
    last = planned.stdout.splitlines()[-1]
    assert last.startswith("price a month: unknown: the price table of ")
    assert "has no prices for region 'ap-south-1'; it has eu-central-1, eu-west-1, us-east-1" in last


def test_what_constructs_say_stands_beside_the_plan(
    on_cloud: Run, assembly: Callable[..., str], unique_stack: str
) -> None:
    """Users read a price before the deployment, and JSON stays valid."""
    folder = assembly(unique_stack, Table=table())
    manifest = Path(folder) / "manifest.json"
    document = json.loads(manifest.read_text())
    document["artifacts"][unique_stack]["metadata"] = {
        f"/{unique_stack}": [{"type": "aws:cdk:info", "data": "costs 12 USD"}]
    }
    manifest.write_text(json.dumps(document))

    planned = on_cloud("plan", "--app", folder, "--json")

    assert planned.stderr == f"notice at {unique_stack}: costs 12 USD\n"
    assert json.loads(planned.stdout)


def test_fails_for_names_that_are_not_there(on_cloud: Run, assembly: Callable[..., str], unique_stack: str) -> None:
    """Covers a stack that the app lacks, and an ``--allow`` name without effect."""
    folder = assembly(unique_stack, Table=table())

    missing = on_cloud("plan", "Nowhere", "--app", folder)
    useless = on_cloud("plan", "--app", folder, "--allow", "Tabel")

    assert missing.stderr == f"mlops: no stack Nowhere in the assembly; it has {unique_stack}\n"
    assert useless.stderr == "mlops: refused: --allow Tabel has no effect in this plan; remove it\n"
    assert (missing.returncode, useless.returncode) == (1, 1)


def test_stacks_of_other_accounts_are_left_out_by_name(
    on_cloud: Run, assembly: Callable[..., str], unique_stack: str
) -> None:
    """Names may exist in other accounts; a named stack, or an app with only such stacks, is rejected."""
    folder = Path(assembly(unique_stack, Table=table()))
    manifest = json.loads((folder / "manifest.json").read_text())
    own = manifest["artifacts"][unique_stack]
    for name, place in (("Foreign", "aws://222222222222/us-east-1"), ("Far", "aws://unknown-account/eu-west-1")):
        manifest["artifacts"][name] = {**own, "environment": place}
    (folder / "manifest.json").write_text(json.dumps(manifest))

    shown = on_cloud("plan", "--app", folder)
    document = json.loads(on_cloud("plan", "--app", folder, "--json").stdout)
    named = on_cloud("plan", "Foreign", "--app", folder)
    there = on_cloud("plan", "Foreign", "--app", folder, "--profile", "mlops-222222222222", AWS_REGION="us-east-1")

    assert shown.stdout.splitlines()[0] == f"{unique_stack} (new): 1 created"
    assert "Foreign was not planned: it belongs to 222222222222 us-east-1" in shown.stderr
    assert document["elsewhere"] == {"Foreign": "222222222222 us-east-1", "Far": "eu-west-1"}
    assert (named.returncode, there.returncode) == (1, 0)
    assert "for 000000000000 us-east-1, but Foreign belongs to 222222222222 us-east-1; plan it with" in named.stderr


def test_fails_in_a_folder_without_an_assembly(on_cloud: Run, tmp_path: Path) -> None:
    """The error has a command as its fix."""
    result = on_cloud("plan", "--app", tmp_path)

    assert result.stderr.endswith("(manifest.json is missing); run cdk synth\n")


def test_fails_where_a_mapping_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the option."""
    monkeypatch.setattr("mlops_cli.plan_checks.kept", lambda *_: {"Table": {"TableName": "prices"}})
    new = Template(document={"Resources": {"Table": table()}})

    with pytest.raises(
        UserError, match=r"cannot write .*adopt\.json: No such file or directory; give another --mapping"
    ):
        write_mapping(None, tmp_path / "none" / "adopt.json", {"Stack": Versions(deployed=None, new=new)})


def test_names_that_exist_are_refused_with_the_way_to_adopt_them(
    on_cloud: Run, assembly: Callable[..., str], cloud: Cloud, unique_stack: str
) -> None:
    """CloudFormation would roll back; new names and generated names are not listed."""
    name = f"{unique_stack.lower()}-kept"
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    cloud.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    group = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": name}}
    new = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": f"/{name}/new", "Type": "String", "Value": "1"}}
    folder = assembly(unique_stack, Group=group, Table=table(TableName=name), Unnamed=table(), New=new)

    planned = on_cloud("plan", "--app", folder)

    arn = f"arn:aws:sagemaker:us-east-1:000000000000:model-package-group/{name}"
    adopt = f"mlops plan {unique_stack} --mapping adopt.json (docs/adopt.md), or only this one with "
    adopt += f"cdk import {unique_stack} --resource-mapping-inline"
    text = (
        f"Group (AWS::SageMaker::ModelPackageGroup): {name} already exists; adopt all resources that a deleted stack "
        f"retained with {adopt} "
        f"'{json.dumps({'Group': {'ModelPackageGroupArn': arn}}, separators=(',', ':'))}', or delete it if it is not needed"
    )
    assert planned.returncode == 1
    assert f"{unique_stack}: {text}\n" in planned.stdout
    assert planned.stdout.count("already exists") == 2
    assert planned.stderr == f"mlops: refused: 2 of the names to be created already exist: {text}\n"

    found = json.loads(on_cloud("plan", "--app", folder, "--json").stdout)["existing"]
    assert [(one["logical_id"], one["identifier"], one["not_looked_at"]) for one in found] == [
        ("Group", {"ModelPackageGroupArn": arn}, None),
        ("Table", {"TableName": name}, None),
    ]


def test_a_failed_deployment_hides_nothing_that_was_kept(
    on_cloud: Run,
    assembly: Callable[..., str],
    cloud: Cloud,
    unique_stack: str,
    tmp_path: Path,
    wait_for: Callable[..., Any],
) -> None:
    """After a destroy, a deployment onto the retained name and its rollback, the plan creates all; after deletion it adopts."""
    name = f"{unique_stack.lower()}-adopted"
    folder = assembly(unique_stack, Table={**table(TableName=name), "DeletionPolicy": "RetainExceptOnCreate"})
    body = (Path(folder) / "stack.template.json").read_text()
    stacks = cloud.client("cloudformation")

    def destroy(made: str) -> None:
        stacks.delete_stack(StackName=unique_stack)
        stacks.get_waiter("stack_delete_complete").wait(StackName=made, WaiterConfig={"Delay": 1})

    created = stacks.create_stack(StackName=unique_stack, TemplateBody=body)["StackId"]
    stacks.get_waiter("stack_create_complete").wait(StackName=created, WaiterConfig={"Delay": 1})
    destroy(created)
    failed = stacks.create_stack(StackName=unique_stack, TemplateBody=body)["StackId"]
    wait_for(lambda: stacks.describe_stacks(StackName=failed)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")

    planned = on_cloud("plan", "--app", folder)
    assert planned.returncode == 1
    assert planned.stdout.splitlines()[0] == f"{unique_stack} (new): 1 created"
    assert f"{name} already exists" in planned.stdout
    assert "is ROLLBACK_COMPLETE: its creation failed, so it can only be deleted" in planned.stderr

    destroy(failed)
    on_cloud("plan", "--app", folder, "--mapping", tmp_path / "adopt.json")
    assert json.loads((tmp_path / "adopt.json").read_text()) == {"Table": {"TableName": name}}
