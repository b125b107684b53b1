"""Images in registries of other accounts and Regions: cross-account pulls need two permissions, cross-Region pulls fail.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html (cross-account)
"""

import re

from ministack.core.responses import get_account_id, get_region

from mlops_local.iam.authorization import AccessDeniedError
from mlops_local.iam.owners import owner
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.role_clients import Identity

_ECR = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[^/]+/(?P<name>[^@:]+)")
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html (execution role of CreateModel)
_PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def repository_arn(image: str) -> str | None:
    """Return the ARN of an image's repository; ``None`` if it is not in a registry of AWS."""
    found = _ECR.match(image)
    return None if found is None else f"arn:aws:ecr:{found['region']}:{found['account']}:repository/{found['name']}"


def repository(image: str) -> str | None:
    """Return the ARN of an image's repository if another account of this cloud owns it."""
    arn = repository_arn(image)
    theirs = None if arn is None else owner(arn)
    return None if theirs is None or theirs.account == get_account_id() else arn


def _other_region(image: str) -> str | None:
    found = _ECR.match(image)
    return None if found is None or found["region"] == get_region() else found["region"]


def check_region(image: str) -> None:
    """Reject a model whose image is in a registry of another Region.

    Raises:
        ServiceError: ``ValidationException`` in SageMaker's wording.
    """
    # claim: models-have-images-of-their-region
    if _other_region(image) is not None:
        raise validation(
            f'Region of "{image}" does not match expected region of {get_region()}. Cross region ECR image pulls are not allowed.'
        )


def check_training_region(image: str) -> None:
    """Reject a training job whose image is in a registry of another Region.

    Raises:
        ServiceError: ``ValidationException`` in SageMaker's wording.
    """
    # claim: trainings-have-images-of-their-region
    region = _other_region(image)
    if region is not None:
        raise validation(
            f"Invalid DNS suffix 'amazonaws.com' for region '{region}' in training image. Please provide the valid "
            f"<region>.<dns-suffix>: '{get_region()}.amazonaws.com'"
        )


# claim: images-of-other-accounts-are-pulled-by-both-sides
def pull_problem(image: str, identity: Identity) -> str | None:
    """Return why a role may not pull an image from another account's registry, or ``None``."""
    arn = repository(image)
    try:
        for action in _PULL if arn is not None else ():
            identity.require(action, str(arn))
    except AccessDeniedError as error:
        return f"Failed to pull image {image}: {error}"
    return None


# claim: serverless-takes-images-of-its-own-account
def is_foreign(model: Record) -> bool:
    """Return whether a model's image is in another account's registry."""
    image = model.get("Resolved", {}).get("Image")
    return image is not None and repository(image) is not None
