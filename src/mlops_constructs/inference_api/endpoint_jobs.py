"""Jobs of an asynchronous endpoint: the API writes a request to its bucket, and a function invokes the endpoint.

Keys of requests are chosen by the gateway, never by callers, and a caller's id must match a pattern before it becomes part of a
key.
"""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_events as events

from constructs import Construct
from mlops_constructs._functions import define_queue_consumer
from mlops_constructs._roles import allow, key_statement, service_role
from mlops_constructs.inference_api.error_answers import JSON, PROBLEM, RETRY_AFTER, problem
from mlops_constructs.model_endpoint.endpoint_role import (
    ANSWERS_PREFIX,
    FAILURES_PREFIX,
    JOBS_PREFIX,
    REQUESTS_PREFIX,
    Exchange,
)
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.inference_api.job_names import JOB_ID, NAME

BELOW = "api/"
_ID = "$context.extendedRequestId.replace('=', '')"
_GIVEN = "#set($id = $input.params('id'))"
_PATH = "integration.request.path.id"
_KIND = "method.response.header.Content-Type"
_AFTER = f"method.response.header.{RETRY_AFTER}"
_REASON = (
    "requests, responses and results of jobs are stored by id below the endpoint's own prefixes; rejected: one object for all "
    "jobs, which concurrent jobs would overwrite"
)
_LIST = (
    "S3 returns 403 for a missing key to callers that may not list the bucket, so a running job would look like a refused one; "
    "the API lists nothing; rejected: a response that does not distinguish the two"
)


