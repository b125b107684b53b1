"""Limits of specs on a cluster, parsing of quantities like Kubernetes, and features that slots lack."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.eks.samples import EKS, SPEC, TENANT, VERSION, specs, versions, with_eks

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    CaptureSpec,
    EksTenantSpec,
    GoldenSpec,
    ScalingSpec,
    ServerlessSpec,
    ShadowSpec,
    SlotVersion,
    VariantSpec,
)
from mlops_runtime.eks.slot_limits import (
    MAXIMUM_PODS,
    ManifestError,
    QuantityError,
    policy_problems,
    quantity,
    serving_problems,
    spec_problems,
    tenant_problems,
    version_problems,
)
from mlops_runtime.rollout.serving_limits import SpecError, check_spec

_GROUPS = EKS.target_groups


GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)


def test_the_plain_ones_are_fine() -> None:
    """No problem is made up."""
    assert list(spec_problems(SPEC)) == []
    assert list(version_problems(SPEC, VERSION)) == []
    assert list(tenant_problems(TENANT)) == []


@settings(max_examples=25)
@given(specs(), versions())
def test_every_valid_spec_is_fine(spec: ServingSpec, version: SlotVersion) -> None:
    """The strategy of the property tests draws nothing that is refused."""
    assert list(spec_problems(spec)) == []
    assert list(version_problems(spec, version)) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(SPEC, eks=None), "has no eks: it is served by SageMaker"),
        (replace(SPEC, endpoint="Demand"), "endpoint must be 1 to 57 lower-case letters, digits and dashes"),
        (replace(SPEC, endpoint="1demand"), "a letter first, got '1demand'"),
        (replace(SPEC, endpoint="d" * 58), "endpoint must be 1 to 57"),
        (replace(SPEC, endpoint="demand\n"), r"got 'demand\n'"),
        (with_eks(namespace="-x"), "eks.namespace must be"),
        (with_eks(service_account=""), "eks.service_account must be"),
        (with_eks(service_account="default"), "must be the service's own, got 'default'"),
        (with_eks(minimum=0), "eks.minimum must be at least 1, got 0"),
        (with_eks(minimum=7), "eks.maximum must be at least eks.minimum, got 6 < 7"),
        (with_eks(cpu="1 core"), "eks.cpu must be a Kubernetes quantity like 500m, 2 or 1Gi, got '1 core'"),
        (with_eks(cpu="10m"), "eks.cpu must be at least 50m, got '10m'"),
        (with_eks(memory="1Mi"), "eks.memory must be at least 128Mi"),
        (with_eks(cpu_target=101), "eks.cpu_target must be 1 to 100 percent"),
        (with_eks(alarms={"red": ()}), "eks.alarms must be by slot"),
        (with_eks(ingress_cidrs=()), "eks.ingress_cidrs must have the load balancer's subnets, got none"),
        (with_eks(ingress_cidrs=("0.0.0.0/0",)), "which is every address"),
        (with_eks(egress_cidrs=("10.0.0.1/16",)), "has host bits set"),
        (with_eks(dns_cidrs=("dns",)), "eks.dns_cidrs must be CIDR blocks"),
        (with_eks(target_groups={"blue": _GROUPS["blue"]}), "got none for 'green'"),
        (with_eks(target_groups={**_GROUPS, "green": "arn:x"}), "eks.target_groups.green must be the ARN"),
        (with_eks(target_groups=dict.fromkeys(_GROUPS, _GROUPS["blue"])), "weights could not distinguish the slots"),
        (
            with_eks(rule="arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener-rule/net/a/1/2/3"),
            "eks.rule must be",
        ),
        (with_eks(image="repo/model:latest"), "eks.image must be by digest"),
        (
            replace(SPEC, capture=CaptureSpec(percent=0, destination="s3://captures/x")),
            "capture.percent must be 1 to 100",
        ),
        (
            replace(SPEC, capture=CaptureSpec(percent=1, destination="/captures")),
            "capture.destination must be like s3://",
        ),
    ],
)
def test_each_thing_that_a_cluster_would_refuse_is_said(spec: ServingSpec, message: str) -> None:
    """One problem each, with the value and the fix."""
    found = list(spec_problems(spec))

    assert len(found) == 1
    assert message in found[0]


def test_what_is_not_known_yet_is_not_looked_at() -> None:
    """At synthesis, names and ARNs may be tokens."""
    token = "${Token[Name.1]}"
    spec = replace(with_eks(rule=token, target_groups={"blue": token, "green": token + "2"}), endpoint=token)

    assert list(spec_problems(spec, known=lambda text: not text.startswith("${"))) == []
    assert len(list(spec_problems(spec))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "repo:latest"}, "image must be by digest"),
        ({"artifact_uri": "https://x/y"}, "artifact_uri must be like s3://<bucket>/<key>"),
        ({"artifact_sha256": "B" * 64}, "artifact_sha256 must be 64 lower-case"),
        ({"model_sha256": ""}, "model_sha256 must be 64"),
        ({"environment": {"A-B": "1"}}, "'A-B' is not a variable name"),
        ({"environment": {"A": "\x00"}}, "A contains a null byte"),
        ({"environment": {"A": "x" * 32_761}}, "must have at most 32768 bytes, got 32769"),
        ({"environment": {"A": '"' * 16_381}}, "must have at most 32768 bytes, got 32770"),
        ({"environment": {"MLOPS_ENDPOINT": "other"}}, "MLOPS_ENDPOINT is set by the platform to 'demand-forecast'"),
        ({"environment": {"AWS_REGION": "us-east-1"}}, "'eu-west-1', got 'us-east-1'; remove it from the package"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}, "AWS_SECRET_ACCESS_KEY must not be set"),
    ],
)
def test_a_version_must_be_exact(change: dict[str, Any], message: str) -> None:
    """It names content by hash, and does not set the platform's variables."""
    found = list(version_problems(SPEC, replace(VERSION, **change)))

    assert len(found) == 1
    assert message in found[0]


