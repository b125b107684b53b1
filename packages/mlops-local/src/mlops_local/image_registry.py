"""The image registry of the embedded cloud: pushed images, and images for which this machine has a stand-in.

Nothing is pulled. In each repository of :mod:`mlops_local.runners` the all-zero digest of ``cdk.json`` stands for this machine's
own code, and a tag for the stand-in of an image that AWS publishes. A digest that is the hash of a lock in the assets bucket stands
for the environment made of it; a digest that the user declared stands for its command. Any other digest must have been pushed.
"""

import json
from http import HTTPStatus
from typing import Any

from ministack.core.responses import error_response_json, get_account_id
from ministack.services import ecr

from mlops_local.runners import UnknownImageError, declared, lock, runners
from mlops_runtime.image import PLACEHOLDER_DIGEST

Response = tuple[int, dict[str, str], bytes]
_JSON = "application/x-amz-json-1.1"


def install() -> None:
    """Add the images with stand-ins to BatchGetImage and DescribeImages."""
    pushed, described = ecr._batch_get_image, ecr._describe_images

    def batch_get_image(data: dict[str, Any]) -> Response:
        name, requested = str(data.get("repositoryName", "")), data.get("imageIds", [])
        images = [_image(data, name, image_id) for image_id in requested if _stands_in(name, image_id)]
        rest = [image_id for image_id in requested if not _stands_in(name, image_id)]
        if not images:
            answered: Response = pushed(data)
            return answered
        # claim: registry-names-missing-images
        failures = [
            {"imageId": image_id, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            for image_id in rest
        ]
        body = json.dumps({"images": images, "failures": failures}).encode()
        return 200, {"Content-Type": _JSON}, body

    def describe_images(data: dict[str, Any]) -> Response:
        name, requested = str(data.get("repositoryName", "")), data.get("imageIds", [])
        if len(requested) == 1 and "imageDigest" in requested[0] and _stands_in(name, requested[0]):
            detail = {
                "registryId": data.get("registryId", get_account_id()),
                "repositoryName": name,
                "imageDigest": requested[0]["imageDigest"],
                "imageTags": [],
            }
            return 200, {"Content-Type": _JSON}, json.dumps({"imageDetails": [detail]}).encode()
        answered: Response = described(data)
        # claim: what-is-described-was-pushed
        if answered[0] == HTTPStatus.OK and len(json.loads(answered[2])["imageDetails"]) < len(requested):
            missing = next(each for each in requested if ecr._find_image(name, each) is None)
            shown = ", ".join(f"{key}:'{missing.get(key, 'null')}'" for key in ("imageDigest", "imageTag"))
            words = (
                f"The image with imageId {{{shown}}} does not exist within the repository with name '{name}' in the registry "
                f"with id '{data.get('registryId', get_account_id())}'"
            )
            refused: Response = error_response_json("ImageNotFoundException", words, HTTPStatus.BAD_REQUEST)
            return refused
        return answered

    ecr._batch_get_image, ecr._describe_images = batch_get_image, describe_images


def _stands_in(repository: str, image_id: dict[str, str]) -> bool:
    digest = image_id.get("imageDigest", "")
    if digest and declared(f"{repository}@{digest}") is not None:
        return True
    if repository in runners():
        return digest == PLACEHOLDER_DIGEST or "imageTag" in image_id
    try:
        return lock(f"{repository}@{digest}") is not None
    except UnknownImageError:
        return True  # it exists; a job with this image fails with the reason


def _image(data: dict[str, Any], repository: str, image_id: dict[str, str]) -> dict[str, Any]:
    return {
        "registryId": data.get("registryId", get_account_id()),
        "repositoryName": repository,
        "imageId": {"imageDigest": PLACEHOLDER_DIGEST, **image_id},
        "imageManifest": "{}",
        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
    }
