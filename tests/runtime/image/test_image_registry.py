"""Repositories of ECR.

Images that exist, are missing, are hidden by permissions, or whose registry is unreachable.
"""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from mlops_runtime.image.image_registry import ImageRepository, MissingImageError, RegistryError, check_images

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
KEYS = {"region_name": "us-east-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture
def repository() -> Iterator[ImageRepository]:
    """Return the name of a repository that does not exist yet."""
    with mock_aws():
        ecr = boto3.client("ecr", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing")
        yield ImageRepository(ecr=ecr, name="team/model")


def push(ecr: Any, tag: str) -> str:
    """Push a new image, and return its digest."""
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": tag}, "layers": []})
    pushed = ecr.put_image(repositoryName="team/model", imageManifest=manifest, imageTag=tag)
    return str(pushed["image"]["imageId"]["imageDigest"])


def test_a_missing_repository_names_the_command(repository: ImageRepository) -> None:
    """The message contains the command and its option."""
    with pytest.raises(
        RegistryError,
        match=r"no repository 'team/model' in region eu-west-1; create it with mlops image push --create, or: aws",
    ):
        repository.digest("1")


def test_a_repository_is_made_once(repository: ImageRepository) -> None:
    """It has immutable tags, scanning, and encryption with a key."""
    assert (repository.create(), repository.create()) == (True, False)

    made = repository.ecr.describe_repositories()["repositories"][0]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"]["encryptionType"] == "KMS"


def test_a_tag_has_its_digest(repository: ImageRepository) -> None:
    """A missing tag has no digest."""
    repository.create()
    digest = push(repository.ecr, "1")

    assert (repository.digest("1"), repository.digest("2")) == (digest, None)
    assert repository.tags() == ["1"]


def test_docker_logs_in_to_the_accounts_registry(repository: ImageRepository) -> None:
    """The login has the repository's host, the user AWS and a password."""
    repository.create()
    login = repository.login()

    assert (login.host, login.user) == ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "AWS")
    assert login.password


@pytest.fixture
def ecr() -> Iterator[Any]:
    """Return a registry with one image, tagged ``1``."""
    with mock_aws():
        client = boto3.client("ecr", **KEYS)
        client.create_repository(repositoryName="team/model")
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": "sha256:" + "a" * 64}, "layers": []}
        )
        client.put_image(repositoryName="team/model", imageManifest=manifest, imageTag="1")
        yield client


def test_images_by_tag_and_digest_are_found(ecr: Any) -> None:
    """The image is found by its tag and by its digest."""
    digest = ecr.describe_images(repositoryName="team/model")["imageDetails"][0]["imageDigest"]

    check_images(ecr, [f"{REGISTRY}/team/model:1", f"{REGISTRY}/team/model@{digest}"])


def test_every_missing_image_is_named_with_its_commands(ecr: Any) -> None:
    """The cases are another digest and a missing repository."""
    other, nowhere = f"{REGISTRY}/team/model@sha256:{'b' * 64}", f"{REGISTRY}/nowhere:1"

    with pytest.raises(MissingImageError) as caught:
        check_images(ecr, [other, nowhere])

    assert f"image {other} is not in its registry: repository 'team/model' does not have it" in str(caught.value)
    assert f"image {nowhere} is not in its registry: there is no repository 'nowhere'" in str(caught.value)
    assert "mlops image build --repository nowhere; mlops image push --repository nowhere" in str(caught.value)
    assert "Push a third-party image there with docker" in str(caught.value)
    assert "mlops local image add nowhere@sha256:... --serve COMMAND" in str(caught.value)


def test_the_image_of_a_model_has_commands_of_its_own(ecr: Any) -> None:
    """The commands of the runtime's image would build another image."""
    with pytest.raises(
        MissingImageError, match="mlops image build model --repository mlops-model; mlops image push model"
    ) as caught:
        check_images(ecr, [f"{REGISTRY}/mlops-model@sha256:{'b' * 64}"])
    assert "others" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["mlops-runtime", "docker.io/library/python:3", f"{REGISTRY}/a", f"{REGISTRY}/a@sha256:1"]
)
def test_a_name_that_ecr_does_not_know_is_refused(ecr: Any, uri: str) -> None:
    """SageMaker pulls from ECR alone."""
    with pytest.raises(MissingImageError, match="must be <account>"):
        check_images(ecr, [uri])


def test_another_regions_registry_is_not_asked(ecr: Any) -> None:
    """The VPC endpoint of the network reaches only the stack's Region."""
    check_images(ecr, ["123456789012.dkr.ecr.eu-west-1.amazonaws.com/nowhere:1"])


def test_a_registry_that_may_not_be_read_names_the_right(ecr: Any) -> None:
    """The repository of another account denies access."""
    with (
        Stubber(ecr) as stub,
        pytest.raises(MissingImageError, match=r"allow ecr:BatchGetImage to this account \(no\)"),
    ):
        stub.add_client_error("batch_get_image", "AccessDeniedException", "no")
        check_images(ecr, [f"{REGISTRY}/team/model:1"])


def test_any_other_error_is_the_callers(ecr: Any) -> None:
    """Other errors of the service are raised unchanged."""
    with Stubber(ecr) as stub, pytest.raises(ClientError, match="ServerException"):
        stub.add_client_error("batch_get_image", "ServerException", "later")
        check_images(ecr, [f"{REGISTRY}/team/model:1"])


def test_a_registry_out_of_reach_names_the_endpoint() -> None:
    """The error is that of a subnet without the interface endpoint."""
    config = Config(connect_timeout=1, retries={"total_max_attempts": 1})
    unreachable = boto3.client("ecr", endpoint_url="http://127.0.0.1:9", config=config, **KEYS)

    with pytest.raises(MissingImageError, match=r"does not respond .* add the interface endpoint ecr\.api"):
        check_images(unreachable, [f"{REGISTRY}/team/model:1"])
