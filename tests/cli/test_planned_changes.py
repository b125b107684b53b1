"""Changes of a deployment, and the reasons to reject it before anything is created."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_cli.aws_account import UserError
from mlops_cli.planned_changes import OwnedUnit, doomed_changes, owned_units, read_versions
from mlops_local.cloud import Cloud
from mlops_runtime.changes import compare

Run = Callable[..., subprocess.CompletedProcess[str]]
BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {}}
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {}}


def _parameter(name: object) -> dict[str, Any]:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Name": name, "Type": "String", "Value": "1"}}


def _unit(name: str) -> dict[str, Any]:
    return {
        "Resources": {
            "Entry": _parameter(f"/mlops/{name}/unit"),
            "KeyArn": _parameter(f"/mlops-unit/{name}/1/production/key_arn"),
            "Other": _parameter(f"/{name}/other"),
        }
    }


def _assembly(folder: Path, templates: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    artifacts = {}
    for stack, template in templates.items():
        (folder / f"{stack}.template.json").write_text(json.dumps(template))
        artifacts[stack] = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": f"{stack}.template.json"},
        }
    (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": artifacts}))
    return folder


@pytest.fixture
def answering() -> Callable[..., list[OwnedUnit]]:
    """Return the owners for a given response of CloudFormation per unit."""

    def run(templates: dict[str, Any], *answers: dict[str, str] | str) -> list[OwnedUnit]:
        client = boto3.client("cloudformation", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        with Stubber(client) as stub:
            for answer in answers:
                if isinstance(answer, str):
                    stub.add_client_error("describe_stack_resources", answer, "Stack for it does not exist")
                else:
                    row = {"LogicalResourceId": "Entry", "ResourceType": "AWS::SSM::Parameter", "Timestamp": 0}
                    row |= {"ResourceStatus": "CREATE_COMPLETE", "PhysicalResourceId": "/mlops/demand/unit", **answer}
                    stub.add_response("describe_stack_resources", {"StackResources": [row]})
            found = list(owned_units(client, templates))
            stub.assert_no_pending_responses()
        return found

    return run


def test_a_unit_of_another_stack_is_named_with_its_owner(answering: Callable[..., list[OwnedUnit]]) -> None:
    """The message has the import; conflicting parameters are not listed separately."""
    (found,) = answering({"Second": _unit("demand")}, {"StackName": "Owner"})
    assert found.text == (
        "stack Second defines business unit 'demand', which stack Owner owns: import it with "
        'BusinessUnit.from_name(self, "Unit", name="demand") instead of BusinessUnit(...)'
    )
    assert found.covers("Second", "/mlops/demand/unit")
    assert found.covers("Second", "/mlops-unit/demand/1/production/key_arn")
    assert not found.covers("Second", "/mlops-unit/demand-eu/1/production/key_arn")
    assert not found.covers("Third", "/mlops/demand/unit")


@pytest.mark.parametrize(
    "answer",
    [
        {"StackName": "Second"},
        {"StackName": "Gone", "ResourceStatus": "DELETE_COMPLETE"},
        {"StackName": "Other", "PhysicalResourceId": "/mlops/other/unit"},
        "ValidationError",
        "AccessDenied",
    ],
)
def test_what_nobody_else_owns_is_none(answering: Callable[..., list[OwnedUnit]], answer: Any) -> None:
    """Covers the stack itself, deletions and no stack; without permissions CloudFormation reports it later."""
    assert answering({"Second": _unit("demand")}, answer) == []


def test_two_stacks_of_one_app_cannot_define_a_unit(answering: Callable[..., list[OwnedUnit]]) -> None:
    """The first of them owns it before any is deployed."""
    templates = {"First": _unit("demand"), "Second": _unit("demand")}
    (found,) = answering(templates, "ValidationError", "ValidationError")
    assert (found.stack, found.owner) == ("Second", "First")


def test_only_units_are_asked_for(answering: Callable[..., list[OwnedUnit]]) -> None:
    """Skips names known at deployment, and other entries."""
    names = [{"Fn::Sub": "/mlops/${Name}/unit"}, "/mlops/demand/features", "/mlops/demand/registry/unit"]
    resources = {f"P{index}": _parameter(name) for index, name in enumerate(names)}
    assert answering({"Second": {"Resources": {**resources, "T": {"Type": "AWS::SNS::Topic"}}}}) == []


def test_plan_and_deploy_name_the_owner(on_cloud: Run, cloud: Cloud, unique_stack: str, tmp_path: Path) -> None:
    """Neither starts a deployment; other existing names are still listed, and the owner itself deploys again."""
    unit, second = unique_stack.lower(), f"{unique_stack}Second"
    owner = _assembly(tmp_path / "owner", {unique_stack: _unit(unit)})
    other = _assembly(tmp_path / "second", {second: _unit(unit)})
    copy = "import os, shutil, sys; shutil.copytree(sys.argv[1], os.environ['CDK_OUTDIR'], dirs_exist_ok=True)"
    (tmp_path / "copy.py").write_text(copy)
    sentence = f"stack {second} defines business unit '{unit}', which stack {unique_stack} owns: import it with"

    assert on_cloud("deploy", "--app", f"python {tmp_path / 'copy.py'} {owner}").returncode == 0
    planned = on_cloud("plan", "--app", other)
    refused = on_cloud("deploy", "--app", f"python {tmp_path / 'copy.py'} {other}")
    again = on_cloud("deploy", "--app", f"python {tmp_path / 'copy.py'} {owner}")
    on_cloud("destroy", "--yes", "--app", f"python {tmp_path / 'copy.py'} {owner}")

    assert (planned.returncode, refused.returncode) == (1, 1)
    assert planned.stderr.startswith(f"mlops: refused: {sentence} ")
    assert "1 of the names to be created already exist" in planned.stderr
    assert "/mlops/" not in planned.stdout
    assert refused.stderr.startswith(f"mlops: refused: {sentence} ")
    assert again.stdout.startswith("no changes\n")
    assert second not in {s["StackName"] for s in cloud.client("cloudformation").describe_stacks()["Stacks"]}


class Stacks:
    """CloudFormation's responses for one stack."""

    def __init__(self, status: str, template: object, **parameters: str) -> None:
        self._status, self._template, self._parameters = status, template, parameters
        self.meta = type("Meta", (), {"region_name": "eu-west-1"})

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's word
        """Return the stack's status and parameters."""
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in self._parameters.items()]
        return {"Stacks": [{"StackName": StackName, "StackStatus": self._status, "Parameters": parameters}]}

    def get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:  # noqa: N803 - boto3's words
        """Return its template as written."""
        assert TemplateStage == "Original", StackName
        return {"TemplateBody": self._template}


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ("UPDATE_IN_PROGRESS", "stack Demand is UPDATE_IN_PROGRESS: wait until it ends"),
        ("UPDATE_ROLLBACK_FAILED", "stack Demand is UPDATE_ROLLBACK_FAILED: continue its rollback in CloudFormation first"),
        ("ROLLBACK_COMPLETE", "stack Demand is ROLLBACK_COMPLETE: its creation failed, so it can only be deleted: run "
         "cdk destroy, then plan again"),
    ],
)  # fmt: skip
def test_a_stack_that_cannot_be_updated_is_a_problem(status: str, problem: str) -> None:
    """CloudFormation would fail only during the deployment."""
    _, problems = read_versions(Stacks(status, {"Resources": {}}), {"Demand": {"Resources": {}}})

    assert problems == [problem]


