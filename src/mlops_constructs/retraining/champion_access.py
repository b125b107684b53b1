"""What the jobs of a pipeline read of champions that another pipeline of the same endpoint has trained."""

from collections.abc import Callable, Sequence

from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import ServiceRole, shared_policy
from mlops_constructs.unit_interface import IBusinessUnit

_REASON = (
    "a champion is the model of any earlier execution of a pipeline of this endpoint; rejected: one key, which changes with every "
    "promotion"
)


class ChampionAccess:
    """The roles of a pipeline that load champions.

    Args:
        scope: The pipeline.
        business_unit: The unit.
        pipeline: The pipeline's name.
        roles: Roles that load the model that is live.
    """

    def __init__(
        self, scope: Construct, *, business_unit: IBusinessUnit, pipeline: str, roles: Sequence[ServiceRole]
    ) -> None:
        self._scope, self._artifacts, self._roles = scope, business_unit.artifacts, roles
        self._pipeline = pipeline
        self._policy: iam.ManagedPolicy | None = None

    def join(self, readers: dict[str, Callable[[str], None]]) -> None:
        """Let this pipeline and those that measure against the same champion read each other's models.

        Args:
            readers: What lets each of them read another one's, by its name; gets this one's.
        """
        for other, others_read in readers.items():
            others_read(self._pipeline)
            self.read_models_of(other)
        readers[self._pipeline] = self.read_models_of

    def read_models_of(self, pipeline: str) -> None:
        """Let the roles read what another pipeline registered."""
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
