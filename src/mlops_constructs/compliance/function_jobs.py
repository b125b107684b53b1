"""Jobs that functions may create, derived from the policies of their roles.

The arguments of such calls are in the functions' code. IAM denies a call that does not meet the conditions of the statement that
allows it, so a condition determines a property of every job; a property without a condition is treated as not set. Deny
statements, permissions boundaries and service control policies are not evaluated.

See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.policies import Statement, as_list, policies_of

_TRAINING = {
    "sagemaker:vpcsubnets": "VpcConfig.Subnets",
    "sagemaker:vpcsecuritygroupids": "VpcConfig.SecurityGroupIds",
    "sagemaker:volumekmskey": "ResourceConfig.VolumeKmsKeyId",
    "sagemaker:instancetypes": "ResourceConfig.InstanceType",
    "sagemaker:outputkmskey": "OutputDataConfig.KmsKeyId",
    "sagemaker:networkisolation": "EnableNetworkIsolation",
    "sagemaker:intercontainertrafficencryption": "EnableInterContainerTrafficEncryption",
    "sagemaker:maxruntimeinseconds": "StoppingCondition.MaxRuntimeInSeconds",
}
# by action: the resource type that it creates, and the property of each condition key
_JOBS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "CreateTrainingJob": ("AWS::SageMaker::TrainingJob", _TRAINING),
    "CreateHyperParameterTuningJob": ("AWS::SageMaker::TrainingJob", _TRAINING),
    "CreateProcessingJob": (
        "AWS::SageMaker::ProcessingJob",
        {
            "sagemaker:vpcsubnets": "NetworkConfig.VpcConfig.Subnets",
            "sagemaker:vpcsecuritygroupids": "NetworkConfig.VpcConfig.SecurityGroupIds",
            "sagemaker:volumekmskey": "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
            "sagemaker:instancetypes": "ProcessingResources.ClusterConfig.InstanceType",
            "sagemaker:outputkmskey": "ProcessingOutputConfig.KmsKeyId",
            "sagemaker:networkisolation": "NetworkConfig.EnableNetworkIsolation",
            "sagemaker:intercontainertrafficencryption": "NetworkConfig.EnableInterContainerTrafficEncryption",
            "sagemaker:maxruntimeinseconds": "StoppingCondition.MaxRuntimeInSeconds",
        },
    ),
    "CreateTransformJob": (
        "AWS::SageMaker::TransformJob",
        {
            "sagemaker:volumekmskey": "TransformResources.VolumeKmsKeyId",
            "sagemaker:instancetypes": "TransformResources.InstanceType",
            "sagemaker:outputkmskey": "TransformOutput.KmsKeyId",
        },
    ),
}
_NEED_THE_KEY = frozenset({
    "arnequals", "arnlike", "bool", "numericequals", "numericlessthan", "numericlessthanequals", "stringequals",
    "stringequalsignorecase", "stringlike",
})  # fmt: skip


def function_jobs(assembly: Assembly, *types: str) -> Iterator[Resource]:
    """Yield the jobs of these types that functions may create, one per statement that allows it.

    Args:
        assembly: The templates of an app.
        types: Types of jobs, such as ``AWS::SageMaker::TrainingJob``.
    """
    wanted = {action: made for action, made in _JOBS.items() if made[0] in types}
    for function in assembly.of("AWS::Lambda::Function") if wanted else ():
        role = function.target(function.properties.get("Role"))
        for statement in policies_of(assembly, role) if role is not None else ():
            for action, (kind, keys) in wanted.items():
                if any(fnmatchcase(f"sagemaker:{action}".lower(), pattern) for pattern in statement.actions):
                    yield replace(function, type=kind, properties=_held(statement, keys), state=action)


def _held(statement: Statement, keys: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the properties that a statement's conditions require of every call."""
    properties: dict[str, Any] = {}
    for operator, tests in (statement.body.get("Condition") or {}).items():
        for key, value in tests.items() if isinstance(tests, Mapping) else ():
            path = keys.get(key.lower())
            if path is not None and _needs_key(operator, value):
                _put(properties, path.split("."), value)
    return properties


def _needs_key(operator: str, value: object) -> bool:
    """Return whether a call without the key fails a condition: negated operators, ForAllValues and IfExists match missing keys."""
    name = operator.lower()
    if name == "null":
        return [str(one).lower() for one in as_list(value)] == ["false"]
    return name.removeprefix("foranyvalue:") in _NEED_THE_KEY


def _put(properties: dict[str, Any], path: list[str], value: object) -> None:
    *parents, last = path
    for parent in parents:
        properties = properties.setdefault(parent, {})
    properties[last] = value
