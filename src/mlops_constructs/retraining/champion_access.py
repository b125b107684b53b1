"""Read access of a pipeline's jobs to champions that other pipelines of the same endpoint trained."""

from collections.abc import Callable, Sequence

from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import ServiceRole, shared_policy
from mlops_constructs.unit_interface import IBusinessUnit

_REASON = (
    "a champion is the model of any earlier execution of a pipeline of this endpoint; rejected: one object key, which changes "
    "with every promotion"
)


class ChampionAccess:
    """The roles of a pipeline that load champions.

    Args:
        scope: Construct of the pipeline.
        business_unit: Owning business unit.
        pipeline: Name of the pipeline.
        roles: Roles of the jobs that load the live model.
    """

    def __init__(
        self, scope: Construct, *, business_unit: IBusinessUnit, pipeline: str, roles: Sequence[ServiceRole]
    ) -> None:
        self._scope, self._artifacts, self._roles = scope, business_unit.artifacts, roles
        self._pipeline = pipeline
        self._policy: iam.ManagedPolicy | None = None

    def join(self, readers: dict[str, Callable[[str], None]]) -> None:
        """Grant this pipeline and the others of the same endpoint read access to each other's models.

        Args:
            readers: By pipeline, the function that grants it access to another's models; this pipeline's is added.
        """
        for other, others_read in readers.items():
            others_read(self._pipeline)
            self.read_models_of(other)
        readers[self._pipeline] = self.read_models_of

    def read_models_of(self, pipeline: str) -> None:
        """Grant the roles read access to another pipeline's models."""
        models = f"models/{pipeline}/*"
        statements = [
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[self._artifacts.arn_for_objects(models)]),
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[self._artifacts.bucket_arn],
                conditions={"StringLike": {"s3:prefix": models}},
            ),
        ]
        if self._policy is not None:
            self._policy.add_statements(*statements)
            return
        self._policy = shared_policy(
            self._scope,
            "Champions",
            statements=statements,
            description=f"Reads champions of other pipelines of the endpoint for {self._pipeline}",
            wildcard_reason=_REASON,
        )
        for role in self._roles:
            role.add_managed_policy(self._policy)
