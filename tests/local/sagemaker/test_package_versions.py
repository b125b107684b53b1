"""The model registry by boto3, with policies of groups."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud

if TYPE_CHECKING:
    from conftest import Plane

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64
GROUP_ARN = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/"
BUILD, STAGING = "111111111111", "222222222222"


def _specification(data: str = "s3://plane/models/a/model.tar.gz", **environment: str) -> dict[str, Any]:
    return {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": data, "Environment": environment}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }


def _group(plane: "Plane", name: str, versions: int = 0, **more: Any) -> list[str]:
    plane.sagemaker.create_model_package_group(ModelPackageGroupName=name)
    return [
        plane.sagemaker.create_model_package(
            ModelPackageGroupName=name, InferenceSpecification=_specification(), **more
        )["ModelPackageArn"]
        for _ in range(versions)
    ]


def test_versions_count_up_in_a_group(plane: "Plane") -> None:
    """Each package is the next version, pending approval, with the digest of its image."""
    arns = _group(plane, "counting", 2)
    assert arns == [f"arn:aws:sagemaker:us-east-1:000000000000:model-package/counting/{n}" for n in (1, 2)]
    described = plane.sagemaker.describe_model_package(ModelPackageName=arns[1])
    assert described["ModelPackageVersion"] == 2
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelPackageStatus"] == "Completed"
    assert described["InferenceSpecification"]["Containers"][0]["ImageDigest"] == "sha256:" + "0" * 64


def test_deleted_versions_are_not_used_again(plane: "Plane") -> None:
    """After version 1 is deleted the next one is version 2."""
    (first,) = _group(plane, "deleting", 1)
    plane.sagemaker.delete_model_package(ModelPackageName=first)
    second = plane.sagemaker.create_model_package(
        ModelPackageGroupName="deleting", InferenceSpecification=_specification()
    )
    assert second["ModelPackageArn"].endswith("/deleting/2")


def test_approval_sends_the_fields_that_changed(plane: "Plane") -> None:
    """An approval's event has ModelApprovalStatus, a later metadata update only metadata, so rules can distinguish them."""
    (arn,) = _group(plane, "approving", 1)
    plane.sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="by policy"
    )
    plane.sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"outcome": "PROMOTED"})
    found = plane.events(lambda e: e["detail"].get("ModelPackageArn") == arn, 3)
    by_fields = {tuple(e["detail"].get("UpdatedModelPackageFields", ())): e for e in found}
    assert set(by_fields) == {
        (),
        ("ModelApprovalStatus", "ApprovalDescription"),
        ("CustomerMetadataProperties",),
    }
    approved = by_fields["ModelApprovalStatus", "ApprovalDescription"]
    assert approved["detail-type"] == "SageMaker Model Package State Change"
    assert approved["detail"]["ModelPackageGroupName"] == "approving"
    assert approved["detail"]["ModelApprovalStatus"] == "Approved"
    assert approved["detail"]["CreationTime"].endswith("Z")
    described = plane.sagemaker.describe_model_package(ModelPackageName=arn)
    assert described["ApprovalDescription"] == "by policy"
    assert described["CustomerMetadataProperties"] == {"outcome": "PROMOTED"}


def test_metadata_are_merged_and_removed(plane: "Plane") -> None:
    """New metadata are merged; listed keys are removed."""
    (arn,) = _group(plane, "metadata", 1, CustomerMetadataProperties={"a": "1", "b": "2"})
    plane.sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"c": "3"}, CustomerMetadataPropertiesToRemove=["a"]
    )
    described = plane.sagemaker.describe_model_package(ModelPackageName=arn)
    assert described["CustomerMetadataProperties"] == {"b": "2", "c": "3"}


def test_lists_approved_versions_newest_first(plane: "Plane") -> None:
    """ListModelPackages filters by group and approval, sorts and paginates."""
    arns = _group(plane, "listing", 4)
    for arn in arns[:3]:
        plane.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    pages = plane.sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName="listing",
        ModelApprovalStatus="Approved",
        SortBy="CreationTime",
        SortOrder="Descending",
        PaginationConfig={"PageSize": 2},
    )
    sizes_and_versions = [[s["ModelPackageVersion"] for s in page["ModelPackageSummaryList"]] for page in pages]
    assert sizes_and_versions == [[3, 2], [1]]


