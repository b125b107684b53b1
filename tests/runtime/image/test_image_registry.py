"""A repository of ECR."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.image.image_registry import ImageRepository, RegistryError

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def repository() -> Iterator[ImageRepository]:
    """A repository that nobody made yet."""
    with mock_aws():
        ecr = boto3.client("ecr", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing")
        yield ImageRepository(ecr=ecr, name="team/model")


def push(ecr: Any, tag: str) -> str:
    """Push an image of its own; return its digest."""
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": tag}, "layers": []})
    pushed = ecr.put_image(repositoryName="team/model", imageManifest=manifest, imageTag=tag)
    return str(pushed["image"]["imageId"]["imageDigest"])


def test_a_missing_repository_names_the_command(repository: ImageRepository) -> None:
    """And the option that does it."""
    with pytest.raises(
        RegistryError,
        match=r"no repository 'team/model' in region eu-west-1; make it with mlops image push --create, or: aws",
    ):
        repository.digest("1")


def test_a_repository_is_made_once(repository: ImageRepository) -> None:
    """Immutable, scanned, encrypted with a key."""
    assert (repository.create(), repository.create()) == (True, False)

    made = repository.ecr.describe_repositories()["repositories"][0]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"]["encryptionType"] == "KMS"


def test_a_tag_has_its_digest(repository: ImageRepository) -> None:
    """A tag that is not there has none."""
    repository.create()
    digest = push(repository.ecr, "1")

    assert (repository.digest("1"), repository.digest("2")) == (digest, None)
    assert repository.tags() == ["1"]


def test_docker_logs_in_to_the_accounts_registry(repository: ImageRepository) -> None:
    """The host of the repository, the user AWS and a password."""
    repository.create()
    login = repository.login()

    assert (login.host, login.user) == ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "AWS")
    assert login.password