def test_a_stack_that_was_only_reviewed_is_new() -> None:
    """A change set that was never executed leaves REVIEW_IN_PROGRESS."""
    versions, problems = read_versions(Stacks("REVIEW_IN_PROGRESS", {}), {"Demand": {"Resources": {"A": BUCKET}}})

    assert problems == []
    assert versions["Demand"].deployed is None


YAML = """
Parameters: {Stage: {Type: String}}
Conditions: {IsDev: !Equals [!Ref Stage, dev]}
Resources:
  Data:
    Type: AWS::S3::Bucket
    Condition: IsDev
    Properties: {BucketName: !Sub "${Stage}-${AWS::Region}", Tags: [{Key: key, Value: !GetAtt Key.Arn}]}
"""


def test_a_template_in_yaml_is_the_same() -> None:
    """Reads short-form functions; parameters keep the deployed value instead of the new default."""
    bucket = {"BucketName": "dev-eu-west-1", "Tags": [{"Key": "key", "Value": {"Fn::GetAtt": ["Key", "Arn"]}}]}
    new = {
        "Parameters": {"Stage": {"Type": "String", "Default": "prod"}},
        "Resources": {"Data": {"Type": "AWS::S3::Bucket", "Properties": bucket}},
    }

    versions, _ = read_versions(Stacks("CREATE_COMPLETE", YAML, Stage="dev"), {"Demand": new})

    assert compare("Demand", *versions["Demand"], {}).changes == ()


def test_fails_for_a_deployed_template_that_is_none() -> None:
    """Prints one line without a traceback."""
    with pytest.raises(UserError, match="the deployed template must be a JSON object, got list"):
        read_versions(Stacks("CREATE_COMPLETE", "[1]"), {"Demand": {"Resources": {}}})


def test_what_goes_with_a_stack_says_what_cannot_be_brought_back() -> None:
    """A queue holds transient messages; a dead-letter queue holds evidence; a retained bucket stays."""
    work = QUEUE | {"Properties": {"RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}}}}
    kept = BUCKET | {"DeletionPolicy": "Retain"}
    template = {"Resources": {"Lost": BUCKET, "Kept": kept, "Work": work, "Dead": QUEUE}}

    (doomed,) = doomed_changes(Stacks("CREATE_COMPLETE", template), ["Demand"])

    found = {change.logical_id: (change.holds_data, change.is_kept) for change in doomed.changes}
    assert found == {"Lost": (True, False), "Kept": (True, True), "Work": (False, False), "Dead": (True, False)}


def test_a_stack_that_is_not_deployed_is_not_destroyed() -> None:
    """Nothing would be deleted."""
    assert doomed_changes(Stacks("DELETE_COMPLETE", {}), ["Demand"]) == []