class EndpointJobs(Construct):
    """The function that starts and completes jobs of one endpoint, and the API's role to write and read them. Stateless.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        endpoint_name: Name of the asynchronous endpoint.
        exchange: Bucket of the endpoint.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        endpoint_name: str,
        endpoint_arn: str,
        exchange: Exchange,
    ) -> None:
        super().__init__(scope, id)
        self._bucket, self._name = exchange.bucket, endpoint_name
        key = key_statement(business_unit.key, services=["s3"])
        exchange.announce()
        consumer = define_queue_consumer(
            self,
            "Function",
            business_unit=business_unit,
            folder="api_jobs",
            description=f"Starts and stops the jobs of {endpoint_name}",
            environment={"ENDPOINT": endpoint_name, "EXCHANGE_BUCKET": exchange.bucket.bucket_name},
            statements=[
                allow("sagemaker:InvokeEndpointAsync", endpoint_arn),
                allow("s3:GetObject", exchange.objects(ANSWERS_PREFIX, NAME)),
                allow("s3:PutObject", exchange.objects(JOBS_PREFIX)),
                key,
            ],
            timeout=cdk.Duration.minutes(5),
            wildcard_reason=_REASON,
        )
        prefixes = (
            f"{REQUESTS_PREFIX}/{endpoint_name}/{BELOW}",
            f"{ANSWERS_PREFIX}/{endpoint_name}/{NAME}",
            f"{FAILURES_PREFIX}/{endpoint_name}/{NAME}",
        )
        consumer.feed(
            events.Rule(
                self,
                "Objects",
                description=f"Requests, answers and failures of jobs of {endpoint_name}",
                event_pattern=events.EventPattern(
                    source=["aws.s3"],
                    detail_type=["Object Created"],
                    detail={
                        "bucket": {"name": [exchange.bucket.bucket_name]},
                        "object": {"key": [{"prefix": prefix} for prefix in prefixes]},
                    },
                ),
            )
        )
        self._role = service_role(
            self,
            "Role",
            service="apigateway.amazonaws.com",
            statements=[
                allow("s3:PutObject", exchange.objects(REQUESTS_PREFIX, BELOW)),
                allow("s3:GetObject", exchange.objects(JOBS_PREFIX)),
                allow("s3:ListBucket", exchange.bucket.bucket_arn),
                key,
            ],
            business_unit=business_unit,
            description=f"Writes requests of jobs of {endpoint_name} and reads what came of them",
            wildcard_reason=f"{_REASON}. {_LIST}",
        )

    def submission(self) -> gateway.Integration:
        """Return the integration that submits a job: the body becomes an S3 object whose key the gateway chooses."""
        return self._integration(
            "PUT",
            f"{REQUESTS_PREFIX}/{self._name}/{BELOW}{{id}}",
            template=f"#set($context.requestOverride.path.id = {_ID})$input.body",
            parameters={_PATH: "context.extendedRequestId", "integration.request.header.Content-Type": f"'{JSON}'"},
            answers=[
                gateway.IntegrationResponse(
                    status_code="202",
                    selection_pattern="200",
                    response_parameters={_KIND: f"'{JSON}'"},
                    response_templates={JSON: f'{{"id": "{_ID}", "status": "running"}}'},
                ),
                _problem("503", problem(503, "not_taken", "the job could not be accepted; send it again later")),
            ],
        )

    def reading(self) -> gateway.Integration:
        """Return the integration that reads a job: the model's response, or that the job is running or failed."""
        after = f"#set($context.responseOverride.header.{RETRY_AFTER} = '5')"
        running = after + '{"id": "$id", "status": "running"}'
        kind = f"#set($context.responseOverride.header.Content-Type = '{PROBLEM}')"
        unknown = kind + problem(404, "not_found", "there is no such job: the id is not an id of this API")
        return self._integration(
            "GET",
            f"{JOBS_PREFIX}/{self._name}/{{id}}",
            # an id with a slash would be another key of the bucket; '-' is too short for an id
            template=f"{_GIVEN}#if($id.matches('^{JOB_ID}$'))#set($context.requestOverride.path.id = $id)#end",
            # for this range S3 returns 416 for an empty object, which represents a failure, and 206 with all of any other object
            parameters={_PATH: "'-'", "integration.request.header.Range": "'bytes=0-'"},
            answers=[
                gateway.IntegrationResponse(
                    status_code="200",
                    selection_pattern="206",
                    response_parameters={_KIND: "integration.response.header.Content-Type"},
                ),
                gateway.IntegrationResponse(
                    status_code="202",
                    selection_pattern="404",
                    response_parameters={_KIND: f"'{JSON}'"},
                    response_templates={
                        JSON: f"{_GIVEN}#if($id.matches('^{JOB_ID}$')){running}"
                        f"#else#set($context.responseOverride.status = 404){unknown}#end"
                    },
                ),
                _problem("502", problem(502, "job_failed", "the model failed on this job; send it again"), "416"),
                _problem("503", problem(503, "not_served", "the job cannot be read now; try again later")),
            ],
        )

    def _integration(
        self,
        verb: str,
        key: str,
        *,
        template: str,
        parameters: Mapping[str, str],
        answers: list[gateway.IntegrationResponse],
    ) -> gateway.Integration:
        return gateway.AwsIntegration(
            service="s3",
            path=f"{self._bucket.bucket_name}/{key}",
            integration_http_method=verb,
            options=gateway.IntegrationOptions(
                credentials_role=self._role,
                # bodies of other content types would not be validated
                passthrough_behavior=gateway.PassthroughBehavior.NEVER,
                request_templates={JSON: template},
                request_parameters=dict(parameters),
                integration_responses=answers,
            ),
        )


def job_answers(*statuses: str) -> list[gateway.MethodResponse]:
    """Return method responses of jobs with these status codes.

    Args:
        statuses: Status codes.
    """
    headers = {_KIND: False, _AFTER: False}
    return [gateway.MethodResponse(status_code=status, response_parameters=headers) for status in statuses]


def _problem(status: str, template: str, pattern: str | None = None) -> gateway.IntegrationResponse:
    return gateway.IntegrationResponse(
        status_code=status,
        selection_pattern=pattern,
        response_parameters={_KIND: f"'{PROBLEM}'"},
        response_templates={JSON: template},
    )
