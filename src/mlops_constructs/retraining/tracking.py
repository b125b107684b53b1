"""MLflow as a mirror of a pipeline's retrainings: a function on the unit's bus, with an outbox."""

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
from mlops_constructs._errors import ValidationError
from mlops_constructs._functions import add_target, define_function
from mlops_constructs._roles import key_statement, sagemaker_arn
from mlops_constructs._stack_values import stack_values
from mlops_constructs.retraining.retraining_permissions import WILDCARD_REASON, RetrainingAccess
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.tracking.managed_mlflow import SERVICE, managed_app

_CLEAR = re.compile(r"http://(?!(127\.0\.0\.1|localhost)[:/])")  # but for this machine
_EVERY = cdk.Duration.minutes(15)
_LONGEST_EXPERIMENT = 500
_ADDRESS = re.compile(r"https?://(?P<host>[^/?#\s]+)(?:/[^?#\s]*)?")  # paths are appended to it
# what the mirror calls: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerwithmlflow.html
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
    """Mirror a pipeline's retrainings to MLflow: runs, versions of packages, and the alias ``live`` of the one that serves.

    Nothing of the pipeline asks MLflow. While it is away events wait in the artifacts bucket below ``tracking/<pipeline>/``, and
    are delivered in their order every 15 minutes, and with the next event.

    Args:
        uri: Address of the server, ``https://`` or ``http://``, or the ARN of a managed MLflow app or tracking server, whose calls
            are signed. It must be reachable from the unit's network. A token is taken for an address: ``Tracking.managed`` takes
            the ARN of an app that a stack makes.
        experiment: Name of the experiment of all runs; it is made if it is missing.
        secret: User and password of a server that asks for them (``mlflow server --app-name basic-auth``): JSON with ``username``
            and ``password``. The function reads it when it calls; no template, log or variable contains it. Default: the server
            asks for none.
        signed: Whether calls are signed in the function's role, also where ``uri`` is a token. Default: where ``uri`` is an ARN.

    Raises:
        ValidationError: If the address is neither, has a password in it, which would stand in the template, or is not ``https://``
            where there is a secret, which would travel in clear text.

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
        """Mirror to a managed MLflow, which may be made in the same app.

        Args:
            arn: ARN of the MLflow app or tracking server; a token of CDK is possible.
            experiment: Name of the experiment of all runs; it is made if it is missing.

        Raises:
            ValidationError: If it is another ARN, or an address.

        Example:
            >>> Tracking.managed("arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1", experiment="demand").signed
            True
        """
        return cls(uri=arn, experiment=experiment, signed=True)

    @property
    def is_managed(self) -> bool:
        """Whether calls are signed in the function's role."""
        return self.signed or managed_app(self.uri) is not None

    def __post_init__(self) -> None:
        problems = list(self._password_problems())
        if self.signed and not cdk.Token.is_unresolved(self.uri) and managed_app(self.uri) is None:
            problems.append(f"a managed MLflow is named by the ARN of its app or tracking server, got {self.uri!r}")
        elif not cdk.Token.is_unresolved(self.uri) and managed_app(self.uri) is None:
            found = _ADDRESS.fullmatch(self.uri)
            if found is None:
                problems.append(
                    "uri must be https://, http:// or the ARN of a managed MLflow app or tracking server, without a query, got "
                    f"{self.uri!r}"
                )
            elif "@" in found["host"]:
                problems.append(
                    "uri must have no user and password, which would stand in the template; give them with secret="
                )
        if not 0 < len(self.experiment.strip()) <= _LONGEST_EXPERIMENT:
            problems.append(f"experiment must be a name of at most {_LONGEST_EXPERIMENT} characters")
        if problems:
            raise ValidationError("InvalidTracking", problems)

    def _password_problems(self) -> Iterator[str]:
        if self.secret is None:
            return
        if self.is_managed:
            yield "calls of a managed MLflow are signed; leave secret out"
        elif not cdk.Token.is_unresolved(self.uri) and _CLEAR.match(self.uri):
            yield f"a password would travel in clear text to {self.uri!r}; give https://, or leave secret out"


def define_tracking(
    scope: Construct,
    tracking: Tracking,
    *,
    access: RetrainingAccess,
    table: dynamodb.ITable,
    rollout_table: dynamodb.ITable,
) -> lambda_.Function:
    """Define the function ``Tracking`` and the rules that call it.

    Args:
        scope: The pipeline.
        tracking: Where to.
        access: The pipeline's parts.
        table: Its table, in which a lock keeps two deliveries apart.
        rollout_table: The endpoint's, which names what is live.
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
            description=f"Delivers what still waits for MLflow of {pipeline}",
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
    """Read what became of a retraining and what is live, keep the outbox, and take the lock."""
    unit, pipeline = access.business_unit, access.pipeline
    outbox = f"tracking/{pipeline}/*"
    own = unit.artifacts.arn_for_objects
    found = [
        iam.PolicyStatement(actions=["s3:GetObject"], resources=[own(f"evaluations/{pipeline}/*"), own(outbox)]),
        iam.PolicyStatement(actions=["s3:PutObject", "s3:DeleteObject"], resources=[own(outbox)]),
        iam.PolicyStatement(
            actions=["s3:ListBucket"],
            resources=[unit.artifacts.bucket_arn],
            conditions={
                "StringLike": {"s3:prefix": [f"tracking/{pipeline}/{each}/" for each in ("waiting", "refused")]}
            },
        ),
        iam.PolicyStatement(
            actions=["dynamodb:UpdateItem"],
            resources=[table.table_arn],
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"{pipeline}#tracking"]}},
        ),
        iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[rollout_table.table_arn]),
        iam.PolicyStatement(
            actions=["sagemaker:DescribeModelPackage"],
            resources=[sagemaker_arn(scope, "model-package", f"{access.registry.group_name}/*")],
        ),
        iam.PolicyStatement(
            actions=["sagemaker:DescribeTrainingJob"],
            resources=[sagemaker_arn(scope, "training-job", f"{pipeline}-*")],
        ),
        key_statement(unit.key, services=["dynamodb", "s3"]),
    ]
    if tracking.secret is not None:
        found += _secret_statements(scope, tracking.secret)
    if tracking.is_managed:
        # claim: managed-mlflow-actions
        actions = [f"{SERVICE}:{action}" for action in _MANAGED_ACTIONS]
        found.append(iam.PolicyStatement(actions=actions, resources=[tracking.uri]))
    return found


def _secret_statements(scope: Construct, secret: secretsmanager.ISecret) -> Iterator[iam.PolicyStatement]:
    """Read the password, and decrypt it where it has a key of its own."""
    # a secret that is found by its name has six characters behind it that only the account knows
    arn = secret.secret_full_arn or f"{secret.secret_arn}-??????"
    yield iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[arn])
    if secret.encryption_key is not None:
        stack = stack_values(scope)
        yield iam.PolicyStatement(
            actions=["kms:Decrypt"],
            resources=[secret.encryption_key.key_arn],
            conditions={"StringEquals": {"kms:ViaService": f"secretsmanager.{stack.region}.{stack.url_suffix}"}},
        )
