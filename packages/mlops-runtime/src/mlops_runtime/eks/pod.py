"""Pod template of a slot: an init container fetches the model, the server serves it; unprivileged, with two writable volumes."""

import json
from collections.abc import Mapping, Sequence

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import EksSpec, SlotVersion
from mlops_runtime.eks.kubernetes_objects import ANNOTATION_PREFIX, PORT, UID

# pods have their own role; static keys would be visible to all readers of the manifest
STATIC_KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
MODEL_FOLDER = "/opt/ml/model"
VERSION_FIELDS = ("config", "package", "image", "artifact_uri", "artifact_sha256", "model_sha256", "spec_sha256")
ZONE = "topology.kubernetes.io/zone"
# the load balancer sends requests for some seconds to a target that is being deregistered, so the pod sleeps before SIGTERM;
# the server then completes in-flight requests for up to 20 s, and writes its last captures for up to 8 s
PRE_STOP_SECONDS = 15
GRACE_SECONDS = 60
# SageMaker calls /ping with a timeout of 2 s: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_PING_SECONDS = 2
_STARTUP_SECONDS = 300
_CAPTURE_BYTES = 16 * 1024 * 1024
# the volume temporarily has both the archive and its contents; a pod that needs more is evicted before it fills the node's disk
_MODEL_SIZE, _TMP_SIZE = "8Gi", "256Mi"


def version_annotations(version: SlotVersion) -> dict[str, str]:
    """Return the annotations for a Deployment's version: ``mlops.constructs/<field>``, with the environment as JSON."""
    environment = json.dumps(dict(version.environment), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {
        **{f"{ANNOTATION_PREFIX}{name}": str(getattr(version, name)) for name in VERSION_FIELDS},
        f"{ANNOTATION_PREFIX}environment": environment,
    }


def reserved_environment(spec: ServingSpec) -> dict[str, str]:
    """Return the environment variables that the platform sets, which a model package must not set to other values."""
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
        version: The version that the slot runs.
        labels: Labels of the pods, including the selector.
        selector: Selector labels of the slot's pods.
    """
    eks = eks_of(spec)
    environment = {**version.environment, **reserved_environment(spec)}
    return {
        "metadata": {"labels": dict(labels), "annotations": {f"{ANNOTATION_PREFIX}config": version.config}},
        "spec": {
            "serviceAccountName": eks.service_account,
            # EKS Pod Identity mounts its own token; the token for the Kubernetes API is not needed
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
            "topologySpreadConstraints": [_spread(ZONE, selector), _spread("kubernetes.io/hostname", selector)],
            "initContainers": [_fetch(eks, version, environment)],
            "containers": [_server(eks, version, environment)],
            "volumes": [
                {"name": "model", "emptyDir": {"sizeLimit": _MODEL_SIZE}},
                {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}},
            ],
        },
    }


def eks_of(spec: ServingSpec) -> EksSpec:
    """Return the EKS part of a serving spec.

    Raises:
        ValueError: If it is missing.
    """
    if spec.eks is None:
        raise ValueError(f"the serving spec of {spec.endpoint!r} has no eks: it is served by SageMaker")
    return spec.eks


def _in_zones(zones: Sequence[str]) -> dict[str, object]:
    """Require the load balancer's zones: in other zones targets are unused, and their readiness gates never become true."""
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html (Target.NotInUse)
    if not zones:
        return {}
    expression = {"key": ZONE, "operator": "In", "values": sorted(zones)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def _spread(key: str, selector: Mapping[str, str]) -> dict[str, object]:
    # best effort, so that a full or lost zone does not prevent pods from starting; pods of older revisions are not counted, since
    # a rollout inside a slot would otherwise concentrate new pods where old ones are removed
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
    # requests equal limits, so that performance measured with ten percent of the traffic also holds with all of it
    size = {"cpu": eks.cpu, "memory": eks.memory}
    return {
        "name": name,
        "image": version.image,
        "imagePullPolicy": "IfNotPresent",  # images are by digest and never change
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
    # Kubernetes expands $(NAME) and unescapes $$; SageMaker passes values to a container unchanged
    # https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    return text.replace("$", "$$")


def _probe(*, period: int, failures: int) -> dict[str, object]:
    return {
        "httpGet": {"path": "/ping", "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": _PING_SECONDS,
        "failureThreshold": failures,
    }
