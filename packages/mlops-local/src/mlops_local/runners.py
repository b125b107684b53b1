"""Stand-ins for container images: one table, from the image's repository name to commands of this machine.

An image whose repository is not in the table is refused by name: nothing is ever run that only pretends to be the image. An image
whose digest is the hash of a lock that a stack brought runs as ``mlops-runtime``, with the environment of that lock. What a user
declared by ``mlops local image add`` runs as the declared command (`declared_images`).
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_local import declared_images, lock_assets, model_environments, settings
from mlops_local.declared_images import DeclarationError, repository
from mlops_local.model_environments import ModelEnvironmentError
from mlops_runtime.image.requirements_lock import RequirementsLock

_PYTHON = re.compile(r"(.*/)?python(3(\.\d+)?)?")
# SageMaker's Spark container runs an application with it, which makes its own session: one process here, with Spark inside
# https://github.com/aws/sagemaker-spark-container/blob/master/src/smspark/cli.py
_SPARK_SUBMIT = "smspark-submit"


class UnknownImageError(ValueError):
    """An image cannot be run here; the message names the repository and the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """How one image is run.

    Args:
        serve: Arguments for Python that stand for the image's ``serve``. Default: the image serves nothing.
        train: Arguments for Python that stand for the image's ``train``, which SageMaker runs of a training image without
            arguments. Default: jobs must name a container entry point.
        process: Arguments for Python that stand for what the image runs by itself in a processing job; empty where it runs
            nothing of use. Default: the same as ``train``.
        program: What the arguments are for. Default: this Python.
    """

    serve: tuple[str, ...] | None = None
    train: tuple[str, ...] | None = None
    process: tuple[str, ...] | None = None
    program: str = sys.executable


# AWS's images of Model Monitor and Clarify cannot be had here: our own analyzers stand for them, and status and reports say so
STAND_INS: Mapping[str, str] = {
    "sagemaker-model-monitor-analyzer": "mlops_runtime.jobs.model_monitor",
    "sagemaker-model-monitor-groundtruth-merger": "mlops_runtime.jobs.model_monitor_merge",
    "sagemaker-clarify-processing": "mlops_runtime.jobs.model_monitor_clarify",
}
# the commands that the image has in bin/
_RUNTIME = Runner(
    serve=("-m", "mlops_runtime.serving", "serve"),
    train=("-m", "mlops_runtime.jobs.train"),
    process=(),
)
RUNNERS: Mapping[str, Runner] = {
    "mlops-runtime": _RUNTIME,
    # the same with shap, where this Python finds it; a job says so where it does not
    "mlops-explain": Runner(),
    **{image: Runner(train=("-m", module)) for image, module in STAND_INS.items()},
}

# JSON of further rows, {"<repository>": {"serve": [...], "train": [...]}}; tests register their own servers with it
EXTRA = "MLOPS_LOCAL_RUNNERS"


def runners() -> Mapping[str, Runner]:
    """Return the table: ours, and the rows that the environment variable ``MLOPS_LOCAL_RUNNERS`` adds."""
    rows: dict[str, dict[str, Any]] = json.loads(os.environ.get(EXTRA, "{}"))
    for row in rows.values():
        row.update({role: tuple(command) for role, command in row.items()})
    return {**RUNNERS, **{name: Runner(**row) for name, row in rows.items()}}


def runner(image: str) -> Runner:
    """Return the row of an image.

    Raises:
        UnknownImageError: No row has its repository name, and its digest is of no lock that makes an environment here.
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
        "use one of them; say what an image of others runs by mlops local image add; an image of "
        "ModelImage.from_requirements(lock) runs here without digest="
    )


def lock(image: str) -> RequirementsLock | None:
    """Return the lock that an image's digest is the hash of, where a stack brought one.

    Raises:
        UnknownImageError: It makes no environment on this machine.
    """
    digest = image.partition("@sha256:")[2]
    if declared(image) is not None:
        return None
    if not digest or repository(image) in runners():
        return None
    try:
        return lock_assets.lock_of(digest)
    except ModelEnvironmentError as error:
        raise UnknownImageError(f"image repository {repository(image)!r}: {error}") from error


def environment(image: str, *, has_network: bool = False) -> dict[str, str]:
    """Return the variables that an image sets itself; the first call for a lock makes its environment, in seconds or minutes.

    Args:
        image: Image URI.
        has_network: Whether a script of the model may use the network. Default: it may not, where the kernel allows that.

    Raises:
        UnknownImageError: The environment cannot be made.
    """
    found = lock(image)
    if found is None:
        return {}
    try:
        return model_environments.variables(found, model_environments.root(), has_network=has_network)
    except ModelEnvironmentError as error:
        raise UnknownImageError(f"image repository {repository(image)!r}: {error}") from error


def serve_command(image: str) -> list[str]:
    """Return the command that serves an image's models.

    Raises:
        UnknownImageError: The image is unknown or serves nothing.
    """
    row = runner(image)
    if row.serve is None:
        raise UnknownImageError(f"image repository {repository(image)!r} has no 'serve' in mlops_local/runners.py")
    return [row.program, *row.serve]


def declared(image: str) -> str | None:
    """Return what a shell runs for an image, as the user declared.

    Raises:
        UnknownImageError: The file of what was declared cannot be read.
    """
    try:
        # beside the state, so that it stays when the embedded cloud ends
        return declared_images.command(declared_images.file_of(settings.home.absolute().parent), image)
    except DeclarationError as error:
        raise UnknownImageError(str(error)) from error


def job_command(
    image: str, entrypoint: Sequence[str] | None, arguments: Sequence[str] | None, *, is_processing: bool = False
) -> list[str]:
    """Return the command of a job: its entry point with this Python, or what the image runs by itself, then the arguments.

    Args:
        image: Image URI.
        entrypoint: ``ContainerEntrypoint`` of the call.
        arguments: ``ContainerArguments`` of the call.
        is_processing: Whether it is a processing job, which does not pass ``train``. Default: it is a training job.

    Raises:
        UnknownImageError: The image is unknown, has no ``train``, or the entry point is neither Python nor ``smspark-submit``.
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
