"""ECR repositories: create, log in, look up the digest of a tag, and check the images of a stack."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from mlops_runtime.refused_calls import DENIED

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^@:]+)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))"
)
# all manifest types; without a list, ECR omits indexes and OCI manifests
_ACCEPTED = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)


class RegistryError(RuntimeError):
    """A repository or a tag does not exist; the message states how to create it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Docker credentials of a registry: host, user, and a password that is valid for some hours."""

    host: str
    user: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRepository:
    """A repository in the account's registry."""

    ecr: "ECRClient"
    name: str  # name of the repository

    def require(self) -> None:
        """Check that the repository exists.

        Raises:
            RegistryError: If it does not, with the command to create it.
        """
        try:
            self.ecr.describe_repositories(repositoryNames=[self.name])
        except ClientError as error:
            if error.response["Error"]["Code"] != "RepositoryNotFoundException":
                raise
            raise RegistryError(
                f"there is no repository {self.name!r} in region {self.ecr.meta.region_name}; create it with "
                f"mlops image push --create, or: aws ecr create-repository --repository-name {self.name} "
                "--image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true "
                "--encryption-configuration encryptionType=KMS"
            ) from error

    def create(self) -> bool:
        """Create the repository with immutable tags, scanning and KMS encryption. Return whether it is new."""
        try:
            self.ecr.create_repository(
                repositoryName=self.name,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
                encryptionConfiguration={"encryptionType": "KMS"},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "RepositoryAlreadyExistsException":
                raise
            return False
        return True

    def login(self) -> Login:
        """Return docker's credentials; the registry of the embedded cloud is on its own local port."""
        data = self.ecr.get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        endpoint, registry = urlsplit(self.ecr.meta.endpoint_url), urlsplit(data["proxyEndpoint"])
        host = endpoint.netloc if endpoint.hostname in _LOOPBACK else registry.netloc
        return Login(host=host, user=user, password=password)

    def digest(self, tag: str) -> str | None:
        """Return the digest of a tag, or ``None`` if the repository has no such tag.

        Raises:
            RegistryError: If there is no such repository.
        """
        self.require()
        try:
            found = self.ecr.describe_images(repositoryName=self.name, imageIds=[{"imageTag": tag}])["imageDetails"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ImageNotFoundException":
                raise
            return None
        return found[0]["imageDigest"] if found else None

    def tags(self) -> list[str]:
        """Return the tags of the repository, newest image first."""
        pages = self.ecr.get_paginator("describe_images").paginate(repositoryName=self.name)
        images = [image for page in pages for image in page["imageDetails"]]
        images.sort(key=lambda image: image["imagePushedAt"], reverse=True)
        return [tag for image in images for tag in image.get("imageTags", [])]


class MissingImageError(ValueError):
    """Images that are not in their registry, or cannot be checked; the message names each with its commands."""


def check_images(ecr: "ECRClient", uris: Sequence[str]) -> None:
    """Check that images in the stack's region, named by digest or tag, are in their registry.

    Raises:
        MissingImageError: For each image that is missing, may not be read, or whose registry does not respond.
    """
    problems = [problem for uri in uris for problem in [_problem(ecr, uri)] if problem is not None]
    if problems:
        raise MissingImageError("; ".join(problems))


# names of the platform's images in the command
_WHICH = {"mlops-runtime": "", "mlops-explain": "explain ", "mlops-model": "model "}


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
        return f"the registry of image {uri} does not respond ({error}): add the interface endpoint ecr.api to the unit's network"
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "RepositoryNotFoundException":
            return _missing(uri, repository, f"there is no repository {repository!r}")
        if code in DENIED:
            return (
                f"image {uri} may not be read: the policy of repository {repository!r} must allow ecr:BatchGetImage to this "
                f"account ({error.response['Error'].get('Message', code)})"
            )
        raise
    return None if answer["images"] else _missing(uri, repository, f"repository {repository!r} does not have it")


def _missing(uri: str, repository: str, reason: str) -> str:
    which = _WHICH.get(repository, "")
    ours = (
        "Build and push it"
        if repository in _WHICH
        else "Push a third-party image there with docker; for the embedded cloud, declare its command: "
        f"mlops local image add {repository}@sha256:... --serve COMMAND. Build and push an image of the platform"
    )
    return (
        f"image {uri} is not in its registry: {reason}. {ours}, then set its digest: "
        f"mlops image build {which}--repository {repository}; mlops image push {which}--repository {repository}; "
        f"mlops image digest {which}--repository {repository} --write"
    )
