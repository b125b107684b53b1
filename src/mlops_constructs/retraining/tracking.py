"""``Tracking``: mirrors a pipeline's retrainings to MLflow, with a function on the unit's bus and an outbox."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import add_target, define_function
from mlops_constructs._roles import allow, key_statement, sagemaker_arn
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import ValidationError
from mlops_constructs.retraining.retraining_permissions import WILDCARD_REASON, RetrainingAccess
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.tracking.managed_mlflow import SERVICE, managed_app

_CLEAR = re.compile(r"http://(?!(127\.0\.0\.1|localhost)[:/])")  # plain HTTP except on loopback
_EVERY = cdk.Duration.minutes(15)
_LONGEST_EXPERIMENT = 500
_ADDRESS = re.compile(r"https?://(?P<host>[^/?#\s]+)(?:/[^?#\s]*)?")  # paths are appended to it
# actions of the mirror: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerwithmlflow.html
_MANAGED_ACTIONS = (
    "CreateExperiment",
    "CreateModelVersion",
    "CreateRegisteredModel",
    "CreateRun",
    "GetExperimentByName",
    "LogBatch",
    "SearchModelVersions",
    "SearchRuns",
    "SetRegisteredModelAlias",
    "UpdateRun",
)


@checked("InvalidTracking")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Mirror of a pipeline's retrainings in MLflow: runs, model versions of packages, and the alias ``live`` of the live model.

    The pipeline does not depend on MLflow. While MLflow is unavailable, events are stored in the artifacts bucket below
    ``tracking/<pipeline>/``, and delivered in order every 15 minutes and with the next event.

    Args:
        uri: URL of the server, ``https://`` or ``http://``, or the ARN of a managed MLflow app or tracking server, whose requests
            are signed. It must be reachable from the unit's network. A token counts as a URL: for the ARN of an app that a stack
            defines, use ``Tracking.managed``.
        experiment: Name of the experiment of all runs; created if missing.
        secret: Secret with the credentials of a server with basic authentication (``mlflow server --app-name basic-auth``): JSON
            with ``username`` and ``password``. The function reads it for each call; no template, log or environment variable
            contains the values. Default: no authentication.
        signed: Whether requests are signed with the function's role even if ``uri`` is a token. Default: only if ``uri`` is an ARN.

    Raises:
        ValidationError: If ``uri`` is neither, contains a password, which would be readable in the template, or is not ``https://``
            although there is a secret.

    Example:
        >>> Tracking(uri="https://mlflow.shop.internal", experiment="demand").experiment
        'demand'
    """

    uri: str
    experiment: str
    secret: secretsmanager.ISecret | None = None
    signed: bool = False

    @classmethod
    def managed(cls, arn: str, *, experiment: str) -> "Tracking":
        """Mirror in a managed MLflow, which may be defined in the same app.

        Args:
            arn: ARN of the MLflow app or tracking server; may be a token.
            experiment: Name of the experiment of all runs; created if missing.

        Raises:
            ValidationError: If ``arn`` is not such an ARN.

        Example:
            >>> Tracking.managed("arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1", experiment="demand").signed
            True
        """
        return cls(uri=arn, experiment=experiment, signed=True)

    @property
    def is_managed(self) -> bool:
        """Whether requests are signed with the function's role."""
        return self.signed or managed_app(self.uri) is not None

    def __post_init__(self) -> None:
        problems = list(self._password_problems())
        if self.signed and not cdk.Token.is_unresolved(self.uri) and managed_app(self.uri) is None:
            problems.append(f"arn must be the ARN of a managed MLflow app or tracking server, got {self.uri!r}")
        elif not cdk.Token.is_unresolved(self.uri) and managed_app(self.uri) is None:
            found = _ADDRESS.fullmatch(self.uri)
            if found is None:
                problems.append(
                    "uri must be https://, http:// or the ARN of a managed MLflow app or tracking server, without a query, got "
                    f"{self.uri!r}"
                )
            elif "@" in found["host"]:
                problems.append(
                    "uri must not contain user and password, which would be readable in the template; give them with secret="
                )
        if not 0 < len(self.experiment.strip()) <= _LONGEST_EXPERIMENT:
            problems.append(f"experiment must be a name of at most {_LONGEST_EXPERIMENT} characters")
        if problems:
            raise ValidationError("InvalidTracking", problems)

    def _password_problems(self) -> Iterator[str]:
        if self.secret is None:
            return
        if self.is_managed:
            yield "a managed MLflow authenticates by signed requests; leave secret out"
        elif not cdk.Token.is_unresolved(self.uri) and _CLEAR.match(self.uri):
            yield f"a password would be sent in clear text to {self.uri!r}; use https://, or leave secret out"