def test_a_variable_that_says_the_same_is_no_problem() -> None:
    """A package may name the region for which it was made."""
    assert list(version_problems(SPEC, replace(VERSION, environment={"AWS_REGION": "eu-west-1"}))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"namespace": "kube-system"}, "must be the unit's own, got 'kube-system'"),
        ({"namespace": "Demand"}, "namespace must be 1 to 63"),
        ({"unit": ""}, "unit must be a label"),
        ({"applier_group": "system:masters"}, "must not begin with system: or eks:"),
        ({"applier_group": "a b"}, "must be a name without spaces"),
        ({"cpu": "many"}, "cpu must be a Kubernetes quantity"),
        ({"memory": "0"}, "memory must be more than 0"),
        ({"pods": 0}, "pods must be at least 1"),
        ({"labels": {"a": "b c"}}, "is not a Kubernetes label"),
    ],
)
def test_a_tenant_has_a_place_of_its_own(change: dict[str, Any], message: str) -> None:
    """One problem each."""
    found = list(tenant_problems(replace(TENANT, **change)))

    assert len(found) == 1
    assert message in found[0]


def test_all_problems_are_in_the_message() -> None:
    """And separately in ``problems``."""
    wrong = EksTenantSpec(namespace="X", unit="", applier_group="", cpu="", memory="", pods=0)
    error = ManifestError(tenant_problems(wrong))

    assert len(error.problems) == 6
    assert all(problem in str(error) for problem in error.problems)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("250m", Fraction(1, 4)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.", 1),
        ("1Gi", 2**30),
        ("1.5Gi", 3 * 2**29),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("1e-3", Fraction(1, 1000)),
        ("123u", Fraction(123, 10**6)),
        ("+2k", 2000),
        ("-1", -1),
    ],
)
def test_quantities_are_exact(text: str, number: Fraction) -> None:
    """Examples of the API's documentation, and each kind of suffix."""
    assert quantity(text) == number


