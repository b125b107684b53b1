"""The image that ``mlops verify`` serves: the one that is named, or the digest of ``cdk.json``."""

import json
import re
from pathlib import Path
from typing import Literal

from mlops_cli.errors import UserError
from mlops_runtime.image import PLACEHOLDER_DIGEST

REPOSITORY = "mlops-runtime"
_IMAGE = re.compile(
    r"(?:(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/)?"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]*)@(?P<digest>sha256:[0-9a-f]{64})"
)


def serving_image(
    given: str | None, *, cloud: Literal["aws", "embedded"], account: str, region: str, settings: Path
) -> tuple[str, str]:
    """Return repository and digest of the serving image.

    Args:
        given: Repository and digest, or the whole URI. Default: ``mlops-runtime`` with the settings' digest.
        cloud: Where it is going to run; only the embedded cloud stands in for the digest of 64 zeros.
        account: Number of the account of the run.
        region: Its region.
        settings: ``cdk.json``, with the context ``image_digest``.

    Raises:
        UserError: If there is none, it is of another account or region, or its digest is the placeholder on AWS.
    """
    repository, digest = _of_settings(settings) if given is None else _named(given, account=account, region=region)
    if digest == PLACEHOLDER_DIGEST and cloud == "aws":
        source = f"image_digest of {settings.name}" if given is None else f"--image {given!r}"
        raise UserError(
            f"{source} is the placeholder of 64 zeros, for which only the embedded cloud stands in: push an image with mlops "
            "image push, and give its digest with --image or mlops image digest --write; or --free for the free checks"
        )
    return repository, digest


def _of_settings(settings: Path) -> tuple[str, str]:
    found = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
    digest = found.get("context", {}).get("image_digest")
    if digest is None:
        raise UserError(
            "no serving image: give --image REPOSITORY@sha256:DIGEST of this account and region (or set image_digest in "
            f"{settings.name}), or --free for the free checks"
        )
    return REPOSITORY, str(digest)


def _named(given: str, *, account: str, region: str) -> tuple[str, str]:
    match = _IMAGE.fullmatch(given)
    if match is None:
        raise UserError(
            f"--image must be REPOSITORY@sha256:<64 hexadecimal digits> or its whole URI in ECR, got {given!r}"
        )
    for name, here in (("account", account), ("region", region)):
        if match[name] not in (None, here):
            raise UserError(
                f"--image is of {name} {match[name]}, the run of {here}: push it there, or choose another {name}"
            )
    return match["repository"], match["digest"]
