"""Name, grants and metrics of any endpoint."""

from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._errors import ValidationError
from mlops_constructs._sagemaker import sagemaker_arn
from mlops_constructs.model_endpoint.capacity import VARIANT
from mlops_constructs.model_endpoint.endpoint_metrics import EndpointMetrics
from mlops_constructs.unit_interface import IBusinessUnit


class ModelEndpointBase(EndpointMetrics):
    """An endpoint by its name, defined here or elsewhere."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint_name: str,
        variant: str = VARIANT,
        business_unit: IBusinessUnit | None = None,
    ) -> None:
        super().__init__(scope, id, endpoint_name=endpoint_name, variant=variant)
        self._owner = business_unit

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit that owns the endpoint.

        Raises:
            ValidationError: If the endpoint is imported and the import did not name its unit.
        """
        if self._owner is None:
            problem = (
                f"endpoint {self._endpoint_name!r} was imported without its unit; give "
                "ModelEndpoint.from_endpoint_name(..., business_unit=...)"
            )
            raise ValidationError("NoBusinessUnit", [problem], self)
        return self._owner

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        return self._endpoint_name

    @property
    def endpoint_arn(self) -> str:
        """ARN of the endpoint."""
        return sagemaker_arn(self, "endpoint", self._endpoint_name)

    @property
    def variant(self) -> str:
        """Name of its main variant."""
        return self._variant

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody ask for predictions.

        Args:
            grantee: Who.
        """
        return self._grant(grantee, "sagemaker:InvokeEndpoint")

    def grant_invoke_async(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody leave requests for an asynchronous endpoint; where requests and answers lie is not part of it.

        Args:
            grantee: Who.
        """
        return self._grant(grantee, "sagemaker:InvokeEndpointAsync")

    def _grant(self, grantee: iam.IGrantable, action: str) -> iam.Grant:
        return iam.Grant.add_to_principal(grantee=grantee, actions=[action], resource_arns=[self.endpoint_arn])
