"""``ModelImage``: container image of a model, in ECR by digest, built from requirements, or prebuilt by AWS."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets

from constructs import IConstruct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import allow
from mlops_constructs._stack_values import mapped_account, stack_of, stack_values
from mlops_constructs._validation import ValidationError, check_pattern, is_file, is_known, raise_problems
from mlops_runtime.image import PLACEHOLDER_DIGEST
from mlops_runtime.image.requirements_lock import (
    IMAGE_PYTHON,
    LOCK_COMMAND,
    RequirementsError,
    RequirementsLock,
    stand_in,
)

Use = Literal["inference", "training"]
Processor = Literal["cpu", "gpu"]
_TABLE = Path(__file__).parent / "images.json"

# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
_REPOSITORY = r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"
_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d+"
_DIGEST = r"sha256:[0-9a-f]{64}"
_DIGEST_ALLOWED = "'sha256:' and 64 hexadecimal digits, as a tag can be moved"
# unset context is None
_NO_DIGEST = (
    f"digest must be {_DIGEST_ALLOWED}, got None; if the digest comes from the app's context, run `cdk synth`, which reads "
    "cdk.json, or set -c image_digest=sha256:..."
)
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


@checked("InvalidImage")
@dataclass(frozen=True, slots=True, kw_only=True)
class PrebuiltImage:
    """A prebuilt image of AWS: one repository and tag in AWS's registry accounts, one account per Region."""

    repository: str
    tag: str
    registry: str
    accounts: Mapping[str, str]


def find_image(
    framework: str,
    version: str,
    *,
    use: Use | None = None,
    processor: Processor | None = None,
    python: str | None = None,
) -> PrebuiltImage:
    """Return the only prebuilt image that matches.

    Args:
        framework: Name of the framework, such as ``xgboost``.
        version: Full version, such as ``3.0-5``.
        use: Purpose of the image. Default: any.
        processor: Processor of the image. Default: any.
        python: Python version of the image, such as ``py312``. Default: any.

    Raises:
        ValidationError: If framework or version is unknown, or not exactly one image matches; lists the available ones.

    Example:
        >>> find_image("xgboost", "3.0-5").repository
        'sagemaker-xgboost'
    """
    images = _table()["images"]
    if framework not in images:
        raise _error(f"framework must be one of {', '.join(sorted(images))}, got {framework!r}")
    if version not in images[framework]:
        known = ", ".join(sorted(images[framework], key=_order))
        raise _error(f"version of {framework} must be one of {known}, got {version!r}")
    rows: list[Mapping[str, Any]] = images[framework][version]
    fitting = [
        row
        for row in rows
        if use in (None, *row["uses"]) and processor in (None, row["processor"]) and python in (None, row["python"])
    ]
    if len(fitting) != 1:
        what = "no image matches" if not fitting else "several images match"
        given = f"use={use!r}, processor={processor!r}, python={python!r}"
        raise _error(f"{what} {framework} {version} with {given}; choose one of {_choices(fitting or rows)}")
    (row,) = fitting
    return PrebuiltImage(
        repository=row["repository"],
        tag=row["tag"],
        registry=row["registry"],
        accounts=_table()["registries"][row["registry"]],
    )


def _choices(rows: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"use={use!r}, processor={row['processor']!r}, python={row['python']!r}" for row in rows for use in row["uses"]
    )


def _order(version: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in version.replace("-", ".").split(".")]


def _error(problem: str) -> ValidationError:
    return ValidationError("UnknownImage", [problem])


@cache
def _table() -> dict[str, Any]:
    return dict(json.loads(_TABLE.read_text()))


