"""The pod of a slot."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.eks.samples import IMAGE, SPEC, VERSION, specs, versions, with_eks

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import SlotVersion
from mlops_runtime.eks.pod import GRACE_SECONDS, PRE_STOP_SECONDS, eks_of, pod_template, version_annotations
from mlops_runtime.serving.settings import Settings

_LABELS = {"app": "x", "slot": "blue", "more": "y"}
_SELECTOR = {"app": "x", "slot": "blue"}


def _pod(spec: ServingSpec = SPEC) -> dict:
    return pod_template(spec, VERSION, labels=_LABELS, selector=_SELECTOR)["spec"]


def test_one_image_fetches_and_serves() -> None:
    """By digest, with the archive's hash, into the folder that the server reads."""
    fetch, server = _pod()["initContainers"][0], _pod()["containers"][0]

    assert fetch["args"] == ["fetch", VERSION.artifact_uri, VERSION.artifact_sha256, "/opt/ml/model"]
    assert server["args"] == ["serve"]
    assert {fetch["image"], server["image"]} == {IMAGE}
    assert fetch["volumeMounts"][0] == {"name": "model", "mountPath": "/opt/ml/model"}
    assert server["volumeMounts"][0] == {"name": "model", "mountPath": "/opt/ml/model", "readOnly": True}


def test_a_pod_is_nobody_and_writes_nowhere_else() -> None:
    """Pod security ``restricted`` and a read-only root for both containers."""
    pod = _pod()

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        }
        assert (
            container["resources"]["requests"] == container["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
        )
    assert [set(volume) for volume in pod["volumes"]] == [{"name", "emptyDir"}] * 2


def test_a_pod_leaves_after_its_last_request() -> None:
    """The preStop sleep, the server's 25 s for requests in flight, and a margin."""
    pod = _pod()

    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}}
    assert pod["terminationGracePeriodSeconds"] == GRACE_SECONDS >= PRE_STOP_SECONDS + 25 + 5
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pod["containers"][0][probe]["httpGet"] == {"path": "/ping", "port": "http"}


def test_capture_and_names_come_by_environment() -> None:
    """Next to the package's variables, sorted; without capture there are none of it."""
    values = {v["name"]: v["value"] for v in _pod()["containers"][0]["env"]}

    assert values == {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "MLOPS_CAPTURE_BYTES": "16777216",
        "MLOPS_CAPTURE_KMS_KEY": "arn:aws:kms:eu-west-1:111122223333:key/k",
        "MLOPS_CAPTURE_PERCENT": "50",
        "MLOPS_CAPTURE_URI": "s3://captures/capture",
        "MLOPS_ENDPOINT": "demand-forecast",
        "MLOPS_MODEL_SHA256": "c" * 64,
        "MLOPS_VARIANT": "AllTraffic",
        "OMP_NUM_THREADS": "1",
        "SAGEMAKER_BIND_TO_PORT": "8080",
    }
    assert list(values) == sorted(values)
    without = _pod(replace(SPEC, capture=None))["containers"][0]["env"]
    assert not [v for v in without if v["name"].startswith("MLOPS_CAPTURE")]


@settings(max_examples=20)
@given(specs(), versions())
def test_the_server_takes_whatever_a_pod_is_given(spec: ServingSpec, version: SlotVersion) -> None:
    """No valid spec gives a pod whose server refuses to start."""
    template = pod_template(spec, version, labels=_LABELS, selector=_SELECTOR)
    values = {v["name"]: v["value"] for v in template["spec"]["containers"][0]["env"]}
    # added by the pod identity agent
    found = Settings.from_environment(
        {**values, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
    )

    assert (found.port, found.name) == (8080, spec.endpoint)
    if spec.capture is None:
        assert found.capture is None
    else:
        assert found.capture is not None
        assert f"s3://{found.capture.bucket}/{found.capture.prefix}" == spec.capture.destination
        assert (found.capture.percent, found.capture.variant) == (spec.capture.percent, spec.variant)
        assert found.capture.kms_key == spec.capture.kms_key


def _expand(text: str, known: Mapping[str, str]) -> str:
    """Expand like Kubernetes: ``$$`` is ``$``, ``$(NAME)`` a variable's value if it exists, else unchanged."""
    return re.sub(
        r"\$(?:(\$)|\(([^)]*)\))",
        lambda found: found[1] or known.get(found[2], found[0]),
        text,
    )


@given(
    st.lists(st.sampled_from(["$", "$$", "$(", ")", "$(MLOPS_ENDPOINT)", "MLOPS_ENDPOINT", "x"]), max_size=8).map(
        "".join
    )
)
def test_a_variable_comes_as_it_stands_in_the_package(value: str) -> None:
    """As on SageMaker, which expands nothing."""
    version = replace(VERSION, environment={"PATTERN": value}, artifact_uri=f"s3://artifacts/{value}x")
    pod = pod_template(SPEC, version, labels=_LABELS, selector=_SELECTOR)["spec"]
    known = {v["name"]: v["value"] for v in pod["containers"][0]["env"]}

    assert _expand(known["PATTERN"], known) == value
    assert _expand(pod["initContainers"][0]["args"][1], known) == version.artifact_uri


def test_pods_spread_over_zones_and_hosts() -> None:
    """By the selector, which is the same for every version of the slot."""
    constraints = _pod()["topologySpreadConstraints"]

    assert [c["topologyKey"] for c in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {json.dumps(c["labelSelector"]) for c in constraints} == {json.dumps({"matchLabels": _SELECTOR})}
    assert _pod(with_eks(architecture="arm64"))["nodeSelector"]["kubernetes.io/arch"] == "arm64"


def test_a_version_is_told_in_annotations() -> None:
    """Every field, with the environment as canonical JSON."""
    reported = version_annotations(VERSION)

    assert reported["mlops.constructs/config"] == "demand-forecast-0a1b2c3d"
    assert json.loads(reported["mlops.constructs/environment"]) == VERSION.environment
    assert len(reported) == 8
    turned = replace(VERSION, environment=dict(reversed(VERSION.environment.items())))
    assert version_annotations(turned) == reported


def test_a_spec_of_sagemaker_has_no_pod() -> None:
    """The error names it."""
    with pytest.raises(ValueError, match="'demand-forecast' has no eks"):
        eks_of(replace(SPEC, eks=None))
