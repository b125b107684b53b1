"""An image only in the source's registry, served in the target's account, with IAM enforced: the repository's owner decides."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.called_command import call_command
from tests.examples.test_two_accounts import BUILD, GROUP, STAGING, Accounts, synthesize

from mlops_constructs import Images, ModelImage
from mlops_local import cloud as local_cloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

# not a digest that the embedded cloud substitutes: only the registry with the push has it
DIGEST = "sha256:" + "c" * 64
REPOSITORY = "mlops-runtime"


def owners_policy(assembly: Path) -> str:
    """Return the statements of `mlops accounts show` for the repository's owner as a policy."""
    ended = call_command("accounts", "show", "--app", assembly, "--json")
    assert ended.returncode == 0, ended.stderr
    (link,) = json.loads(ended.stdout)["links"]
    (found,) = link["repositories"]
    assert found["repository"] == f"arn:aws:ecr:{BUILD.region}:{BUILD.account}:repository/{REPOSITORY}"
    return json.dumps({"Version": "2012-10-17", "Statement": found["statements"]})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Accounts, str]]:
    """Both accounts, of which only build has the image, and the repository policy that admits staging."""
    folder = tmp_path_factory.mktemp("shared")
    image = ModelImage.from_ecr(repository_name=REPOSITORY, digest=DIGEST, account=BUILD.account)
    assembly = synthesize(folder, image, Images.SHARED)
    policy = owners_policy(assembly)
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0, account_count=3)
    try:
        ecr = cloud.at(BUILD.account, BUILD.region).client("ecr")
        ecr.create_repository(repositoryName=REPOSITORY)
        manifest = json.dumps({"layers": []})
        ecr.put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageTag="one", imageDigest=DIGEST)
        # deploying an endpoint checks for its image
        ecr.set_repository_policy(repositoryName=REPOSITORY, policyText=policy)
        yield Accounts(cloud, assembly, DIGEST), policy
    finally:
        cloud.down(forget=True)


def test_an_image_of_the_source_is_served_where_its_repository_admits_the_target(
    shared: tuple[Accounts, str], wait_for: Callable[..., Any]
) -> None:
    """Refused by name without the repository's policy, before any copy; then registered and pulled from there."""
    accounts, policy = shared
    ecr = accounts.build.client("ecr")
    ecr.delete_repository_policy(repositoryName=REPOSITORY)
    package = accounts.approve(3.0)
    record = wait_for(lambda: accounts.released(package))
    refused = wait_for(lambda: accounts.offer(record))

    assert (refused.state, refused.may_pass, refused.package) == ("REFUSED", True, ""), refused
    for words in (
        f"image {DIGEST} of repository {REPOSITORY} was found neither in the registry of {STAGING.account} in {STAGING.region}",
        f"nor in that of build, {BUILD.account}, there",
        "because no resource-based policy allows the ecr:DescribeImages action",
        "mlops accounts show prints the statements",
    ):
        assert words in refused.reason
    copied = accounts.staging.client("s3").list_objects_v2(Bucket=accounts.target["ArtifactsBucket"])["Contents"]
    keys = [each["Key"] for each in copied if GROUP in each["Key"]]
    assert {each.rpartition("/")[2] for each in keys if each.startswith("incoming/")} == {"record.json"}
    assert [each for each in keys if each.startswith(("models/", "evaluations/", "gates/"))] == []

    ecr.set_repository_policy(repositoryName=REPOSITORY, policyText=policy)
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    offer = wait_for(lambda: (found := accounts.offer(record)) is not None and found.state == "APPROVED" and found)
    described = accounts.loop.sagemaker.describe_model_package(ModelPackageName=offer.package)
    (container,) = described["InferenceSpecification"]["Containers"]
    assert container["Image"] == record.package.image
    assert f"{BUILD.account}.dkr.ecr.{BUILD.region}." in container["Image"]
    live = wait_for(accounts.loop.live, seconds=120.0)
    assert live.model_package_arn == offer.package
    assert accounts.loop.invoke([{"x": 2.0}], "ask")[0].predictions[0] == pytest.approx(6.0)