@checked("InvalidImage")
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelImage:
    """A container image in ECR. Use ``from_ecr``, ``from_requirements``, ``prebuilt`` or ``build``.

    Example:
        >>> image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
        >>> image.repository_name
        'mlops-runtime'
    """

    repository_name: str
    digest: str | None = None
    account: str | None = None
    region: str | None = None
    aws_image: PrebuiltImage | None = None
    directory: Path | None = None
    lock: Path | None = None
    lock_sha256: str | None = None

    @classmethod
    def from_ecr(
        cls, *, repository_name: str, digest: str | None, account: str | None = None, region: str | None = None
    ) -> "ModelImage":
        """An image identified by repository and digest; unlike a tag, a digest cannot be moved.

        Args:
            repository_name: ECR repository, without the registry's host name.
            digest: ``sha256:`` and 64 hexadecimal digits. ``None``, from unset context, is an error that explains how to set it.
            account: Account of the registry. Default: the stack's.
            region: Region of the registry. Default: the stack's.

        Raises:
            ValidationError: If repository name, digest, account or region are malformed.
        """
        repository = "" if repository_name is None else repository_name
        problems = [
            check_pattern("repository_name", repository, pattern=_REPOSITORY, allowed="a repository name of ECR"),
            _NO_DIGEST if digest is None else check_pattern("digest", digest, pattern=_DIGEST, allowed=_DIGEST_ALLOWED),
            check_pattern("account", account, pattern=r"\d{12}", allowed="a string of 12 digits"),
            check_pattern("region", region, pattern=_REGION, allowed="the name of a Region such as 'eu-central-1'"),
        ]
        raise_problems("InvalidImage", problems)
        return cls(repository_name=repository_name, digest=digest, account=account, region=region)

    @classmethod
    def from_requirements(
        cls,
        lock: Path | str,
        *,
        repository_name: str = "mlops-model",
        digest: str | None = None,
        account: str | None = None,
        region: str | None = None,
    ) -> "ModelImage":
        """The image of a model that is not ONNX: ``mlops-runtime`` with an environment installed from a requirements lock.

        ``mlops image build model --requirements`` builds it. Without ``digest`` the image has a placeholder digest, derived from
        the lock's hash, that only the embedded cloud accepts: it installs the environment from the lock, an asset of the stack.

        Args:
            lock: File that ``mlops image lock`` wrote: universal, or for Linux and Python 3.13.
            repository_name: Name of the repository. Default: ``mlops-model``.
            digest: ``sha256:`` and 64 hexadecimal digits of the pushed image. Default: the placeholder of the lock.
            account: Account of the registry. Default: the stack's.
            region: Region of the registry. Default: the stack's.

        Raises:
            ValidationError: If the file is missing, a requirement is not pinned and hashed, or the lock is for another Python or
                platform than the image; the message contains the command that writes a valid lock.
        """
        checked_lock = _lock(Path(lock))
        named = cls.from_ecr(
            repository_name=repository_name,
            digest=stand_in(checked_lock.sha256) if digest is None else digest,
            account=account,
            region=region,
        )
        return replace(named, lock=Path(lock), lock_sha256=checked_lock.sha256)

    @classmethod
    def prebuilt(
        cls,
        framework: str,
        version: str,
        *,
        use: Use | None = None,
        processor: Processor | None = None,
        python: str | None = None,
        digest: str | None = None,
    ) -> "ModelImage":
        """An image that AWS publishes for a framework, in the stack's Region.

        AWS publishes these images by tag. Without ``digest`` the image can only run jobs, as serving images are identified by
        digest (``docs/adr/0008-prebuilt-images.md``).

        Args:
            framework: ``pytorch``, ``sklearn``, ``tensorflow`` or ``xgboost``.
            version: Full version, such as ``3.0-5``: AWS moves the tags of shorter ones.
            use: ``inference`` or ``training``. Default: not needed where one image does both.
            processor: ``cpu`` or ``gpu``. Default: not needed where there is only one.
            python: Python version of the image, such as ``py312``. Default: not needed where there is only one.
            digest: Digest of the tag when it was tested. Default: none, and the image cannot serve.

        Raises:
            ValidationError: If not exactly one image matches; lists the available ones.

        Example:
            >>> ModelImage.prebuilt("xgboost", "3.0-5").repository_name
            'sagemaker-xgboost'
        """
        raise_problems("InvalidImage", [check_pattern("digest", digest, pattern=_DIGEST, allowed=_DIGEST_ALLOWED)])
        found = find_image(framework, version, use=use, processor=processor, python=python)
        return cls(repository_name=found.repository, digest=digest, aws_image=found)

    @classmethod
    def build(cls, directory: Path | str) -> "ModelImage":
        """An image that is built with Docker at deployment and pushed to the bootstrap stack's repository.

        Its digest is unknown at synthesis, so the image can only run jobs. The embedded cloud does not build images and rejects it.

        Args:
            directory: Directory with the ``Dockerfile``.

        Raises:
            ValidationError: If the directory contains no ``Dockerfile``.
        """
        folder = Path(directory)
        if not is_file(folder / "Dockerfile"):
            raise ValidationError("InvalidImage", [f"directory must contain a Dockerfile, got {str(folder)!r}"])
        return cls(repository_name=folder.resolve().name, directory=folder)

    def uri(self, scope: IConstruct) -> str:
        """Return the image URI for a container definition.

        Args:
            scope: Any construct of the stack that runs the image.

        Raises:
            ValidationError: If a prebuilt image is not available in the stack's Region; lists the Regions that have it.
        """
        if self.directory is not None:
            return self._asset(scope, self.directory).image_uri
        stack = stack_values(scope)
        if self.lock is not None and self.is_placeholder:
            _add_lock(stack_of(scope), self.lock, str(self.lock_sha256))
        region = stack.region if self.region is None else self.region
        repository = f"{self._registry_account(scope)}.dkr.ecr.{region}.{stack.url_suffix}/{self.repository_name}"
        if self.digest is None and self.aws_image is not None:
            return f"{repository}:{self.aws_image.tag}"
        return f"{repository}@{self.digest}"

    def serving_uri(self, scope: IConstruct) -> str:
        """Return the image URI for a model package.

        Args:
            scope: Any construct of the stack that registers the package.

        Raises:
            ValidationError: If the image has no digest; explains how to find it.
        """
        if self.digest is None:
            raise ValidationError("ImageNotPinned", [self._unpinned()], scope)
        return self.uri(scope)

    def pull_statements(self, scope: IConstruct) -> list[iam.PolicyStatement]:
        """Return the permissions to pull the image; ``ecr:GetAuthorizationToken`` supports no resource but ``*``.

        See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html

        Args:
            scope: Any construct of the stack that runs it.
        """
        return [
            allow("ecr:GetAuthorizationToken", "*"),
            allow(_PULL, self._repository_arn(scope)),
        ]

    def shared_pull_statements(self, scope: IConstruct, account: str | None) -> list[iam.PolicyStatement]:
        """Return the permissions, in addition to ``pull_statements``, to pull the image from this account or a shared registry.

        Args:
            scope: Any construct of the stack that runs the image.
            account: Account of the shared registry; ``None`` without one.
        """
        accounts = () if account is None else (stack_values(scope).account, account)
        return [
            replace(self, account=each).pull_statements(scope)[1]
            for each in accounts
            if each != self._registry_account(scope)
        ]

    def presence_statement(self, scope: IConstruct) -> iam.PolicyStatement:
        """Return the permission to check whether the image exists.

        Args:
            scope: Any construct of the stack that runs the image.
        """
        return allow("ecr:BatchGetImage", self._repository_arn(scope))

    @property
    def is_placeholder(self) -> bool:
        """Whether the digest is a placeholder: all zeros, as in ``cdk.json`` before an image is built, or derived from a lock.

        Only the embedded cloud runs such an image.
        """
        is_of_lock = self.lock_sha256 is not None and self.digest == stand_in(self.lock_sha256)
        return is_of_lock or self.digest == PLACEHOLDER_DIGEST

    @property
    def placeholder_words(self) -> dict[str, str]:
        """Values for the message of the placeholder warning."""
        if self.lock is None:
            return {"repository": self.repository_name, "digest": "the all-zero digest", "which": "", "runtime": ""}
        return {
            "repository": self.repository_name,
            "digest": "the digest of a lock",
            "which": f" model --requirements {self.lock}",
            "runtime": " --runtime <registry>/mlops-runtime@sha256:<digest>",
        }

    def register_statement(self, scope: IConstruct) -> iam.PolicyStatement:
        """Return the permissions on the image's repository that registering a model package requires.

        CreateModelPackage reads the image's manifest but pulls no layers; AWS's managed policy has these two actions:
        https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonSageMakerModelRegistryFullAccess.html

        Args:
            scope: Any construct of the stack that registers the package.
        """
        actions = ["ecr:BatchGetImage", "ecr:DescribeImages"]
        return allow(actions, self._repository_arn(scope))

    def _repository_arn(self, scope: IConstruct) -> str:
        if self.directory is not None:
            return self._asset(scope, self.directory).repository.repository_arn
        return stack_values(scope).format_arn(
            service="ecr",
            resource="repository",
            resource_name=self.repository_name,
            account=self._registry_account(scope),
            region=self.region,
        )

    def _registry_account(self, scope: IConstruct) -> str:
        stack = stack_values(scope)
        if self.aws_image is None:
            return stack.account if self.account is None else self.account
        accounts = self.aws_image.accounts
        if not is_known(stack.region):
            return mapped_account(stack_of(scope), f"{self.aws_image.registry.capitalize()}Accounts", accounts)
        if stack.region not in accounts:
            where = ", ".join(accounts)
            problem = (
                f"{self.repository_name}:{self.aws_image.tag} is available in {where}, got region {stack.region!r}"
            )
            raise ValidationError("NoImageInRegion", [problem], scope)
        return accounts[stack.region]

    def _asset(self, scope: IConstruct, directory: Path) -> ecr_assets.DockerImageAsset:
        stack = stack_of(scope)
        name = f"Image{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"
        known = stack.node.try_find_child(name)
        if isinstance(known, ecr_assets.DockerImageAsset):
            return known
        return ecr_assets.DockerImageAsset(stack, name, directory=str(directory))

    def _unpinned(self) -> str:
        if self.aws_image is None:
            return (
                f"an image that serves needs a digest, and that of {str(self.directory)!r} is unknown before it is built; "
                "push the image, and use ModelImage.from_ecr(repository_name=, digest=)"
            )
        region, account = next(iter(self.aws_image.accounts.items()))
        return (
            f"an image that serves needs a digest, got tag {self.aws_image.tag!r}; give digest= with the output, for your Region, "
            f"of: aws ecr batch-get-image --region {region} --registry-id {account} --repository-name {self.repository_name} "
            f"--image-ids imageTag={self.aws_image.tag} --query images[0].imageId.imageDigest"
        )


def _lock(path: Path) -> RequirementsLock:
    """Read a lock and check that the image can be built from it."""
    if not is_file(path):
        raise ValidationError(
            "InvalidImage", [f"lock must be a file, got {str(path)!r}; write it with: {LOCK_COMMAND}"]
        )
    try:
        found = RequirementsLock.parsed(path.read_bytes())
    except RequirementsError as error:
        raise ValidationError("InvalidImage", [f"lock {str(path)!r}: {error}"]) from error
    problems = [found.python_problem(IMAGE_PYTHON), found.platform_problem("linux")]
    raise_problems(
        "InvalidImage",
        [
            None
            if problem is None
            else f"lock {str(path)!r}: {problem}, as the image has; write it with: {LOCK_COMMAND}"
            for problem in problems
        ],
    )
    return found


def _add_lock(stack: cdk.Stack, lock: Path, sha256: str) -> None:
    """Add a lock to the stack as an asset, once, with an id derived from its hash."""
    name = f"RequirementsLock{sha256[:8]}"
    if stack.node.try_find_child(name) is None:
        s3_assets.Asset(stack, name, path=str(lock), asset_hash=sha256, asset_hash_type=cdk.AssetHashType.CUSTOM)
