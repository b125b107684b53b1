"""What a spec may ask of a cluster."""

from dataclasses import replace
from typing import Any

import pytest
from eks_samples import EKS, SPEC, TENANT, VERSION, specs, versions, with_eks
from hypothesis import HealthCheck, given, settings

from mlops_runtime.contracts.eks import EksTenantSpec, SlotVersion
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import CaptureSpec
from mlops_runtime.eks.limits import ManifestError, spec_problems, tenant_problems, version_problems

_GROUPS = EKS.target_groups


def test_the_plain_ones_are_fine() -> None:
    """No problem is made up."""
    assert list(spec_problems(SPEC)) == []
    assert list(version_problems(SPEC, VERSION)) == []
    assert list(tenant_problems(TENANT)) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(specs(), versions())
def test_every_valid_spec_is_fine(spec: ServingSpec, version: SlotVersion) -> None:
    """The strategy of the property tests draws nothing that is refused."""
    assert list(spec_problems(spec)) == []
    assert list(version_problems(spec, version)) == []


@pytest.mark.parametrize(
    ("spec", "said"),
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
        (with_eks(ingress_cidrs=("0.0.0.0/0",)), "which is everybody"),
        (with_eks(egress_cidrs=("10.0.0.1/16",)), "has host bits set"),
        (with_eks(dns_cidrs=("dns",)), "eks.dns_cidrs must be CIDR blocks"),
        (with_eks(target_groups={"blue": _GROUPS["blue"]}), "got none for 'green'"),
        (with_eks(target_groups={**_GROUPS, "green": "arn:x"}), "eks.target_groups.green must be the ARN"),
        (with_eks(target_groups=dict.fromkeys(_GROUPS, _GROUPS["blue"])), "no weight could tell the slots apart"),
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
def test_each_thing_that_a_cluster_would_refuse_is_said(spec: ServingSpec, said: str) -> None:
    """Exactly one sentence each, with the value and the fix."""
    found = list(spec_problems(spec))

    assert len(found) == 1
    assert said in found[0]


def test_what_is_not_known_yet_is_not_looked_at() -> None:
    """At synth, names and ARNs may be tokens."""
    token = "${Token[Name.1]}"
    spec = replace(with_eks(rule=token, target_groups={"blue": token, "green": token + "2"}), endpoint=token)

    assert list(spec_problems(spec, known=lambda text: not text.startswith("${"))) == []
    assert len(list(spec_problems(spec))) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "repo:latest"}, "image must be by digest"),
        ({"artifact_uri": "https://x/y"}, "artifact_uri must be like s3://<bucket>/<key>"),
        ({"artifact_sha256": "B" * 64}, "artifact_sha256 must be 64 lower-case"),
        ({"model_sha256": ""}, "model_sha256 must be 64"),
        ({"environment": {"A-B": "1"}}, "'A-B' is no name of a variable"),
        ({"environment": {"A": "\x00"}}, "A holds a zero byte"),
        ({"environment": {"A": "x" * 32_761}}, "must have at most 32768 bytes, got 32769"),
        ({"environment": {"A": '"' * 16_381}}, "must have at most 32768 bytes, got 32770"),
        ({"environment": {"MLOPS_ENDPOINT": "other"}}, "MLOPS_ENDPOINT is the platform's own, here 'demand-forecast'"),
        ({"environment": {"AWS_REGION": "us-east-1"}}, "here 'eu-west-1', got 'us-east-1'; take it out of the package"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}, "AWS_SECRET_ACCESS_KEY must not be set"),
    ],
)
def test_a_version_must_be_exact(change: dict[str, Any], said: str) -> None:
    """What it names is by hash, and its environment leaves the platform's alone."""
    found = list(version_problems(SPEC, replace(VERSION, **change)))

    assert len(found) == 1
    assert said in found[0]


def test_a_variable_that_says_the_same_is_no_problem() -> None:
    """A package that names the region it was made for."""
    assert list(version_problems(SPEC, replace(VERSION, environment={"AWS_REGION": "eu-west-1"}))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"namespace": "kube-system"}, "must be the unit's own, got 'kube-system'"),
        ({"namespace": "Demand"}, "namespace must be 1 to 63"),
        ({"unit": ""}, "unit must be a label"),
        ({"applier_group": "system:masters"}, "must not begin with system: or eks:"),
        ({"applier_group": "a b"}, "must be a name without spaces"),
        ({"cpu": "many"}, "cpu must be a Kubernetes quantity"),
        ({"memory": "0"}, "memory must be more than 0"),
        ({"pods": 0}, "pods must be at least 1"),
        ({"labels": {"a": "b c"}}, "is no Kubernetes label"),
    ],
)
def test_a_tenant_has_a_place_of_its_own(change: dict[str, Any], said: str) -> None:
    """One sentence each."""
    found = list(tenant_problems(replace(TENANT, **change)))

    assert len(found) == 1
    assert said in found[0]


def test_all_problems_are_in_the_message() -> None:
    """And one by one in ``problems``."""
    wrong = EksTenantSpec(namespace="X", unit="", applier_group="", cpu="", memory="", pods=0)
    error = ManifestError(tenant_problems(wrong))

    assert len(error.problems) == 6
    assert all(problem in str(error) for problem in error.problems)
