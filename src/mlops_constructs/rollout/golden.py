"""Golden requests: what every candidate must answer before it gets traffic, as a file in the repository."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._function import define_function
from mlops_constructs._iam import key_statement
from mlops_constructs._sagemaker import sagemaker_arn
from mlops_constructs._validation import check_duration, check_range
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.capture import announcement_prefix
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.golden_set import GoldenSetError, read_set

_WILDCARD_REASON = (
    "the endpoint on which a candidate rehearses gets its name at run time, below the endpoint's own name; "
    "rejected: one fixed name, which two rollouts would share"
)


@checked("InvalidGoldenRequests")
@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequests:
    """Requests that a candidate answers on an endpoint of its own before the real one is touched. Use ``from_file``.

    Example:
        >>> golden = GoldenRequests.from_file("golden.jsonl", max_deviation=0.5, max_latency=cdk.Duration.millis(250))
    """

    path: Path
    sha256: str
    max_deviation: float | None = None
    max_latency: cdk.Duration | None = None
    max_slowdown: float | None = None

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        max_deviation: float | None = None,
        max_latency: cdk.Duration | None = None,
        max_slowdown: float | None = None,
    ) -> "GoldenRequests":
        """Read a file of JSON lines, each with ``name``, ``body``, ``rows`` and, where wanted, ``content_type``, bounds.

        Args:
            path: The file; it is deployed as an asset.
            max_deviation: Largest median of the relative differences to what the live model answers, such as 0.5.
                Default: the live model is not asked.
            max_latency: Time that a call may take, by the median of five rounds, at most a minute. Default: any.
            max_slowdown: How many times as long as the same call to the live model that may be, 1 to 1000. Default: any.

        Raises:
            ValidationError: With every problem of the file, by line, and of the limits.

        Example:
            >>> GoldenRequests.from_file("golden.jsonl").max_deviation is None
            True
        """
        millis, seconds = cdk.Duration.millis, cdk.Duration.seconds
        problems = [
            check_range("max_deviation", max_deviation, minimum=0, maximum=100),
            # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html: 60 seconds for an answer
            check_duration("max_latency", max_latency, minimum=millis(1), maximum=seconds(60), whole="milliseconds"),
            check_range("max_slowdown", max_slowdown, minimum=1, maximum=1000),
        ]
        found = [problem for problem in problems if problem is not None]
        file, content = Path(path), b""
        try:
            content = file.read_bytes()
            read_set(content)
        except OSError as error:
            found.append(f"path must be a readable file, got {str(path)!r}: {error.strerror}")
        except GoldenSetError as error:
            found += [f"{file.name}: {problem}" for problem in error.problems]
        if found:
            raise ValidationError("InvalidGoldenRequests", found)
        return cls(
            path=file,
            sha256=hashlib.sha256(content).hexdigest(),
            max_deviation=max_deviation,
            max_latency=max_latency,
            max_slowdown=max_slowdown,
        )

    def bind(self, scope: Construct) -> GoldenSpec:
        """Define the file as an asset and return what the serving spec says of it; the hash is known at synth.

        Args:
            scope: Parent of the asset ``GoldenSet``.
        """
        asset = s3_assets.Asset(
            scope,
            "GoldenSet",
            path=str(self.path),
            asset_hash=self.sha256,
            asset_hash_type=cdk.AssetHashType.CUSTOM,
        )
        return GoldenSpec(
            uri=asset.s3_object_url,
            sha256=self.sha256,
            max_deviation=self.max_deviation,
            max_latency_ms=None if self.max_latency is None else int(self.max_latency.to_milliseconds()),
            max_slowdown=self.max_slowdown,
        )


def define_golden(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str, golden: GoldenSpec
) -> lambda_.Function:
    """Define the function that sends golden requests: to rehearsals, to the live model to compare, and as synthetic traffic.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        endpoint_name: The endpoint; its rehearsals are ``<endpoint_name>-golden-*``.
        golden: What ``GoldenRequests.bind`` returned.
    """
    stack = cdk.Stack.of(scope)
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="rollout_golden",
        description=f"Golden requests to candidates of {endpoint_name}",
        environment={"ARTIFACTS_BUCKET": business_unit.artifacts.bucket_name},
        statements=[
            iam.PolicyStatement(
                actions=["sagemaker:InvokeEndpoint"],
                resources=[
                    sagemaker_arn(scope, "endpoint", endpoint_name),
                    sagemaker_arn(scope, "endpoint", f"{endpoint_name}-golden-*"),
                ],
            ),
            # what is announced of calls, so that monitors leave them out
            iam.PolicyStatement(
                actions=["s3:PutObject"],
                resources=[business_unit.artifacts.arn_for_objects(f"{announcement_prefix(endpoint_name)}*")],
            ),
            key_statement(business_unit.key, services=["s3"], actions=["kms:GenerateDataKey"]),
            # the bucket of CDK's bootstrap: where it has a key of its own, the key's policy allows its use through S3
            # https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-customizing.html
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                # the URI is one token, whose text is only known at deployment
                resources=[f"arn:{stack.partition}:s3:::{cdk.Fn.select(1, cdk.Fn.split('s3://', golden.uri))}"],
            ),
        ],
        timeout=cdk.Duration.minutes(15),
        wildcard_reason=_WILDCARD_REASON,
    )
