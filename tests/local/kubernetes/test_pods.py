"""Lifecycle of a pod: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/."""

import http.client
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_local.kubernetes import nodes, pods
from mlops_local.kubernetes.pod_containers import ContainerError
from mlops_local.kubernetes.pod_identity import NoCredentialsError
from mlops_local.kubernetes.pods import Pod, Probes

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64
PROBE = {"httpGet": {"path": "/ping", "port": 8080}, "periodSeconds": 0.05, "failureThreshold": 2}


@pytest.fixture
def start(tmp_path: Path, server_script: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pod]]:
    """Start a pod of the small server; all pods end after the test."""
    monkeypatch.setattr(pods, "_BACK_OFF", (0, 0, 0, 60))
    monkeypatch.setattr(pods, "_SOON", 0.05)
    made: list[Pod] = []

    def make(*, credentials: Callable[[], dict[str, str]] = dict, **spec: Any) -> Pod:
        container = {
            "name": "model", "image": IMAGE, "command": ["python", str(server_script)], "readinessProbe": PROBE,
            "env": [{"name": "VERSION", "value": "v1"}], **spec.pop("container", {}),
        }  # fmt: skip
        metadata = {"name": f"a-{len(made)}", "namespace": "demand", "uid": "u", "labels": {}}
        pod = Pod(
            metadata, {"containers": [container], "terminationGracePeriodSeconds": 5, **spec},
            node=nodes.Pool([]).nodes[0], root=tmp_path / f"pod{len(made)}", credentials=credentials, changed=lambda: None,
        )  # fmt: skip
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.released.set()
        pod.end()
    deadline = time.monotonic() + 60
    while not all(pod.has_ended for pod in made):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _ask(pod: Pod, body: bytes) -> bytes:
    connection = http.client.HTTPConnection(*pod.address, timeout=5)
    connection.request("POST", "/invocations", body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_a_pod_serves_once_its_init_containers_have_ended(
    start: Callable[..., Pod], tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """In order, on the same volume."""
    script = tmp_path / "fetch.py"
    script.write_text("import os, sys; open(sys.argv[1] + '/model', 'w').write('fetched'); print('fetched')")
    mount = [{"name": "model", "mountPath": "/opt/ml/model"}]
    fetch = {
        "name": "fetch",
        "image": IMAGE,
        "command": ["python", str(script)],
        "args": ["/opt/ml/model"],
        "volumeMounts": mount,
    }

    pod = start(
        initContainers=[fetch], volumes=[{"name": "model", "emptyDir": {}}], container={"volumeMounts": mount}
    )  # fmt: skip

    wait_for(lambda: pod.is_serving)
    assert (tmp_path / "pod0/opt/ml/model/model").read_text() == "fetched"
    assert _ask(pod, b"1") == b"v1"
    lines = [line for line in pod.log().splitlines() if line in {"fetched", "serving v1"}]
    assert lines == ["fetched", "serving v1"]
    shown = pod.manifest(is_ready=True)["status"]
    assert (shown["phase"], shown["containerStatuses"][0]["ready"]) == ("Running", True)


def test_an_init_container_that_fails_is_named_and_tried_again(
    start: Callable[..., Pod], tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """The server does not start; the reason has the last line of output."""
    script = tmp_path / "fetch.py"
    script.write_text("import sys; print('the archive is another one'); sys.exit(4)")

    pod = start(initContainers=[{"name": "fetch", "image": IMAGE, "command": ["python", str(script)]}])

    wait_for(lambda: pod.reason == "CrashLoopBackOff")
    assert pod.message == (
        "back-off 60s restarting failed container: init container fetch ended with code 4: the archive is another one"
    )
    assert pod.restarts == 4
    assert not pod.is_serving


def test_a_server_that_dies_is_started_again(start: Callable[..., Pod], wait_for: Callable[..., Any]) -> None:
    """It is not ready in between."""
    pod = start()
    wait_for(lambda: pod.is_serving)

    with pytest.raises((OSError, http.client.HTTPException)):
        _ask(pod, b"die")

    wait_for(lambda: pod.restarts == 1 and pod.is_serving)
    assert _ask(pod, b"1") == b"v1"


def test_a_server_that_is_sick_is_taken_out_and_then_started_again(
    start: Callable[..., Pod], wait_for: Callable[..., Any]
) -> None:
    """https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/."""
    sick = start()
    wait_for(lambda: sick.is_serving)
    _ask(sick, b"sick")
    wait_for(lambda: not sick.is_serving)
    assert sick.restarts == 0

    checked = start(container={"livenessProbe": PROBE, "startupProbe": {**PROBE, "failureThreshold": 400}})
    wait_for(lambda: checked.is_serving)
    _ask(checked, b"sick")
    wait_for(lambda: checked.restarts >= 1)


def test_a_server_that_never_starts_fails_its_startup_probe(
    start: Callable[..., Pod], wait_for: Callable[..., Any]
) -> None:
    """After periodSeconds times failureThreshold it is restarted."""
    startup = {**PROBE, "failureThreshold": 1}
    idle = ["python", "-c", "import time; time.sleep(60)"]

    pod = start(container={"command": idle, "startupProbe": startup})

    wait_for(lambda: pod.reason == "CrashLoopBackOff")
    assert "failed its startup probe" in pod.message


def test_nobody_is_sent_to_a_pod_that_goes(start: Callable[..., Pod], wait_for: Callable[..., Any]) -> None:
    """It serves until traffic is directed elsewhere, then gets SIGTERM, and its files are deleted."""
    pod = start()
    wait_for(lambda: pod.is_serving)

    pod.end()

    assert not pod.is_serving
    assert _ask(pod, b"1") == b"v1"
    pod.released.set()
    wait_for(lambda: pod.has_ended)
    with pytest.raises(OSError, match="refused"):
        _ask(pod, b"1")


def test_a_pod_without_credentials_waits_and_says_why(start: Callable[..., Pod], wait_for: Callable[..., Any]) -> None:
    """The error of pod identity is the pod's reason."""

    def refused() -> dict[str, str]:
        raise NoCredentialsError("the role does not trust pods.eks.amazonaws.com")

    pod = start(credentials=refused)

    wait_for(lambda: pod.reason == "CrashLoopBackOff")
    assert "does not trust" in pod.message


def test_an_image_that_is_not_here_is_not_pulled(start: Callable[..., Pod], wait_for: Callable[..., Any]) -> None:
    """The message names the table of runners."""
    pod = start(container={"image": "elsewhere/model@sha256:0"})

    wait_for(lambda: pod.reason == "CrashLoopBackOff")
    assert "mlops_local/runners.py" in pod.message


def test_other_probes_are_refused() -> None:
    """Exec, TCP and gRPC."""
    with pytest.raises(ContainerError, match="only httpGet"):
        Probes({"livenessProbe": {"tcpSocket": {"port": 8080}}}, 1)


def test_probes_without_any_are_passed() -> None:
    """A container without probes is ready while it runs."""
    assert next(Probes({}, 1).verdicts()) is True


def test_a_container_that_does_not_start_is_tried_again_more_and_more_seldom(
    start: Callable[..., Pod], wait_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pod stays with its reason: a vanished pod would be replaced immediately and endlessly."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))

    pod = start()

    wait_for(lambda: pod.reason == "CrashLoopBackOff")
    assert "container model does not start: " in pod.message
    assert "nowhere" in pod.message
    assert not pod.has_ended
