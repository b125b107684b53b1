"""A pod: its init containers run to completion, then its server runs with probes, and restarts with back-off.

Periods and back-off are embedded seconds; with a fast clock, probes run at most five times per real second. The termination grace
period is real time. https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

import http.client
import logging
import random
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlops_local import clock
from mlops_local.kubernetes import pod_containers
from mlops_local.kubernetes.nodes import Node
from mlops_local.kubernetes.pod_containers import ContainerError, Place
from mlops_local.kubernetes.pod_identity import NoCredentialsError
from mlops_local.sagemaker.container_processes import Process, background

LOGGER = logging.getLogger(__name__)

# https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy: 10 s, 20 s, 40 s, capped at five minutes
# claim: pods-restart-with-back-off
_BACK_OFF = (0, 10, 20, 40, 80, 160, 300)
_SOON = 0.2  # minimum real seconds between two probes
_START = 30.0  # longest clock hold of a starting pod, in real seconds: a fast clock does not start it faster
_RELEASED = 5.0  # real seconds for traffic sources to notice that a pod terminates
# below the system's ephemeral ports, and above the ports of the fleets
_PORTS = range(10_000, 20_000)


class _FileLog:
    def __init__(self, path: Path) -> None:
        self.stream = path.stem
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: str) -> None:
        """Add a line."""
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Pod:
    """One pod.

    Args:
        metadata: Metadata of the pod, with name, namespace, uid and labels.
        spec: Spec of the pod.
        node: Node of the pod, or why it has none.
        root: Folder of the pod, created here.
        credentials: Returns environment variables with its AWS credentials.
        changed: Called when its state changes.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any],
        spec: Mapping[str, Any],
        *,
        node: Node | str,
        root: Path,
        credentials: Callable[[], Mapping[str, str]],
        changed: Callable[[], None],
    ) -> None:
        self.metadata, self.spec, self.name, self._root = metadata, spec, str(metadata["name"]), root
        self.node = node
        self._credentials, self._changed = credentials, changed
        self.port, self.restarts, self.reason, self.message = _free_port(), 0, "ContainerCreating", ""
        self.is_serving, self.has_ended = False, False
        self.released = threading.Event()
        self._going, self._log = threading.Event(), root.with_suffix(".log")
        (root / "tmp").mkdir(parents=True)
        background(f"pod {self.name}", self._live)

    @property
    def is_going(self) -> bool:
        """Whether the pod is terminating."""
        return self._going.is_set()

    @property
    def address(self) -> tuple[str, int]:
        """Local address of the pod."""
        return "127.0.0.1", self.port

    def log(self) -> str:
        """Return the log of its containers."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def end(self) -> None:
        """Terminate the pod, once the last traffic source has released it."""
        self.is_serving = False
        self._going.set()
        clock.wake()

    def manifest(self, *, is_ready: bool) -> dict[str, Any]:
        """Return the pod as the API returns it."""
        waiting = {"waiting": {"reason": self.reason, "message": self.message}}
        state = {"running": {}} if self.reason == "Running" else waiting
        status = {
            "phase": "Running" if self.reason == "Running" else "Pending",
            "podIP": "127.0.0.1",
            "conditions": [
                _scheduled(self.node),
                {"type": "ContainersReady", "status": str(self.is_serving)},
                {"type": "Ready", "status": str(is_ready)},
            ],
            "containerStatuses": [
                {
                    "name": self.spec["containers"][0]["name"], "image": self.spec["containers"][0]["image"],
                    "ready": self.is_serving, "restartCount": self.restarts, "state": state,
                }
            ],
        }  # fmt: skip
        placed = {"nodeName": self.node.name} if isinstance(self.node, Node) else {}
        return {"metadata": dict(self.metadata), "spec": {**self.spec, **placed}, "status": status}

    def _set_status(self, reason: str, message: str = "", *, is_serving: bool = False) -> None:
        serving = is_serving and not self.is_going
        if (reason, message, serving) != (self.reason, self.message, self.is_serving):
            self.reason, self.message, self.is_serving = reason, message, serving
            self._changed()

    def _live(self) -> None:
        try:
            if isinstance(self.node, str):
                self._set_status("Unschedulable", self.node)
                self._going.wait()
            while not self.is_going:
                self._hold = clock.Hold(_START)
                try:
                    self._try()
                finally:
                    self._hold.release()
                if self.is_going:
                    break
                pause = _BACK_OFF[min(self.restarts, len(_BACK_OFF) - 1)]
                self.restarts += 1
                if pause:
                    self._set_status(
                        "CrashLoopBackOff", f"back-off {pause}s restarting failed container: {self.message}"
                    )
                clock.wait(pause, self._going)
        finally:
            self.has_ended = True
            self._changed()
            shutil.rmtree(self._root, ignore_errors=True)

    def _try(self) -> None:
        """Run the containers once; a failure becomes the pod's reason."""
        try:
            volumes = pod_containers.folders(self.spec, self._root)
            place = Place(
                root=self._root, metadata=self.metadata, account=self.spec.get("serviceAccountName", "default"),
                port=self.port, credentials=self._credentials(),
            )  # fmt: skip
            for container in self.spec.get("initContainers") or []:
                process = self._start(container, place, volumes)
                if (code := self._ended(process)) != 0:
                    self._set_status(
                        "Init:Error", f"init container {container['name']} ended with code {code}: {self._last_line()}"
                    )
                    return
            if not self.is_going:
                self._serve(self.spec["containers"][0], place, volumes)
        except ContainerError as error:
            self._set_status(error.reason, str(error))
        except NoCredentialsError as error:
            self._set_status("CreateContainerError", str(error))

    def _start(self, container: Mapping[str, Any], place: Place, volumes: Mapping[str, Path]) -> Process:
        # claim: pods-restart-with-back-off
        mounts = pod_containers.mounts(container, volumes)
        line = pod_containers.command(container, mounts)
        log = _FileLog(self._log)
        log.write(f"--- {container['name']}")
        environment = pod_containers.environment(container, place, mounts)
        try:
            return Process(line, env=environment, cwd=self._root, logs=log)
        except OSError as error:
            raise ContainerError(
                "RunContainerError", f"container {container['name']} does not start: {error}"
            ) from error

    def _ended(self, process: Process) -> int:
        while (code := process.wait(_SOON)) is None:
            if self.is_going:
                return process.stop(1.0)
        return code

    def _serve(self, container: Mapping[str, Any], place: Place, volumes: Mapping[str, Path]) -> None:
        checks = Probes(container, self.port)
        process = self._start(container, place, volumes)
        self._set_status("Running")
        try:
            for verdict in checks.verdicts():
                if self.is_going:
                    return
                if (code := process.poll()) is not None:
                    self._set_status(
                        "Error", f"container {container['name']} ended with code {code}: {self._last_line()}"
                    )
                    return
                if verdict is None:
                    self._set_status("Unhealthy", f"container {container['name']} failed its {checks.failed} probe")
                    return
                self._set_status("Running", is_serving=verdict)
                if verdict:
                    self._hold.release()
                if checks.has_started:
                    clock.wait(checks.pause, self._going)
                else:
                    self._going.wait(_SOON)
        finally:
            self._stop(container, process)

    def _stop(self, container: Mapping[str, Any], process: Process) -> None:
        self.is_serving = False
        self._changed()
        if self.is_going:
            self.released.wait(_RELEASED)  # traffic sources notice it before the server does
            # claim: pod-sleeps-before-it-ends
            sleep = ((container.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}
            clock.wait(float(sleep.get("seconds", 0)))
        process.stop(float(self.spec.get("terminationGracePeriodSeconds", 30)))

    def _last_line(self) -> str:
        lines = self.log().splitlines()
        return lines[-1] if lines else "it wrote nothing"


class Probes:
    """The HTTP probes of a container.

    Raises:
        ContainerError: For a probe that is not ``httpGet``.
    """

    def __init__(self, container: Mapping[str, Any], port: int) -> None:
        self._port, self.failed, self.has_started = port, "", False
        self._probes = {name: container.get(f"{name}Probe") for name in ("startup", "readiness", "liveness")}
        for name, probe in self._probes.items():
            if probe and "httpGet" not in probe:
                raise ContainerError(
                    "CreateContainerConfigError", f"{name}Probe: only httpGet is in the embedded cloud"
                )
        periods = [float(probe.get("periodSeconds", 10)) for probe in self._probes.values() if probe]
        self._period = min(periods, default=10.0)

    @property
    def pause(self) -> float:
        """Embedded seconds until the next probes."""
        return max(self._period, _SOON * clock.pace())

    def verdicts(self) -> Iterator[bool | None]:
        """Yield one verdict per round: whether the container is ready, or ``None`` if it must be restarted."""
        startup, readiness, liveness = (self._probes[name] for name in ("startup", "readiness", "liveness"))
        started, failures, opened = startup is None, {"liveness": 0, "readiness": 0}, clock.now()
        while True:
            if not started:
                started = self._passes(startup)
                patience = (
                    float(startup.get("periodSeconds", 10)) * int(startup.get("failureThreshold", 3)) if startup else 0
                )
                if not started and clock.now() - opened > patience:
                    self.failed = "startup"
                    yield None
            if not started:
                yield False
                continue
            for name, probe in (("liveness", liveness), ("readiness", readiness)):
                failures[name] = 0 if self._passes(probe) else failures[name] + 1
            if liveness and failures["liveness"] >= int(liveness.get("failureThreshold", 3)):
                self.failed = "liveness"
                yield None
            limit = int((readiness or {}).get("failureThreshold", 3))
            # not ready before the first success, and not ready again after enough failures
            self.has_started = self.has_started or failures["readiness"] == 0
            yield self.has_started and failures["readiness"] < limit

    def _passes(self, probe: Mapping[str, Any] | None) -> bool:
        if probe is None:
            return True
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=max(float(probe.get("timeoutSeconds", 1)), 1.0)
        )
        try:
            connection.request("GET", probe["httpGet"].get("path", "/"))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return 200 <= answer.status < 400


def _scheduled(node: Node | str) -> dict[str, str]:
    """Return the pod's condition: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions."""
    # claim: pod-without-a-fitting-node-stays-pending
    if isinstance(node, str):
        return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": node}
    return {"type": "PodScheduled", "status": "True"}


def _free_port() -> int:
    for port in random.sample(_PORTS, k=100):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} on 127.0.0.1 is free for a pod")
