"""``Downstream``: the model that downstream environments serve, as the champion of candidates."""

from collections.abc import Callable

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import define_function, role_of
from mlops_constructs._roles import WRITES_ONCE, allow, allow_listing, key_statement
from mlops_constructs._validation import check_pattern, raise_if_any
from mlops_constructs._warnings import PLACEHOLDER_IMAGE, warn
from mlops_constructs.model_registry.model_image import ModelImage
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.promotion.environment_link import downstream_chain
from mlops_runtime.rollout.archive_signatures import SIGNATURE_FILE

_GROUP = r"[a-z][a-z0-9-]{0,62}"  # SageMaker's limit is 63 characters
_WILDCARD_REASON = (
    "evaluations, gate results, archives and audit records get their names at run time, below the names of pipelines and chain; "
    "rejected: single objects, whose keys are unknown at deployment"
)


@checked("InvalidDownstream")
class Downstream(Construct):
    """The champion of a registry whose models serve in other accounts. Stateless.

    ``RetrainingPipeline(endpoint=registry.downstream)`` accepts it instead of an endpoint: the champion is the registry's package
    whose release serves downstream, identified by its hashes. Its state is in the unit's automation table, and rejections are
    recorded in the audit chain ``<group>.downstream``.

    Args:
        scope: Construct of the registry.
        id: Construct id.
        business_unit: Owning business unit.
        group_name: Name of the package group.

    Raises:
        ValidationError: If ``group_name`` is not a valid name of a package group.

    Example:
        >>> from mlops_constructs import BusinessUnit, Environment, ModelRegistry
        >>> staging = Environment("staging", account="222222222222", region="eu-west-1")
        >>> stack = cdk.Stack(cdk.App(), "Build", env=Environment("build", account="111111111111", region="eu-west-1").cdk)
        >>> released = ModelRegistry(stack, "Registry", name="forecast", deploy_to=[staging],
        ...                          business_unit=BusinessUnit(stack, "Unit", name="demand"))
        >>> released.downstream.endpoint_name
        'demand-forecast.downstream'
    """

    def __init__(self, scope: Construct, id: str, *, business_unit: IBusinessUnit, group_name: str) -> None:
        super().__init__(scope, id)
        allowed = "the name of a package group, <unit>-<model>"
        raise_if_any(
            self, "InvalidDownstream", [check_pattern("group_name", group_name, pattern=_GROUP, allowed=allowed)]
        )
        self._unit, self._chain = business_unit, downstream_chain(group_name)
        self._champion_readers: dict[str, Callable[[str], None]] = {}
        self._record = self._define_record()
        business_unit.tag(self)

    @property
    def business_unit(self) -> IBusinessUnit:
        """Business unit that owns the registry."""
        return self._unit

    @property
    def endpoint_name(self) -> str:
        """Name of the state and its audit chain, ``<group>.downstream``, which cannot be an endpoint's name."""
        return self._chain

    @property
    def rollout(self) -> "Downstream":
        """This construct, which has the members of a rollout that pipelines use."""
        return self

    @property
    def table(self) -> dynamodb.ITable:
        """Table with the state."""
        return self._unit.automation_table

    @property
    def record_function(self) -> lambda_.IFunction:
        """Function that records rejected candidates and signs passed ones."""
        return self._record

    @property
    def champion_readers(self) -> dict[str, Callable[[str], None]]:
        """By pipeline, functions that grant its jobs read access to models of others, any of which may have the champion."""
        return self._champion_readers

    def require_image(self, image: ModelImage) -> None:
        """Warn of a placeholder image; its existence is not checked at deployment, as no model serves here.

        Args:
            image: Image of a job.
        """
        if image.is_placeholder:
            warn(self, PLACEHOLDER_IMAGE, **image.placeholder_words)

    def _define_record(self) -> lambda_.Function:
        unit, objects = self._unit, self._unit.artifacts.arn_for_objects
        row = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [self._chain]}}
        function = define_function(
            self,
            "Record",
            business_unit=unit,
            folder="rollout_record",
            description=f"Audit records of {self._chain}",
            environment={
                "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
                "ENDPOINT": self._chain,
                "HAS_ENDPOINT": "false",
                "ROLLOUT_TABLE": unit.automation_table.table_name,
                **unit.audit_environment,
            },
            statements=[
                allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], unit.automation_table.table_arn, conditions=row),
                key_statement(unit.key, services=["dynamodb"]),
                *unit.audit_statements(self._chain),
                # without it S3 returns 403 for a missing record
                allow_listing(unit.audit_bucket.bucket_arn, f"audit/{self._chain}/*"),
                allow("s3:GetObject", *(objects(f"{folder}/*") for folder in ("evaluations", "gates", "models"))),
                allow(
                    "s3:PutObject",
                    objects(f"models/*/{SIGNATURE_FILE}"),
                    conditions=WRITES_ONCE,
                ),
                allow("kms:GetPublicKey", unit.signing_key.key_arn),
            ],
            timeout=cdk.Duration.seconds(60),
            wildcard_reason=_WILDCARD_REASON,
        )
        unit.admit_recorder(role_of(function))
        return function
