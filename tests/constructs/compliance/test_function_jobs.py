"""Jobs that functions create, derived from the policies of their roles."""

from typing import Any

import pytest

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.function_jobs import function_jobs
from mlops_constructs.compliance.rules import RULES
from mlops_constructs.compliance.state_machines import made

TRAINING, PROCESSING = "AWS::SageMaker::TrainingJob", "AWS::SageMaker::ProcessingJob"
PLACED = {
    "ForAllValues:StringEquals": {"sagemaker:VpcSubnets": ["s"], "sagemaker:VpcSecurityGroupIds": ["g"]},
    "Null": {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"},
}
WHOLE = {
    **PLACED,
    "ArnEquals": {"sagemaker:VolumeKmsKey": "arn:key", "sagemaker:OutputKmsKey": "arn:key"},
    "Bool": {"sagemaker:NetworkIsolation": "true", "sagemaker:InterContainerTrafficEncryption": "true"},
    "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": "3600"},
}


def _assembly(*statements: dict[str, Any]) -> Assembly:
    """Return an assembly with a function whose role has a policy."""
    policy = {"Roles": [{"Ref": "Role"}], "PolicyDocument": {"Statement": list(statements)}}
    resources = {
        "Starter": {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
        "Other": {"Type": "AWS::Lambda::Function", "Properties": {"Role": "arn:aws:iam::123456789012:role/other"}},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {}},
        "Policy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": policy},
    }
    return Assembly({"S": {"Resources": resources}})


def _allow(action: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition or {}}


def test_a_condition_is_a_property_of_each_job() -> None:
    """The job is attributed to the starting function and identified by the action."""
    assembly = _assembly(_allow("sagemaker:CreateProcessingJob", WHOLE))

    (job,) = function_jobs(assembly, PROCESSING, TRAINING)

    assert (job.logical_id, job.type, job.state) == ("Starter", PROCESSING, "CreateProcessingJob")
    assert job.get("NetworkConfig.VpcConfig.Subnets") == "false"
    assert job.get("ProcessingOutputConfig.KmsKeyId") == "arn:key"
    assert job.get("NetworkConfig.EnableNetworkIsolation") == "true"
    assert job.get("StoppingCondition.MaxRuntimeInSeconds") == "3600"


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"ForAllValues:StringEquals": {"sagemaker:VpcSubnets": ["s"]}},
        {"StringEqualsIfExists": {"sagemaker:VpcSubnets": "s"}},
        {"StringNotEquals": {"sagemaker:VpcSubnets": "s"}},
        {"ForAnyValue:StringNotEquals": {"sagemaker:VpcSubnets": "s"}},
        {"Null": {"sagemaker:VpcSubnets": "true"}},
    ],
)
def test_what_a_call_may_leave_out_is_left_out(condition: dict[str, Any]) -> None:
    """Treats properties as missing where a condition also matches an absent key."""
    (job,) = function_jobs(_assembly(_allow("sagemaker:CreateTrainingJob", condition)), TRAINING)

    assert job.get("VpcConfig") is None


@pytest.mark.parametrize("action", ["sagemaker:Create*", "sagemaker:*", "*", "SageMaker:createtrainingjob"])
def test_a_wildcard_may_create_jobs_too(action: str) -> None:
    """Matches actions as IAM does; each statement is one job, so the weakest is visible."""
    strict = _allow("sagemaker:CreateTrainingJob", WHOLE)

    found = list(made(_assembly(strict, _allow(action)), TRAINING))

    assert "CreateTrainingJob" in {job.state for job in found}
    assert sorted(bool(job.get("VpcConfig")) for job in found if job.state == "CreateTrainingJob") == [False, True]


def test_what_denies_or_creates_nothing_shows_nothing() -> None:
    """Ignores denials, other actions and roles outside the templates."""
    denied = {**_allow("sagemaker:CreateTrainingJob"), "Effect": "Deny"}

    assert list(function_jobs(_assembly(denied, _allow("sagemaker:DescribeTrainingJob")), TRAINING, PROCESSING)) == []


@pytest.mark.parametrize("action", ["CreateTrainingJob", "CreateProcessingJob"])
def test_rules_read_the_jobs_of_functions(action: str) -> None:
    """Every rule about jobs reports a function without conditions, and none with all of them."""
    bare, whole = (_assembly(_allow(f"sagemaker:{action}", condition)) for condition in ({}, WHOLE))
    jobs = {rule.id: rule for rule in RULES if rule.id.startswith("Job")}

    found = {name: [violation.detail for violation in rule.check(bare)] for name, rule in jobs.items()}

    assert found == {name: [action] for name in jobs}
    assert [violation for rule in jobs.values() for violation in rule.check(whole)] == []
    assert len(jobs) == 6


@pytest.mark.parametrize(
    ("types", "found"), [(["ml.g5.xlarge"], 0), (["ml.g5.xlarge", "ml.m5.large"], 1), (["ml.m5.large"], 1)]
)
def test_jobs_held_to_local_storage_need_no_key(types: list[str], found: int) -> None:
    """Local storage is encrypted by hardware and takes no key; a type with a volume in the same statement still needs one."""
    rule = next(rule for rule in RULES if rule.id == "JobVolume")
    condition = {"ForAnyValue:StringEquals": {"sagemaker:InstanceTypes": types}}
    assert len(list(rule.check(_assembly(_allow("sagemaker:CreateTrainingJob", condition))))) == found
