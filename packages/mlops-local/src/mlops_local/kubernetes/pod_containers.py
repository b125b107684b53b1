"""Containers of a pod on this machine: a command, an environment and folders.

A volume is a folder below the pod's root, at its first mount path; ``/opt/ml/model`` and ``/tmp`` in arguments and environment are
replaced by such folders. Read-only roots, user ids and resource limits have no effect on a process.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_local import runners, settings
from mlops_local.egress import environment as egress

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "OMP_WAIT_POLICY")
_VOLUMES = {"emptyDir"}
_REFERENCE = re.compile(r"\$\$|\$\((?P<name>[^)]+)\)")


class ContainerError(Exception):
    """A container cannot be created; ``reason`` is the reason in its state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Local resources of a pod."""

    root: Path  # folder of the pod
    metadata: Mapping[str, Any]  # metadata of the pod
    account: str  # service account of the pod
    port: int  # port on 127.0.0.1 that replaces its address and container port
    credentials: Mapping[str, str]  # environment variables with its AWS credentials


def folders(spec: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """Create the folders of a pod's volumes, and return them by volume.

    Raises:
        ContainerError: For a volume other than ``emptyDir``, or more than one container.
    """
    if len(spec["containers"]) != 1:
        raise ContainerError("CreateContainerConfigError", "the embedded cloud runs one container per pod")
    found: dict[str, Path] = {}
    mounts = [mount for container in _all(spec) for mount in container.get("volumeMounts") or []]
    for volume in spec.get("volumes") or []:
        if not _VOLUMES & volume.keys():
            raise ContainerError(
                "CreateContainerConfigError", f"volume {volume['name']!r}: only emptyDir is in the embedded cloud"
            )
        path = next((m["mountPath"] for m in mounts if m["name"] == volume["name"]), f"/volumes/{volume['name']}")
        found[volume["name"]] = root / path.lstrip("/")
        found[volume["name"]].mkdir(parents=True, exist_ok=True)
    return found


def _all(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(spec.get("initContainers") or []), *spec["containers"]]


# claim: container-arguments-go-to-the-entry-point
def command(container: Mapping[str, Any], mounts: Mapping[str, str]) -> list[str]:
    """Return the command of a container: its own with this Python, or its image's with the arguments.

    Args:
        mounts: Local folder by mount path. Paths of the image's own files are not replaced: this Python may itself be below
            ``/tmp``.

    Raises:
        ContainerError: If the image has no row in the table of runners, or does not support the arguments.
    """
    image, known = container["image"], variables(container)
    entry, arguments = (
        [located(expanded(part, known), mounts) for part in container.get(name) or []] for name in ("command", "args")
    )
    try:
        if entry:
            return runners.job_command(image, entry, arguments)
        if arguments[:1] in ([], ["serve"]):
            return _on_the_clock([*runners.serve_command(image), *arguments[1:]])
        runners.runner(image)
    except runners.UnknownImageError as error:
        raise ContainerError("ErrImagePull", str(error)) from error
    if arguments[0] == "fetch":
        return [sys.executable, "-m", "mlops_runtime.serving", *arguments]
    raise ContainerError("CreateContainerError", f"image {image} supports serve or fetch, got {arguments[0]!r}")


def _on_the_clock(line: list[str]) -> list[str]:
    """Let our own server use embedded time in its captures; other commands are unchanged."""
    return ["mlops_local.server_clock" if part == "mlops_runtime.serving" else part for part in line]


def environment(container: Mapping[str, Any], place: Place, mounts: Mapping[str, str]) -> dict[str, str]:
    """Return a container's complete environment.

    Raises:
        ContainerError: For an unsupported source of a value, or an image whose environment cannot be created.
    """
    if container.get("envFrom"):
        raise ContainerError("CreateContainerConfigError", "envFrom is not in the embedded cloud; name the variables")
    given: dict[str, str] = {}
    for item in container.get("env") or []:
        given[item["name"]] = located(expanded(_value(item, place), given), mounts)
    base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    url = settings.endpoint_url()
    base |= {"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region, "PYTHONUNBUFFERED": "1"}
    base |= {
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_S3": url,
        "HOSTNAME": place.metadata["name"],
        **place.credentials,
    }
    base |= egress.container(isolated=False)
    base |= {"AWS_EC2_METADATA_DISABLED": "true", "TMPDIR": str(place.root / "tmp"), "MLOPS_WORKERS": "1"}
    ours = {
        "MLOPS_OPT_ML": str(place.root / "opt" / "ml"),
        "MLOPS_BIND_HOST": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": str(place.port),
        "MLOPS_LOCAL_CLOCK": str(settings.clock_file()),
    }
    # claim: job-image-must-be-known
    try:
        image = runners.environment(container.get("image", ""))
    except runners.UnknownImageError as error:
        raise ContainerError("ErrImagePull", str(error)) from error
    return image | base | given | ours


def variables(container: Mapping[str, Any]) -> dict[str, str]:
    """Return a container's variables that arguments may refer to."""
    return {item["name"]: str(item["value"]) for item in container.get("env") or [] if "value" in item}


def expanded(text: str, known: Mapping[str, str]) -> str:
    """Return a string with each known ``$(NAME)`` replaced, and ``$$`` as ``$``.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/

    Example:
        >>> expanded("$(A) $$(A) $(B)", {"A": "1"})
        '1 $(A) $(B)'
    """
    end = text.rfind(")") + 1  # no reference ends after it
    named = _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else known.get(str(m["name"]), m[0]), text[:end])
    return named + text[end:].replace("$$", "$")


def _value(item: Mapping[str, Any], place: Place) -> str:
    if "valueFrom" not in item:
        return str(item.get("value", ""))
    path = (item["valueFrom"].get("fieldRef") or {}).get("fieldPath", "")
    known = {
        "metadata.name": place.metadata["name"], "metadata.namespace": place.metadata["namespace"],
        "metadata.uid": place.metadata["uid"], "spec.serviceAccountName": place.account, "status.podIP": "127.0.0.1",
    }  # fmt: skip
    for group in ("labels", "annotations"):
        if path.startswith(f"metadata.{group}['"):
            return str(place.metadata.get(group, {}).get(path[len(f"metadata.{group}['") : -2], ""))
    if path not in known:
        raise ContainerError(
            "CreateContainerConfigError",
            f"variable {item['name']}: valueFrom {item['valueFrom']} is not in the embedded cloud",
        )
    return str(known[path])


def mounts(container: Mapping[str, Any], volumes: Mapping[str, Path]) -> dict[str, str]:
    """Return the local folder of each mount path of a container, longest path first."""
    found = {mount["mountPath"]: str(volumes[mount["name"]]) for mount in container.get("volumeMounts") or []}
    return dict(sorted(found.items(), key=lambda row: -len(row[0])))


def located(text: str, mounts: Mapping[str, str]) -> str:
    """Return a string with a mount path at its start replaced by the local folder.

    Example:
        >>> located("/opt/ml/model", {"/opt/ml/model": "/pods/a/opt/ml/model"})
        '/pods/a/opt/ml/model'
    """
    for path, folder in mounts.items():
        if text == path or text.startswith(f"{path}/"):
            return folder + text[len(path) :]
    return text
