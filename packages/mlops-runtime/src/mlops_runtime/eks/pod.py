"""The pod of a slot: fetch the model, then serve it, as an unprivileged user and with only two writable volumes."""

import json
from collections.abc import Mapping, Sequence

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import EksSpec, SlotVersion
from mlops_runtime.eks.kubernetes_objects import ANNOTATION_PREFIX, PORT, UID

# a pod has a role of its own; keys in its manifest would be everybody's who can read it
STATIC_KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
MODEL_FOLDER = "/opt/ml/model"
ZONE = "topology.kubernetes.io/zone"
# the load balancer goes on sending for some seconds to a target that is being deregistered, so the pod first sleeps and only
# then is asked to end; the server answers what is in flight for 20 s and then writes its last captures for 8 s
PRE_STOP_SECONDS = 15
GRACE_SECONDS = 60
# SageMaker asks /ping and waits 2 s: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_PING_SECONDS = 2
_STARTUP_SECONDS = 300
_CAPTURE_BYTES = 16 * 1024 * 1024
# the archive lies beside what it is unpacked to while it is fetched; a pod that needs more is evicted, not its node filled
_MODEL_SIZE, _TMP_SIZE = "8Gi", "256Mi"


def version_annotations(version: SlotVersion) -> dict[str, str]:
    """Return what a Deployment says about the version of its slot: ``mlops.constructs/<field>``, the environment as JSON."""
    fields = ("config", "package", "image", "artifact_uri", "artifact_sha256", "model_sha256", "spec_sha256")
    environment = json.dumps(dict(version.environment), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {
        **{f"{ANNOTATION_PREFIX}{name}": str(getattr(version, name)) for name in fields},
        f"{ANNOTATION_PREFIX}environment": environment,
    }


def reserved_environment(spec: ServingSpec) -> dict[str, str]:
    """Return the variables that a pod gets from us, and that a model package may therefore not set otherwise."""
    region = eks_of(spec).rule.split(":")[3]
    values = {
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "MLOPS_ENDPOINT": spec.endpoint,
        "MLOPS_VARIANT": spec.variant,
        "SAGEMAKER_BIND_TO_PORT": str(PORT),
    }
    if spec.capture is not None:
        values |= {
            "MLOPS_CAPTURE_BYTES": str(_CAPTURE_BYTES),
            "MLOPS_CAPTURE_PERCENT": str(spec.capture.percent),
            "MLOPS_CAPTURE_URI": spec.capture.destination,
        }
        if spec.capture.kms_key is not None:
            values["MLOPS_CAPTURE_KMS_KEY"] = spec.capture.kms_key
    return values


def pod_template(
    spec: ServingSpec, version: SlotVersion, *, labels: Mapping[str, str], selector: Mapping[str, str]
) -> dict[str, object]:
    """Return the template of a slot's pods.

    Args:
        spec: The serving spec, with ``eks``.
        version: What the slot runs.
        labels: Of the pods; the selector is among them.
        selector: By what the slot's pods are found.
    """
    eks = eks_of(spec)
    environment = {**version.environment, **reserved_environment(spec)}
    return {
        "metadata": {"labels": dict(labels), "annotations": {f"{ANNOTATION_PREFIX}config": version.config}},
        "spec": {
            "serviceAccountName": eks.service_account,
            # pod identity mounts a token of its own; that of the Kubernetes API is not needed
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "nodeSelector": {"kubernetes.io/arch": eks.architecture, "kubernetes.io/os": "linux"},
            **_in_zones(eks.zones),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "fsGroup": UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": [
                _spread(ZONE, selector),
                _spread("kubernetes.io/hostname", selector),
            ],
            "initContainers": [_fetch(eks, version, environment)],
            "containers": [_server(eks, version, environment)],
            "volumes": [
                {"name": "model", "emptyDir": {"sizeLimit": _MODEL_SIZE}},
                {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}},
            ],
        },
    }


def eks_of(spec: ServingSpec) -> EksSpec:
    """Return the part of a serving spec that is about EKS.

    Raises:
        ValueError: If it is missing.
    """
    if spec.eks is None:
        raise ValueError(f"the serving spec of {spec.endpoint!r} has no eks: it is served by SageMaker")
    return spec.eks


def _in_zones(zones: Sequence[str]) -> dict[str, object]:
    """Keep pods in the zones of the load balancer: elsewhere a target is not in use, and its readiness gate never opens.

    See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html (Target.NotInUse)
    """
    if not zones:
        return {}
    expression = {"key": ZONE, "operator": "In", "values": sorted(zones)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def _spread(key: str, selector: Mapping[str, str]) -> dict[str, object]:
    # a zone that is full or lost must not keep pods from starting: spread as well as can be. Pods of an older revision do not
    # count, or a rollout inside a slot would pile the new ones up where the old ones leave
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _fetch(eks: EksSpec, version: SlotVersion, environment: dict[str, str]) -> dict[str, object]:
    return {
        **_container("fetch", eks, version, environment),
        "args": ["fetch", _literal(version.artifact_uri), version.artifact_sha256, MODEL_FOLDER],
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
        ],
    }


def _server(eks: EksSpec, version: SlotVersion, environment: dict[str, str]) -> dict[str, object]:
    return {
        **_container("server", eks, version, environment),
        "args": ["serve"],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe(period=5, failures=_STARTUP_SECONDS // 5),
        "readinessProbe": _probe(period=5, failures=2),
        "livenessProbe": _probe(period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
        ],
    }


def _container(name: str, eks: EksSpec, version: SlotVersion, environment: dict[str, str]) -> dict[str, object]:
    # requests are limits: what a slot measured while it had ten percent of the traffic is what it can do with all of it
    size = {"cpu": eks.cpu, "memory": eks.memory}
    return {
        "name": name,
        "image": version.image,
        "imagePullPolicy": "IfNotPresent",  # by digest, so that what is present is what is meant
        "env": [{"name": key, "value": _literal(value)} for key, value in sorted(environment.items())],
        "resources": {"requests": dict(size), "limits": dict(size)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _literal(text: str) -> str:
    # Kubernetes puts variables where it reads $(NAME), and reads $$ as $; SageMaker passes it to a container unchanged
    # https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    return text.replace("$", "$$")


def _probe(*, period: int, failures: int) -> dict[str, object]:
    return {
        "httpGet": {"path": "/ping", "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": _PING_SECONDS,
        "failureThreshold": failures,
    }
