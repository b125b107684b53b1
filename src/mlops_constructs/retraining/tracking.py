"""MLflow as a mirror of a pipeline's retrainings: a function on the unit's bus, with an outbox."""

import re
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._functions import add_target, define_function
from mlops_constructs._roles import key_statement, sagemaker_arn
from mlops_constructs.retraining.retraining_permissions import WILDCARD_REASON, RetrainingAccess
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.tracking.managed_mlflow import SERVICE, managed_app

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
            are signed. It must be reachable from the unit's network. A token is taken for an address: give an ARN as text.
        experiment: Name of the experiment of all runs; it is made if it is missing.

    Raises:
        ValidationError: If the address is neither, or has a password in it, which would stand in the template.

    Example:
        >>> Tracking(uri="https://mlflow.shop.internal", experiment="demand").experiment
        'demand'
    """

    uri: str
    experiment: str

    def __post_init__(self) -> None:
        problems = []
        if not cdk.Token.is_unresolved(self.uri) and managed_app(self.uri) is None:
            found = _ADDRESS.fullmatch(self.uri)
            if found is None:
                problems.append(
                    "uri must be https://, http:// or the ARN of a managed MLflow app or tracking server, without a query, got "
                    f"{self.uri!r}"
                )
            elif "@" in found["host"]:
                problems.append(
                    "uri must have no user and password, which would stand in the template; let the network admit the unit"
                )
        if not 0 < len(self.experiment.strip()) <= _LONGEST_EXPERIMENT:
            problems.append(f"experiment must be a name of at most {_LONGEST_EXPERIMENT} characters")
        if problems:
            raise ValidationError("InvalidTracking", problems)


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
        },
        statements=_statements(scope, tracking, access=access, table=table, rollout_table=rollout_table),
        timeout=cdk.Duration.minutes(4),
        wildcard_reason=WILDCARD_REASON,
    )
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
    outbox, waiting = f"tracking/{pipeline}/*", f"tracking/{pipeline}/waiting/*"
    own = unit.artifacts.arn_for_objects
    found = [
        iam.PolicyStatement(actions=["s3:GetObject"], resources=[own(f"evaluations/{pipeline}/*"), own(waiting)]),
        iam.PolicyStatement(actions=["s3:PutObject"], resources=[own(outbox)]),
        iam.PolicyStatement(actions=["s3:DeleteObject"], resources=[own(waiting)]),
        iam.PolicyStatement(
            actions=["s3:ListBucket"],
            resources=[unit.artifacts.bucket_arn],
            conditions={"StringLike": {"s3:prefix": f"tracking/{pipeline}/waiting/"}},
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
    if tracking.uri.startswith("arn:"):
        actions = [f"{SERVICE}:{action}" for action in _MANAGED_ACTIONS]
        found.append(iam.PolicyStatement(actions=actions, resources=[tracking.uri]))
    return found
