"""The container image of a model or job, by digest: what was tested is what runs."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import IConstruct
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern

# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
_REPOSITORY = r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"
_DIGEST = r"sha256:[0-9a-f]{64}"
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelImage:
    """An image in a private registry. Use ``from_ecr``.

    Example:
        >>> image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
        >>> image.repository_name
        'mlops-runtime'
    """

    repository_name: str
    digest: str
    account: str | None = None
    region: str | None = None

    @classmethod
    def from_ecr(
        cls, *, repository_name: str, digest: str, account: str | None = None, region: str | None = None
    ) -> "ModelImage":
        """Name an image by its digest; a tag can be moved, a digest cannot.

        Args:
            repository_name: Name of the repository.
            digest: ``sha256:`` and 64 hexadecimal digits.
            account: Account of the registry. Default: the stack's.
            region: Region of the registry. Default: the stack's.

        Raises:
            ValidationError: If repository name, digest or account are malformed.
        """
        problems = [
            check_pattern("repository_name", repository_name, pattern=_REPOSITORY, allowed="a repository name of ECR"),
            check_pattern(
                "digest",
                digest,
                pattern=_DIGEST,
                allowed="'sha256:' and 64 hexadecimal digits, as a tag can be moved",
            ),
            check_pattern("account", account, pattern=r"\d{12}", allowed="12 digits"),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidImage", found)
        return cls(repository_name=repository_name, digest=digest, account=account, region=region)

    def uri(self, scope: IConstruct) -> str:
        """Return the image's name in a container definition.

        Args:
            scope: Any construct of the stack that runs it.
        """
        stack = cdk.Stack.of(scope)
        account = stack.account if self.account is None else self.account
        region = stack.region if self.region is None else self.region
        return f"{account}.dkr.ecr.{region}.{stack.url_suffix}/{self.repository_name}@{self.digest}"

    def pull_statements(self, scope: IConstruct) -> list[iam.PolicyStatement]:
        """Return what a role needs to pull the image; the token of the registry has no resource, so it is asked on ``*``.

        See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html

        Args:
            scope: Any construct of the stack that runs it.
        """
        stack = cdk.Stack.of(scope)
        repository = stack.format_arn(
            service="ecr",
            resource="repository",
            resource_name=self.repository_name,
            account=self.account,
            region=self.region,
        )
        return [
            iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]),
            iam.PolicyStatement(actions=list(_PULL), resources=[repository]),
        ]
