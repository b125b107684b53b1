"""Containers as processes of this machine."""

import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_local.kubernetes import pod_containers
from mlops_local.kubernetes.pod_containers import ContainerError, Place

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The folders of a pod."""
    metadata = {"name": "a-1", "namespace": "demand", "uid": "u", "labels": {"mlops.constructs/slot": "blue"}}
    return Place(
        root=tmp_path, metadata=metadata, account="forecast", port=12345, credentials={"AWS_ACCESS_KEY_ID": "k"}
    )


_FETCH = ["fetch", "s3://a/b", "0", "/m"]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"args": ["serve"]}, ["-m", "mlops_local.server_clock", "serve"]),
        ({"args": _FETCH}, ["-m", "mlops_runtime.serving", *_FETCH]),
        ({"command": ["python", "-m", "x"], "args": ["y"]}, ["-m", "x", "y"]),
    ],
)
def test_a_container_runs_what_its_image_would(container: dict[str, Any], expected: list[str]) -> None:
    """Arguments go to the image's entry point, a command replaces it, as in Kubernetes."""
    assert pod_containers.command({"image": IMAGE, **container}, {}) == [sys.executable, *expected]


def test_only_the_containers_own_paths_lead_to_its_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout below /tmp has its Python there, which is not in the pod's /tmp."""
    monkeypatch.setattr(sys, "executable", "/tmp/checkout/bin/python")
    mounts = {"/opt/ml/model": "/pods/a/opt/ml/model", "/tmp": "/pods/a/tmp"}

    line = pod_containers.command({"image": IMAGE, "args": ["fetch", "s3://a/b", "0", "/opt/ml/model"]}, mounts)

    assert (line[0], line[-1]) == ("/tmp/checkout/bin/python", "/pods/a/opt/ml/model")


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"image": "elsewhere/model@sha256:0", "args": ["serve"]}, "ErrImagePull"),
        ({"image": IMAGE, "args": ["dance"]}, "CreateContainerError"),
        ({"image": IMAGE, "command": ["/bin/sh", "-c", "true"]}, "ErrImagePull"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(container: dict[str, Any], reason: str) -> None:
    """No pod runs in place of a missing image."""
    with pytest.raises(ContainerError) as refused:
        pod_containers.command(container, {})

    assert refused.value.reason == reason


def test_a_volume_lies_where_its_first_mount_says(tmp_path: Path, place: Place) -> None:
    """/opt/ml/model of the init container and of the server are one folder, which MLOPS_OPT_ML contains too."""
    mount = {"name": "model", "mountPath": "/opt/ml/model"}
    server = {
        "name": "server",
        "image": IMAGE,
        "volumeMounts": [mount],
        "env": [{"name": "FOLDER", "value": "/opt/ml/model/a"}],
    }
    spec = {"volumes": [{"name": "model", "emptyDir": {}}], "containers": [server]}

    volumes = pod_containers.folders(spec, tmp_path)
    environment = pod_containers.environment(server, place, pod_containers.mounts(server, volumes))

    assert volumes == {"model": tmp_path / "opt/ml/model"}
    assert environment["FOLDER"] == str(tmp_path / "opt/ml/model/a")
    assert Path(environment["MLOPS_OPT_ML"], "model") == volumes["model"]
    assert (environment["SAGEMAKER_BIND_TO_PORT"], environment["MLOPS_BIND_HOST"]) == ("12345", "127.0.0.1")
    assert environment["AWS_ACCESS_KEY_ID"] == "k"


def test_variables_from_the_pods_own_fields(place: Place) -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/downward-api/."""
    paths = [
        "metadata.name",
        "metadata.namespace",
        "metadata.labels['mlops.constructs/slot']",
        "spec.serviceAccountName",
    ]
    env = [{"name": f"V{n}", "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in enumerate(paths)]

    found = pod_containers.environment({"env": env}, place, {})

    assert [found[f"V{n}"] for n in range(4)] == ["a-1", "demand", "blue", "forecast"]


@pytest.mark.parametrize(
    "container",
    [
        {"envFrom": [{"secretRef": {"name": "a"}}]},
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]},
    ],
)
def test_values_that_are_not_here_are_refused(place: Place, container: dict[str, Any]) -> None:
    """A variable is never silently left out."""
    with pytest.raises(ContainerError, match="is not in the embedded cloud"):
        pod_containers.environment(container, place, {})


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "a"}], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
        {"containers": [{"name": "a"}, {"name": "b"}]},
    ],
)
def test_pods_that_cannot_be_made_here(tmp_path: Path, spec: dict[str, Any]) -> None:
    """Other volumes and sidecars."""
    with pytest.raises(ContainerError, match="embedded cloud"):
        pod_containers.folders(spec, tmp_path)


def test_the_users_own_settings_stay_outside(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container does not see the environment of the shell that started the cloud."""
    monkeypatch.setenv("MY_SECRET", "x")
    monkeypatch.setenv("AWS_PROFILE", "production")

    assert {"MY_SECRET", "AWS_PROFILE"}.isdisjoint(pod_containers.environment({}, place, {}))


def test_variables_are_put_in_and_dollars_kept(place: Place) -> None:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/."""
    env = [{"name": "A", "value": "a$$b"}, {"name": "B", "value": "$(A)-$(LATER)"}, {"name": "LATER", "value": "$$(A)"}]

    found = pod_containers.environment({"env": env}, place, {})

    assert [found[name] for name in ("A", "B", "LATER")] == ["a$b", "a$b-$(LATER)", "$(A)"]
    assert pod_containers.variables({"env": env})["LATER"] == "$$(A)"


def test_the_image_of_a_lock_has_its_environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod's own variables override it; an environment that cannot be created keeps the pod from starting."""
    image = {"MLOPS_MODEL_PYTHON": "/e/python", "MLOPS_REQUIREMENTS_SHA256": "1"}
    monkeypatch.setattr(pod_containers.runners, "environment", lambda _: image)
    container = {"image": IMAGE, "env": [{"name": "MLOPS_REQUIREMENTS_SHA256", "value": "2"}]}
    found = pod_containers.environment(container, place, {})
    assert (found["MLOPS_MODEL_PYTHON"], found["MLOPS_REQUIREMENTS_SHA256"]) == ("/e/python", "2")

    def fail(_: str) -> dict[str, str]:
        raise pod_containers.runners.UnknownImageError("no wheel")

    monkeypatch.setattr(pod_containers.runners, "environment", fail)
    with pytest.raises(ContainerError, match="no wheel") as raised:
        pod_containers.environment(container, place, {})
    assert raised.value.reason == "ErrImagePull"
