"""Images by digest."""

import aws_cdk as cdk
import pytest

from mlops_constructs import ModelImage, ValidationError

DIGEST = "sha256:" + "0a" * 32


def test_uri_names_account_region_and_digest() -> None:
    """SageMaker takes it as it is."""
    stack = cdk.Stack(cdk.App(), "S")

    uri = stack.resolve(ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST).uri(stack))

    assert uri == {
        "Fn::Join": [
            "",
            [
                {"Ref": "AWS::AccountId"},
                ".dkr.ecr.",
                {"Ref": "AWS::Region"},
                ".",
                {"Ref": "AWS::URLSuffix"},
                f"/mlops-runtime@{DIGEST}",
            ],
        ]
    }


def test_pulling_names_the_repository_also_of_another_account() -> None:
    """Only the registry's token has no resource."""
    stack = cdk.Stack(cdk.App(), "S")
    image = ModelImage.from_ecr(
        repository_name="team/runtime", digest=DIGEST, account="111111111111", region="eu-west-1"
    )

    token, layers = (stack.resolve(s.to_statement_json()) for s in image.pull_statements(stack))

    assert (token["Action"], token["Resource"]) == ("ecr:GetAuthorizationToken", "*")
    assert layers["Action"] == ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    assert layers["Resource"] == {
        "Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":ecr:eu-west-1:111111111111:repository/team/runtime"]]
    }
    assert image.uri(stack).startswith("111111111111.dkr.ecr.eu-west-1.")


@pytest.mark.parametrize("digest", ["latest", "sha256:abc", "SHA256:" + "0a" * 32, "sha256:" + "0A" * 32])
def test_fails_on_anything_but_a_digest(digest: str) -> None:
    """A tag can be moved after it was approved."""
    with pytest.raises(ValidationError, match="InvalidImage: digest must be 'sha256:' and 64 hexadecimal digits"):
        ModelImage.from_ecr(repository_name="mlops-runtime", digest=digest)


def test_fails_with_all_problems_at_once() -> None:
    """Repository, digest and account are looked at together."""
    with pytest.raises(ValidationError) as caught:
        ModelImage.from_ecr(repository_name="Runtime", digest="latest", account="1")

    assert [p.split()[0] for p in caught.value.problems] == ["repository_name", "digest", "account"]
