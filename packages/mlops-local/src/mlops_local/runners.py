"""Stand-ins for container images: a table from repository names to commands on this machine.

An image whose repository is not in the table is rejected by name; no substitute pretends to be the image. An image whose digest is
the hash of a lock in the assets bucket runs as ``mlops-runtime``, with the lock's environment. An image declared with
``mlops local image add`` runs the declared command (`declared_images`).
"""

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ministack.services import s3

from mlops_local import declared_images, model_environments, settings
from mlops_local.declared_images import DeclarationError, repository
from mlops_local.model_environments import ModelEnvironmentError
from mlops_local.saved_state import kept_stores
from mlops_runtime.image.requirements_lock import LOCK_COMMAND, RequirementsError, RequirementsLock, asset_name

_PYTHON = re.compile(r"(.*/)?python(3(\.\d+)?)?")
# smspark-submit of SageMaker's Spark container runs an application that creates its own session: here one process with Spark inside
# https://github.com/aws/sagemaker-spark-container/blob/master/src/smspark/cli.py
_SPARK_SUBMIT = "smspark-submit"

_MACHINES = {"arm64": "aarch64", "AMD64": "x86_64"}
_FOUND: dict[str, RequirementsLock] = kept_stores.leave(__name__, "_FOUND", {}, why="a cache")


