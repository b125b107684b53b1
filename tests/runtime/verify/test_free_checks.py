"""Checks of an account before any resource that costs money is created."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mlops_runtime.image import PLACEHOLDER_DIGEST
from mlops_runtime.verify import free_checks
from mlops_runtime.verify.problems import CheckError, VerifyError
from mlops_runtime.verify.template import Template

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud
    from mlops_runtime.verify.account import Place

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::models/*"}
PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}


def template(**resources: tuple[str, dict[str, Any]]) -> Template:
    """A template of some resources, each as type and properties."""
    rows = {name: {"Type": kind, "Properties": properties} for name, (kind, properties) in resources.items()}
    return Template({"Resources": rows}, account="000000000000", region="us-east-1")


def endpoint(service: str) -> tuple[str, dict[str, Any]]:
    """An interface endpoint."""
    name = f"com.amazonaws.us-east-1.{service}"
    return "AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Interface", "ServiceName": name}


def policy(*statements: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A managed policy."""
    return "AWS::IAM::ManagedPolicy", {"PolicyDocument": {"Version": "2012-10-17", "Statement": list(statements)}}


def machine(definition: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A state machine."""
    return "AWS::StepFunctions::StateMachine", {"DefinitionString": json.dumps(definition)}


def test_a_region_has_the_services_or_is_refused(place: Place) -> None:
    """The message contains the missing service."""
    found = free_checks.region_has_services(place, template(A=endpoint("states"), B=endpoint("sagemaker.api")))
    assert found.startswith("2 interface endpoint services, all of them in ")

    with pytest.raises(VerifyError, match=r"no endpoint service com\.amazonaws\.us-east-1\.telepathy.*--region"):
        free_checks.region_has_services(place, template(A=endpoint("telepathy"), B=endpoint("states")))


def test_quotas_are_those_that_the_steps_use(place: Place, cloud: Cloud) -> None:
    """Without an image no instance is needed; an exhausted quota is rejected."""
    usage = "ml.m5.large for endpoint usage"
    cloud.call(
        "/_mlops/quotas", {"VPCs per Region": 100, usage: 50}
    )  # other tests on this cloud have networks, endpoints
    found = free_checks.quotas_leave_room(place, with_image=True)
    assert re.fullmatch(rf"VPCs \d+ of 100; {usage} \d+ of 50", found)
    assert usage not in free_checks.quotas_leave_room(place, with_image=False)

    cloud.call("/_mlops/quotas", {"VPCs per Region": 100, usage: 1})
    with pytest.raises(VerifyError, match=rf"the quota '{usage}' of region us-east-1 is 1, "):
        free_checks.quotas_leave_room(place, with_image=True)
    cloud.call("/_mlops/quotas", {})


def test_an_image_is_there_or_refused(place: Place) -> None:
    """A missing repository is rejected too."""
    free_checks.image_is_in_the_registry(place, "mlops-runtime", PLACEHOLDER_DIGEST)
    for repository in ("mlops-runtime", "nowhere"):
        with pytest.raises(VerifyError, match=rf"has no image {repository}@sha256:f+; push it first, or give --free"):
            free_checks.image_is_in_the_registry(place, repository, "sha256:" + "f" * 64)


def test_a_policy_that_denies_what_it_allows_fails(place: Place) -> None:
    """Statements with conditions are read, and their outcome is not checked."""
    limited = {**ALLOW, "Action": "s3:PutObject", "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}
    assert (
        free_checks.policies_are_taken(place, template(P=policy(ALLOW, limited))) == "1 policies, 2 actions simulated"
    )

    contrary = template(P=policy(ALLOW, {**ALLOW, "Effect": "Deny"}))
    with pytest.raises(CheckError, match=r"P: s3:GetObject on arn:aws:s3:::models/\* is explicitDeny"):
        free_checks.policies_are_taken(place, contrary)


def test_a_definition_that_step_functions_refuses_fails(place: Place) -> None:
    """The message contains the diagnostic; each machine is read."""
    assert free_checks.definitions_are_taken(place, template(M=machine(PASS))) == "1 definition of 1 states"
    assert free_checks.definitions_are_taken(place, template(M=machine(PASS), N=machine(PASS))) == "2 definitions"

    astray = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "Nowhere"}}}
    with pytest.raises(CheckError, match=r"N: .*Nowhere"):
        free_checks.definitions_are_taken(place, template(M=machine(PASS), N=machine(astray)))
