"""A repository of ECR: made, logged in to, and asked for the digest of a tag.

See: https://docs.aws.amazon.com/AmazonECR/latest/userguide/docker-push-ecr-image.html
"""

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RegistryError(RuntimeError):
    """A repository or a tag is not there; the message says how to make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What docker logs in with: the registry's host, the user and a password for some hours."""

    host: str
    user: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRepository:
    """A repository in the account's registry.

    Args:
        ecr: Client.
        name: Name of the repository.
    """

    ecr: "ECRClient"
    name: str

    def require(self) -> None:
        """Refuse a repository that does not exist.

        Raises:
            RegistryError: With the command that makes it.
        """
        try:
            self.ecr.describe_repositories(repositoryNames=[self.name])
        except ClientError as error:
            if error.response["Error"]["Code"] != "RepositoryNotFoundException":
                raise
            raise RegistryError(
                f"there is no repository {self.name!r} in region {self.ecr.meta.region_name}; make it with "
                f"mlops image push --create, or: aws ecr create-repository --repository-name {self.name} "
                "--image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true "
                "--encryption-configuration encryptionType=KMS"
            ) from error

    def create(self) -> bool:
        """Make the repository: tags cannot move, images are scanned and encrypted with a key. Return whether it is new."""
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
        """Return what docker logs in with; the registry of the embedded cloud is its own port, which docker reaches here."""
        data = self.ecr.get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        endpoint, registry = urlsplit(self.ecr.meta.endpoint_url), urlsplit(data["proxyEndpoint"])
        host = endpoint.netloc if endpoint.hostname in _LOOPBACK else registry.netloc
        return Login(host=host, user=user, password=password)

    def digest(self, tag: str) -> str | None:
        """Return the digest of a tag, or ``None`` where the repository has no such tag.

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