class UnknownImageError(ValueError):
    """An image cannot run here; the message names the repository and the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """How an image runs."""

    # arguments for Python in place of the image's `serve`. Default: the image serves nothing
    serve: tuple[str, ...] | None = None
    # arguments for Python in place of the image's `train`, which SageMaker passes to a training image without
    # arguments. Default: jobs must name a container entry point
    train: tuple[str, ...] | None = None
    # arguments for Python in place of the image's default command in a processing job; empty if that has no use.
    # Default: the same as `train`
    process: tuple[str, ...] | None = None
    program: str = sys.executable  # program that gets the arguments. Default: this Python


# AWS's images of Model Monitor and Clarify are not available here: our own analyzers replace them, which status and reports mention
STAND_INS: Mapping[str, str] = {
    "sagemaker-model-monitor-analyzer": "mlops_runtime.jobs.model_monitor",
    "sagemaker-model-monitor-groundtruth-merger": "mlops_runtime.jobs.model_monitor_merge",
    "sagemaker-clarify-processing": "mlops_runtime.jobs.model_monitor_clarify",
}
# commands in the image's bin/
_RUNTIME = Runner(serve=("-m", "mlops_runtime.serving", "serve"), train=("-m", "mlops_runtime.jobs.train"), process=())
RUNNERS: Mapping[str, Runner] = {
    "mlops-runtime": _RUNTIME,
    # the same with shap if this Python has it; a job reports if not
    "mlops-explain": Runner(),
    **{image: Runner(train=("-m", module)) for image, module in STAND_INS.items()},
}

# JSON of further rows, {"<repository>": {"serve": [...], "train": [...]}}; tests register their own servers with it
EXTRA = "MLOPS_LOCAL_RUNNERS"


def runners() -> Mapping[str, Runner]:
    """Return the table: built-in rows and rows of the environment variable ``MLOPS_LOCAL_RUNNERS``."""
    rows: dict[str, dict[str, Any]] = json.loads(os.environ.get(EXTRA, "{}"))
    for row in rows.values():
        row.update({role: tuple(command) for role, command in row.items()})
    return {**RUNNERS, **{name: Runner(**row) for name, row in rows.items()}}


def runner(image: str) -> Runner:
    """Return the table row of an image.

    Raises:
        UnknownImageError: If no row has its repository name, and its digest is of no lock with an environment here.
    """
    found = declared(image)
    if found is not None:
        return Runner(serve=("-c", found), program="/bin/sh")
    table = runners()
    name = repository(image)
    if name in table:
        return table[name]
    if lock(image) is not None:
        return _RUNTIME
    known = ", ".join(map(repr, sorted(table)))
    raise UnknownImageError(
        f"no runner for image repository {name!r} (image {image!r}); mlops_local/runners.py has {known}: "
        "use one of them; declare the command of another image with mlops local image add; an image of "
        "ModelImage.from_requirements(lock) runs here without digest="
    )


def lock(image: str) -> RequirementsLock | None:
    """Return the lock whose hash is an image's digest; ``None`` if no stack brought one.

    Raises:
        UnknownImageError: If the lock has no environment on this machine.
    """
    digest = image.partition("@sha256:")[2]
    if declared(image) is not None:
        return None
    if not digest or repository(image) in runners():
        return None
    try:
        return lock_of(digest)
    except ModelEnvironmentError as error:
        raise UnknownImageError(f"image repository {repository(image)!r}: {error}") from error


def environment(image: str, *, has_network: bool = False) -> dict[str, str]:
    """Return the variables that an image sets; the first call for a lock creates its environment, in seconds or minutes.

    Args:
        image: Image URI.
        has_network: Whether a script of the model may use the network. Default: no network, where the kernel supports that.

    Raises:
        UnknownImageError: If the environment cannot be created.
    """
    found = lock(image)
    if found is None:
        return {}
    try:
        return model_environments.variables(found, model_environments.root(), has_network=has_network)
    except ModelEnvironmentError as error:
        raise UnknownImageError(f"image repository {repository(image)!r}: {error}") from error


def serve_command(image: str) -> list[str]:
    """Return the serving command of an image.

    Raises:
        UnknownImageError: If the image is unknown or serves nothing.
    """
    row = runner(image)
    if row.serve is None:
        raise UnknownImageError(f"image repository {repository(image)!r} has no 'serve' in mlops_local/runners.py")
    return [row.program, *row.serve]


def declared(image: str) -> str | None:
    """Return the shell command line that the user declared for an image.

    Raises:
        UnknownImageError: If the file of the declared images cannot be read.
    """
    try:
        # beside the state, so that it survives the embedded cloud
        return declared_images.command(declared_images.file_of(settings.home.absolute().parent), image)
    except DeclarationError as error:
        raise UnknownImageError(str(error)) from error


def job_command(
    image: str, entrypoint: Sequence[str] | None, arguments: Sequence[str] | None, *, is_processing: bool = False
) -> list[str]:
    """Return the command of a job: its entry point with this Python, or the image's default command, then the arguments.

    Args:
        image: Image URI.
        entrypoint: ``ContainerEntrypoint`` of the request.
        arguments: ``ContainerArguments`` of the request.
        is_processing: Whether it is a processing job, which does not pass ``train``. Default: a training job.

    Raises:
        UnknownImageError: If the image is unknown, has no ``train``, or the entry point is neither Python nor ``smspark-submit``.
    """
    row = runner(image)
    rest = [] if arguments is None else list(arguments)
    if entrypoint is not None:
        if not _PYTHON.fullmatch(entrypoint[0]) and entrypoint[0] != _SPARK_SUBMIT:
            raise UnknownImageError(
                f"entry point {entrypoint[0]!r} of image repository {repository(image)!r} cannot be run here; "
                "without containers an entry point starts with 'python'"
            )
        return [sys.executable, *entrypoint[1:], *rest]
    own = row.process if is_processing and row.process is not None else row.train
    if not own:
        role = "process" if is_processing else "train"
        raise UnknownImageError(
            f"image repository {repository(image)!r} has no {role!r} in mlops_local/runners.py; give ContainerEntrypoint"
        )
    return [sys.executable, *own, *rest]


def lock_of(digest: str) -> RequirementsLock | None:
    """Return the lock whose hash is an image's digest; ``None`` if no stack brought one.

    Args:
        digest: 64 hexadecimal digits.

    Raises:
        ModelEnvironmentError: If the asset is invalid, or a lock for another platform or Python.
    """
    if digest not in _FOUND:
        content = next((found for found in _assets(digest) if hashlib.sha256(found).hexdigest() == digest), None)
        if content is None:
            return None
        try:
            _FOUND[digest] = RequirementsLock.parsed(content)
        except RequirementsError as error:
            raise ModelEnvironmentError(f"lock {digest}: {error}") from error
    lock = _FOUND[digest]
    machine = platform.machine()
    problem = lock.platform_problem(sys.platform, _MACHINES.get(machine, machine))
    if problem is not None:
        raise ModelEnvironmentError(f"{problem}; for this machine and the image alike write it with: {LOCK_COMMAND}")
    return lock


def _assets(digest: str) -> Iterator[bytes]:
    name = asset_name(digest)
    for bucket, held in list(s3._buckets.items()):
        for key in list(held["objects"]) if "assets" in bucket else ():
            if key.rpartition("/")[2].startswith(name):
                content = s3._get_object_data(bucket, key)
                if content is not None:
                    yield content