@pytest.mark.parametrize(
    "text", ["", "1 core", "1GB", "1gi", "Gi", "0x10", "1m5", "1e", "1 ", "one", "1_000", "٣", "1\n", "NaN"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """With the value and what one looks like."""
    with pytest.raises(QuantityError, match="like 500m, 2 or 1Gi, got"):
        quantity(text)


@given(st.integers(0, 10**9), st.sampled_from(["m", "", "k", "Mi", "Ti"]))
def test_suffixes_keep_the_order(number: int, suffix: str) -> None:
    """A larger number of the same unit is a larger quantity."""
    assert quantity(f"{number}{suffix}") < quantity(f"{number + 1}{suffix}")


def test_a_plain_service_is_fine() -> None:
    """One percent of the requests is possible, as no instance is divided."""
    assert list(serving_problems(SPEC)) == []
    assert check_spec(SPEC) is SPEC
    one = replace(SPEC, rollout=replace(SPEC.rollout, percent=1))
    assert check_spec(one) is one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ROLLING"}, "got ROLLING: slots are complete fleets"),
        ({"golden": GOLDEN, "synthetic": 10}, "omit synthetic_invocations"),
        ({"shadow": ShadowSpec(percent=10, bake=900)}, "load balancers do not copy requests; omit shadow"),
        ({"keep": 3}, "keep must be 1 on EKS, got 3"),
    ],
)
def test_a_policy_that_slots_cannot_execute_is_refused(change: dict[str, Any], message: str) -> None:
    """The error has the alternative."""
    rollout = replace(SPEC.rollout, **change)
    (problem,) = policy_problems(rollout)
    assert message in problem
    with pytest.raises(SpecError) as caught:
        check_spec(replace(SPEC, rollout=rollout))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            replace(SPEC, serverless=ServerlessSpec(memory_mb=2048, max_concurrency=5)),
            "serverless is only possible on SageMaker",
        ),
        (
            replace(SPEC, asynchronous=AsynchronousSpec(output="s3://o", failures="s3://f")),
            "asynchronous is only possible on SageMaker",
        ),
        (replace(SPEC, scaling=ScalingSpec(minimum=1, maximum=2)), "give eks.minimum, maximum and cpu_target"),
        (
            replace(SPEC, variants=(VariantSpec(name="B", instance_type="ml.m5.large", instance_count=1, weight=0.1),)),
            "define another service",
        ),
        (replace(SPEC, instance_type="ml.m5.large", instance_count=2), "got 'ml.m5.large' and 2"),
        (replace(SPEC, variant="Main"), "variant must be 'AllTraffic' on EKS, got 'Main'"),
        (with_eks(maximum=141), "at most 140 pods, got 141"),
    ],
)
def test_what_only_sagemaker_knows_is_refused(spec: Any, message: str) -> None:
    """It would be accepted and ignored."""
    (problem,) = serving_problems(spec)
    assert message in problem
    with pytest.raises(SpecError) as caught:
        check_spec(spec)
    assert problem in str(caught.value)


def test_the_health_of_all_pods_is_a_payload_that_a_machine_carries() -> None:
    """Every member of a description at its longest.

    See: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealthDescription.html
    """
    longest = {
        "Target": {"Id": "100.123.123.123", "Port": 8080, "AvailabilityZone": "ap-southeast-2a"},
        "HealthCheckPort": "8080",
        "TargetHealth": {
            "State": "unhealthy",
            "Reason": "Target.FailedHealthChecks",
            "Description": "Health checks failed with these codes: [500]",
        },
        "AnomalyDetection": {"Result": "anomalous", "MitigationInEffect": "yes"},
        "AdministrativeOverride": {
            "State": "no_override",
            "Reason": "AdministrativeOverride.NoOverride",
            "Description": "No override is currently active on target",
        },
    }
    answer = json.dumps({"TargetHealthDescriptions": [longest] * MAXIMUM_PODS}, separators=(",", ":"))
    assert len(answer) <= 64 * 1024


def test_everything_is_said_at_once() -> None:
    """Also problems that the cluster would report."""
    bad = with_eks(minimum=0)
    bad = replace(bad, rollout=replace(bad.rollout, kind="ROLLING", keep=2))
    with pytest.raises(SpecError) as caught:
        check_spec(bad)
    assert all(part in str(caught.value) for part in ("eks.minimum", "ROLLING", "keep must be 1"))
