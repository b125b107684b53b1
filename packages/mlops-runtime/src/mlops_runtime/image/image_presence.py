"""Whether the registry has the images that a stack names, asked before anything needs them.

Without the question a missing image would be noticed by the first job or endpoint, hours after a deployment that succeeded.

See: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^@:]+)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))"
)
# what every manifest may be; without a list ECR leaves out indexes and OCI manifests
_ACCEPTED = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_DENIED = ("AccessDeniedException", "AccessDenied")


class MissingImageError(ValueError):
    """Images that a registry does not have, or of which it cannot be known; the message names each with its commands."""


def check_images(ecr: "ECRClient", uris: Sequence[str]) -> None:
    """Refuse images that their registry does not have.

    Args:
        ecr: Client in the stack's region; its timeouts bound the check.
        uris: Names of images in ECR, by digest or tag. Those of another region are left to the job that pulls them.

    Raises:
        MissingImageError: For each image that is not there, may not be read, or is in a registry that does not answer.
    """
    problems = [problem for uri in uris for problem in [_problem(ecr, uri)] if problem is not None]
    if problems:
        raise MissingImageError("; ".join(problems))


def _problem(ecr: "ECRClient", uri: str) -> str | None:
    found = _URI.fullmatch(uri)
    if found is None:
        return f"image {uri!r} must be <account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<digest> or :<tag>"
    if found["region"] != ecr.meta.region_name:
        return None
    repository, digest, tag = found["repository"], found["digest"], found["tag"]
    try:
        answer = ecr.batch_get_image(
            registryId=found["account"],
            repositoryName=repository,
            imageIds=[{"imageDigest": digest} if digest else {"imageTag": tag}],
            acceptedMediaTypes=list(_ACCEPTED),
        )
    except (ConnectTimeoutError, EndpointConnectionError) as error:
        return f"the registry of image {uri} does not answer ({error}): add the interface endpoint ecr.api to the unit's network"
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "RepositoryNotFoundException":
            return _missing(uri, repository, f"there is no repository {repository!r}")
        if code in _DENIED:
            return (
                f"image {uri} may not be read: let the policy of repository {repository!r} allow ecr:BatchGetImage to this "
                f"account ({error.response['Error'].get('Message', code)})"
            )
        raise
    return None if answer["images"] else _missing(uri, repository, f"repository {repository!r} does not have it")


def _missing(uri: str, repository: str, reason: str) -> str:
    return (
        f"image {uri} is not in its registry: {reason}. Build and push it, then name its digest: "
        f"mlops image build --repository {repository}; mlops image push --repository {repository}; "
        f"mlops image digest --repository {repository} --write"
    )
