"""Changes of a deployment, read from CloudFormation, and resources deleted with a stack."""

from typing import Any

import pytest

from mlops_cli.aws_account import UserError
from mlops_cli.planned_changes import doomed_changes, read_versions
from mlops_runtime.changes import compare

BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {}}
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {}}


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