def test_says_who_made_and_who_changed_a_package(plane: "Plane") -> None:
    """A role session by its ARN and principal id, for temporary credentials and for a machine's tasks.

    ``UserContext`` and ``IamIdentity`` of botocore's model; ids as GetCallerIdentity has them:
    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    _group(plane, "signed", 1)
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package/signed/1"
    made = plane.sagemaker.describe_model_package(ModelPackageName=arn)
    assert made["CreatedBy"]["IamIdentity"]["Arn"] == "arn:aws:iam::000000000000:root"
    assert "LastModifiedBy" not in made
    iam, machines = plane.cloud.client("iam"), plane.cloud.client("stepfunctions")
    statement = {"Effect": "Allow", "Action": "sagemaker:UpdateModelPackage", "Resource": arn}
    identities = {}
    for name, principal in {
        "approver": {"AWS": "arn:aws:iam::000000000000:root"},
        "approving-machine": {"Service": "states.amazonaws.com"},
    }.items():
        takes = ["sts:AssumeRole", "sts:SetSourceIdentity"]
        trust = [{"Effect": "Allow", "Principal": principal, "Action": takes}]
        document = json.dumps({"Version": "2012-10-17", "Statement": trust})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
        identities[name] = role
    keys = plane.cloud.client("sts").assume_role(
        RoleArn=identities["approver"]["Arn"], RoleSessionName="ann", SourceIdentity="ann@example.com"
    )["Credentials"]
    client = boto3.client(
        "sagemaker",
        endpoint_url=plane.cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    changed = plane.sagemaker.describe_model_package(ModelPackageName=arn)
    assert changed["LastModifiedBy"]["IamIdentity"] == {
        "Arn": "arn:aws:sts::000000000000:assumed-role/approver/ann",
        "PrincipalId": f"{identities['approver']['RoleId']}:ann",
        "SourceIdentity": "ann@example.com",
    }
    assert changed["CreatedBy"] == made["CreatedBy"]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sagemaker:updateModelPackage",
        "Arguments": {"ModelPackageArn": arn, "ModelApprovalStatus": "Rejected"},
        "End": True,
    }
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Task", "States": {"Task": task}})
    machine = machines.create_state_machine(
        name="approves", definition=definition, roleArn=identities["approving-machine"]["Arn"]
    )["stateMachineArn"]
    machines.start_execution(stateMachineArn=machine, name="one")

    def by_machine() -> Any:
        described = plane.sagemaker.describe_model_package(ModelPackageName=arn)
        return described if described["ModelApprovalStatus"] == "Rejected" else None

    found = plane.wait(by_machine, "the machine's update")["LastModifiedBy"]["IamIdentity"]
    assert found["Arn"] == "arn:aws:sts::000000000000:assumed-role/approving-machine/one"


def test_client_token_makes_one_version(plane: "Plane") -> None:
    """The same client token twice is one version."""
    _group(plane, "token")
    made = {
        plane.sagemaker.create_model_package(
            ModelPackageGroupName="token", InferenceSpecification=_specification(), ClientToken="t" * 36
        )["ModelPackageArn"]
        for _ in range(2)
    }
    assert len(made) == 1


def test_group_is_described_listed_and_deleted(plane: "Plane") -> None:
    """A group without versions can be deleted."""
    _group(plane, "empty")
    described = plane.sagemaker.describe_model_package_group(ModelPackageGroupName="empty")
    assert described["ModelPackageGroupArn"] == GROUP_ARN + "empty"
    listed = plane.sagemaker.list_model_package_groups(NameContains="empt")["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in listed] == ["empty"]
    plane.sagemaker.delete_model_package_group(ModelPackageGroupName="empty")
    with pytest.raises(ClientError, match="model-package-group/empty does not exist"):
        plane.sagemaker.describe_model_package_group(ModelPackageGroupName="empty")


def test_fails_to_delete_a_group_with_versions(plane: "Plane") -> None:
    """A group with versions cannot be deleted: ConflictException."""
    _group(plane, "full", 1)
    with pytest.raises(ClientError, match="still contains model packages") as error:
        plane.sagemaker.delete_model_package_group(ModelPackageGroupName="full")
    assert error.value.response["Error"]["Code"] == "ConflictException"


def test_fails_on_a_package_without_a_group(plane: "Plane") -> None:
    """Unversioned packages are not supported."""
    with pytest.raises(ClientError, match="give ModelPackageGroupName"):
        plane.sagemaker.create_model_package(ModelPackageName="alone", InferenceSpecification=_specification())


def test_fails_to_make_a_model_of_an_unapproved_package(plane: "Plane") -> None:
    """Only approved packages can be deployed; an approved one provides image, data and environment."""
    data = plane.put_model("packaged")
    plane.sagemaker.create_model_package_group(ModelPackageGroupName="deployable")
    arn = plane.sagemaker.create_model_package(
        ModelPackageGroupName="deployable", InferenceSpecification=_specification(data, COLOUR="blue")
    )["ModelPackageArn"]
    request = {
        "ModelName": "packaged",
        "ExecutionRoleArn": plane.role,
        "PrimaryContainer": {"ModelPackageName": arn},
    }
    with pytest.raises(ClientError, match="PendingManualApproval; only Approved ones can be deployed"):
        plane.sagemaker.create_model(**request)
    plane.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    plane.sagemaker.create_model(**request)
    plane.endpoint("packaged", plane.config("packaged"))
    answer = plane.invoke("packaged")
    assert answer["model"] == "packaged"
    assert "COLOUR" in answer["keys"]


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
