"""Resource policies of model package groups."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud

BUILD, STAGING = "111111111111", "222222222222"


def policy(group: str, **more: Any) -> dict[str, Any]:
    """Return a policy that lets staging describe a group's versions."""
    versions = f"arn:aws:sagemaker:eu-west-1:{BUILD}:model-package/{group}/*"
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{STAGING}:root"},
                 "Action": "sagemaker:DescribeModelPackage", "Resource": versions, **more}  # fmt: skip
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_a_policy_is_put_read_replaced_and_deleted(cloud: Cloud, unique: str) -> None:
    """One per group; an oversized or invalid policy is rejected, and reading a missing one is an error."""
    client = cloud.at(BUILD, "eu-west-1").client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=unique)
    with pytest.raises(ClientError, match="Cannot find resource policy"):
        client.get_model_package_group_policy(ModelPackageGroupName=unique)
    for each in (policy(unique), policy(unique, Sid="again")):
        client.put_model_package_group_policy(ModelPackageGroupName=unique, ResourcePolicy=json.dumps(each))
        found = client.get_model_package_group_policy(ModelPackageGroupName=unique)["ResourcePolicy"]
        assert json.loads(found) == each
    for wrong in (json.dumps(policy(unique, Sid="x" * 20_480)), "no policy", "{}"):
        with pytest.raises(ClientError, match="ValidationException"):
            client.put_model_package_group_policy(ModelPackageGroupName=unique, ResourcePolicy=wrong)
    assert "ResourcePolicy" not in client.describe_model_package_group(ModelPackageGroupName=unique)
    client.delete_model_package_group_policy(ModelPackageGroupName=unique)
    with pytest.raises(ClientError, match="Cannot find resource policy"):
        client.get_model_package_group_policy(ModelPackageGroupName=unique)
    client.delete_model_package_group(ModelPackageGroupName=unique)


def test_a_templates_policy_is_the_groups(cloud: Cloud, unique: str, wait_for: Callable[..., Any]) -> None:
    """Created, updated in place, deleted; a group with a rejected policy is not left behind."""
    place = cloud.at(BUILD, "eu-west-1")
    client, sagemaker = place.client("cloudformation"), place.client("sagemaker")

    def apply(call: Callable[..., Any], document: dict[str, Any] | None, stack: str = unique) -> str:
        properties = {"ModelPackageGroupName": stack, **({"ModelPackageGroupPolicy": document} if document else {})}
        template = {"Resources": {"Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}}}
        call(StackName=stack, TemplateBody=json.dumps(template))
        ended = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "ROLLBACK_COMPLETE")
        state: Callable[[], str] = lambda: client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]  # noqa: E731
        return str(wait_for(lambda: (found := state()) in ended and found))

    assert apply(client.create_stack, policy(unique)) == "CREATE_COMPLETE"
    arn = sagemaker.describe_model_package_group(ModelPackageGroupName=unique)["ModelPackageGroupArn"]
    assert apply(client.update_stack, policy(unique, Sid="again")) == "UPDATE_COMPLETE"
    found = sagemaker.get_model_package_group_policy(ModelPackageGroupName=unique)["ResourcePolicy"]
    assert json.loads(found) == policy(unique, Sid="again")
    assert apply(client.update_stack, None) == "UPDATE_COMPLETE"
    with pytest.raises(ClientError, match="Cannot find resource policy"):
        sagemaker.get_model_package_group_policy(ModelPackageGroupName=unique)
    assert sagemaker.describe_model_package_group(ModelPackageGroupName=unique)["ModelPackageGroupArn"] == arn
    assert apply(client.create_stack, policy(unique, Sid="x" * 20_480), f"{unique}-long") == "ROLLBACK_COMPLETE"
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=f"{unique}-long")
    for stack in (unique, f"{unique}-long"):
        client.delete_stack(StackName=stack)
