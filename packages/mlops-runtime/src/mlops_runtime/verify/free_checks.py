"""Checks of an account without resources that are billed by the hour."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.verify.account import Place
from mlops_runtime.verify.problems import CheckError, VerifyError
from mlops_runtime.verify.steps import FLEET, INSTANCE
from mlops_runtime.verify.template import Statement, Template

if TYPE_CHECKING:
    from mypy_boto3_iam.type_defs import EvaluationResultTypeDef

_VPCS = "VPCs per Region"
_ACTIONS_PER_CALL = 100


def region_has_services(place: Place, template: Template) -> str:
    """Check that the region has the interface endpoint services of the unit's network.

    See: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcEndpointServices.html

    Raises:
        VerifyError: If the region lacks one, so that nothing can be deployed.
    """
    wanted = template.interface_services()
    found: dict[str, set[str]] = {}
    for page in place.client("ec2").get_paginator("describe_vpc_endpoint_services").paginate():
        for detail in page["ServiceDetails"]:
            found[detail["ServiceName"]] = set(detail.get("AvailabilityZones", ()))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise VerifyError(
            f"region {place.region} has no endpoint service {', '.join(missing)}, which the unit's network needs; "
            "choose another region with --region"
        )
    zones = set.intersection(*(found[name] for name in wanted)) if wanted else set()
    if not zones:
        raise VerifyError(
            f"no zone of region {place.region} has all of the endpoint services {', '.join(wanted)}; choose another region "
            "with --region"
        )
    return f"{len(wanted)} interface endpoint services, all of them in {len(zones)} zones"


def quotas_leave_room(place: Place, *, with_image: bool) -> str:
    """Compare the unit's needs with the account's quotas and their usage.

    Raises:
        VerifyError: If a quota is used up.
    """
    seen = []
    limit = _quota(place, "vpc", _VPCS)
    used = len(place.client("ec2").describe_vpcs()["Vpcs"])
    if limit is not None and used + 1 > limit:
        raise VerifyError(
            f"{used} of {limit:.0f} VPCs of region {place.region} are used and the unit needs one more; delete one, or "
            f"request a higher quota '{_VPCS}' in Service Quotas"
        )
    seen.append(f"VPCs {used} of {'an unknown number' if limit is None else f'{limit:.0f}'}")
    if with_image:
        name, needed = f"{INSTANCE} for endpoint usage", 2 * FLEET
        limit, used = _quota(place, "sagemaker", name), _instances(place)
        if limit is not None and used + needed > limit:
            raise VerifyError(
                f"the quota '{name}' of region {place.region} is {limit:.0f}, {used} are used, and a canary needs {needed}: "
                f"request {used + needed} in Service Quotas, or give --free"
            )
        seen.append(f"{name} {used} of {'an unknown number' if limit is None else f'{limit:.0f}'}")
    return "; ".join(seen)


def image_is_in_the_registry(place: Place, repository: str, digest: str) -> None:
    """Check that an image is in the account's registry.

    Args:
        place: The account.
        digest: ``sha256:`` and 64 hexadecimal digits.

    Raises:
        VerifyError: If it is missing.
    """
    found: list[object] = []
    with Tolerated("RepositoryNotFoundException", "ImageNotFoundException"):
        answer = place.client("ecr").describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])
        found = answer["imageDetails"]
    if not found:
        raise VerifyError(
            f"the registry of region {place.region} has no image {repository}@{digest}; push it first, or give --free for the "
            "free checks"
        )


def policies_are_taken(place: Place, template: Template) -> str:
    """Let IAM parse each policy, and simulate the actions of its statements without conditions.

    See: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html

    Raises:
        CheckError: If IAM rejects a policy, or denies an allowed action.
    """
    iam, policies = place.client("iam"), template.policies()
    problems, requested = [], 0
    for statement in template.statements():
        actions = [action for action in statement.actions if "*" not in action][:_ACTIONS_PER_CALL]
        if not actions:
            continue
        try:
            answer = iam.simulate_custom_policy(
                PolicyInputList=[policies[statement.policy]], ActionNames=actions, ResourceArns=[statement.resources[0]]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("InvalidInput", "PolicyEvaluation", "InvalidInputException"):
                raise
            problems.append(f"{statement.policy}: {error.response['Error']['Message']}")
            continue
        requested += len(actions)
        problems += _denied(statement, answer["EvaluationResults"])
    if problems:
        raise CheckError("; ".join(problems))
    return f"{len(policies)} policies, {requested} actions simulated"


def _denied(statement: Statement, results: "Sequence[EvaluationResultTypeDef]") -> list[str]:
    if statement.has_conditions:
        return []
    return [
        f"{statement.policy}: {result['EvalActionName']} on {statement.resources[0]} is {result['EvalDecision']}"
        for result in results
        if result["EvalDecision"] != "allowed"
    ]


def definitions_are_taken(place: Place, template: Template) -> str:
    """Let Step Functions validate each state machine's definition.

    See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html

    Raises:
        CheckError: With each diagnostic of severity ERROR.
    """
    machines = template.machines()
    problems = []
    for name, definition in machines.items():
        answer = place.client("stepfunctions").validate_state_machine_definition(definition=definition, type="STANDARD")
        if answer["result"] != "OK":
            problems += [
                f"{name}: {d['code']} at {d.get('location', '')}: {d['message']}" for d in answer["diagnostics"]
            ]
    if problems:
        raise CheckError("; ".join(problems))
    states = sum(len(json.loads(definition)["States"]) for definition in machines.values())
    return f"{len(machines)} definition of {states} states" if len(machines) == 1 else f"{len(machines)} definitions"


def _quota(place: Place, service: str, name: str) -> float | None:
    """Return a quota; None if Service Quotas does not list it."""
    for page in place.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service):
        for quota in page["Quotas"]:
            if quota.get("QuotaName") == name:
                return float(quota["Value"])
    return None


def _instances(place: Place) -> int:
    """Return the number of instances of the type in the account's endpoints."""
    sagemaker, used = place.client("sagemaker"), 0
    for page in sagemaker.get_paginator("list_endpoints").paginate():
        for endpoint in page["Endpoints"]:
            described = sagemaker.describe_endpoint(EndpointName=endpoint["EndpointName"])
            config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
            for variant in config["ProductionVariants"]:
                if variant.get("InstanceType") == INSTANCE:
                    used += int(variant.get("InitialInstanceCount", 0))
    return used
