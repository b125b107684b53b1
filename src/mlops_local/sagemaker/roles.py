"""What SageMaker does in the name of an execution role: temporary credentials, and clients that use them.

The role must exist and its trust policy must let ``sagemaker.amazonaws.com`` assume it, with the confused-deputy keys that
the service sends. See: https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
"""

import hashlib
import json
from typing import Any

import boto3
from botocore.config import Config
from ministack import app
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, sts

from mlops_local import settings
from mlops_local.sagemaker.errors import validation

PRINCIPAL = "sagemaker.amazonaws.com"
_SESSION = "SageMaker"  # the role session name that SageMaker uses


def check_role(role_arn: str, resource_arn: str) -> None:
    """Refuse a role that SageMaker may not assume.

    Raises:
        ServiceError: ``ValidationException`` in AWS's words: the role is absent, or does not trust the service.
    """
    name = role_arn.rsplit("/", 1)[-1]
    role = iam._roles.get(name)
    if role is None or not _trusts(role, role_arn, resource_arn):
        raise validation(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{PRINCIPAL}' to assume the role."
        )


def credentials(role_arn: str) -> dict[str, str]:
    """Return temporary credentials of a role as environment variables.

    The session does not expire: the service renews a container's credentials for as long as it runs.
    """
    if not app.AUTH:
        return {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    name = role_arn.rsplit("/", 1)[-1]
    digest = hashlib.sha256(f"sagemaker:{role_arn}".encode()).hexdigest()
    key = f"ASIA{digest[:16].upper()}"
    secret, token = (hashlib.sha256(f"{what}:{digest}".encode()).hexdigest() for what in ("secret", "token"))
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{get_account_id()}:assumed-role/{name}/{_SESSION}",
            "UserId": f"{name}:{_SESSION}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def client(service: str, role_arn: str) -> Any:
    """Return a boto3 client of the embedded cloud with the credentials of a role."""
    keys = credentials(role_arn)
    return boto3.session.Session().client(
        service,
        endpoint_url=settings.endpoint_url(),
        region_name=get_region(),
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys.get("AWS_SESSION_TOKEN"),
        config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}),
    )


def _trusts(role: dict[str, Any], role_arn: str, resource_arn: str) -> bool:
    document = role["AssumeRolePolicyDocument"]
    document = json.loads(document) if isinstance(document, str) else document
    statements = document.get("Statement", [])
    context = iam_evaluator.EvalContext(
        principal_arn=PRINCIPAL,
        principal_type="Service",
        principal_account=get_account_id(),
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=get_region(),
        service_context={"aws:sourceaccount": get_account_id(), "aws:sourcearn": resource_arn},
    )
    allowed = False
    for statement in [statements] if isinstance(statements, dict) else statements:
        if not iam_evaluator._service_principal_matches(statement.get("Principal"), PRINCIPAL):
            continue
        actions = statement.get("Action", [])
        if "sts:AssumeRole" not in ([actions] if isinstance(actions, str) else actions):
            continue
        if iam_evaluator._conditions_met(statement.get("Condition", {}), context):
            if statement["Effect"] == "Deny":
                return False
            allowed = True
    return allowed
