"""Requirement locks in the assets bucket, found by the image digest that they stand for."""

import hashlib
import platform
import sys
from collections.abc import Iterator

from ministack.services import s3

from mlops_local import compat
from mlops_local.model_environments import ModelEnvironmentError
from mlops_local.saved_state import kept_stores
from mlops_runtime.image.requirements_lock import (
    LOCK_COMMAND,
    RequirementsError,
    RequirementsLock,
    asset_name,
)

compat.expect("ministack.services.s3", _buckets=object, _get_object_data="(bucket_name, key, version_id=None)")

_MACHINES = {"arm64": "aarch64", "AMD64": "x86_64"}
_FOUND: dict[str, RequirementsLock] = kept_stores.leave(__name__, "_FOUND", {}, why="a cache")


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