def define_tracking(
    scope: Construct,
    tracking: Tracking,
    *,
    access: RetrainingAccess,
    table: dynamodb.ITable,
    rollout_table: dynamodb.ITable,
) -> lambda_.Function:
    """Define the function ``Tracking`` and the rules that invoke it.

    Args:
        scope: Construct of the pipeline.
        tracking: The MLflow server.
        access: Permissions of the pipeline.
        table: Table of the pipeline, with the lock of deliveries.
        rollout_table: Rollout table of the endpoint, with the live model.
    """
    unit, pipeline = access.business_unit, access.pipeline
    function = define_function(
        scope,
        "Tracking",
        business_unit=unit,
        folder="mlflow_mirror",
        description=f"Mirrors retrainings of {pipeline} to MLflow",
        environment={
            "PIPELINE": pipeline,
            "ENDPOINT": access.endpoint,
            "MODEL": access.registry.group_name,
            "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
            "RETRAINING_TABLE": table.table_name,
            "ROLLOUT_TABLE": rollout_table.table_name,
            "TRACKING_URI": tracking.uri,
            "EXPERIMENT": tracking.experiment,
            **({} if tracking.secret is None else {"TRACKING_SECRET": tracking.secret.secret_arn}),
        },
        statements=_statements(scope, tracking, access=access, table=table, rollout_table=rollout_table),
        timeout=cdk.Duration.minutes(4),
        wildcard_reason=WILDCARD_REASON,
    )
    # claim: managed-mlflow-through-an-endpoint
    if tracking.secret is not None:
        unit.reach(["secretsmanager"])
    ended = events.EventPattern(
        source=[event_source(unit.name)],
        detail_type=[DetailType.RETRAINING_FINISHED.value, DetailType.ROLLOUT_FINISHED.value],
        detail={"subject": sorted({pipeline, access.endpoint})},
    )
    rules = [
        events.Rule(
            scope,
            "Tracked",
            event_bus=unit.bus,
            description=f"Retrainings and rollouts of {pipeline} for MLflow",
            event_pattern=ended,
        ),
        events.Rule(
            scope,
            "TrackingSchedule",
            description=f"Delivers pending events of {pipeline} to MLflow",
            schedule=events.Schedule.rate(_EVERY),
        ),
    ]
    for rule in rules:
        add_target(rule, targets.LambdaFunction(function), dead_letters=unit.dead_letter_queue)
    return function


def _statements(
    scope: Construct,
    tracking: Tracking,
    *,
    access: RetrainingAccess,
    table: dynamodb.ITable,
    rollout_table: dynamodb.ITable,
) -> list[iam.PolicyStatement]:
    """Return the permissions to read runs and the live model, maintain the outbox, and take the lock."""
    unit, pipeline = access.business_unit, access.pipeline
    outbox = f"tracking/{pipeline}/*"
    own = unit.artifacts.arn_for_objects
    found = [
        allow("s3:GetObject", own(f"evaluations/{pipeline}/*"), own(outbox)),
        allow(["s3:PutObject", "s3:DeleteObject"], own(outbox)),
        allow(
            "s3:ListBucket",
            unit.artifacts.bucket_arn,
            conditions={
                "StringLike": {"s3:prefix": [f"tracking/{pipeline}/{each}/" for each in ("waiting", "refused")]}
            },
        ),
        allow(
            "dynamodb:UpdateItem",
            table.table_arn,
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"{pipeline}#tracking"]}},
        ),
        allow("dynamodb:GetItem", rollout_table.table_arn),
        allow(
            "sagemaker:DescribeModelPackage", sagemaker_arn(scope, "model-package", f"{access.registry.group_name}/*")
        ),
        allow("sagemaker:DescribeTrainingJob", sagemaker_arn(scope, "training-job", f"{pipeline}-*")),
        key_statement(unit.key, services=["dynamodb", "s3"]),
    ]
    if tracking.secret is not None:
        found += _secret_statements(scope, tracking.secret)
    if tracking.is_managed:
        # claim: managed-mlflow-actions
        actions = [f"{SERVICE}:{action}" for action in _MANAGED_ACTIONS]
        found.append(allow(actions, tracking.uri))
    return found


def _secret_statements(scope: Construct, secret: secretsmanager.ISecret) -> Iterator[iam.PolicyStatement]:
    """Return the permissions to read the secret and, if it has its own key, to decrypt it."""
    # the ARN of a secret that is imported by name lacks its random six-character suffix
    arn = secret.secret_full_arn or f"{secret.secret_arn}-??????"
    yield allow("secretsmanager:GetSecretValue", arn)
    if secret.encryption_key is not None:
        stack = stack_values(scope)
        yield allow(
            "kms:Decrypt",
            secret.encryption_key.key_arn,
            conditions={"StringEquals": {"kms:ViaService": f"secretsmanager.{stack.region}.{stack.url_suffix}"}},
        )
