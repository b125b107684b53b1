"""The ``InferenceApi`` construct: a REST API that integrates directly with SageMaker endpoints and services on EKS."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
import jsii
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam

from constructs import Construct, IValidation
from mlops_constructs._arguments import checked, shown
from mlops_constructs._roles import service_role
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import define_log_group, resource_of
from mlops_constructs._validation import check_duration, check_pattern, check_range, check_whole, raise_if_any
from mlops_constructs._warnings import NO_API_THROTTLE, UNCHECKED_PROMISE, warn
from mlops_constructs.eks_inference import EksInferenceService
from mlops_constructs.inference_api.api_access import Access, Quota
from mlops_constructs.inference_api.endpoint_jobs import EndpointJobs, job_answers
from mlops_constructs.inference_api.error_answers import (
    INFERENCE_ID_SOURCE,
    JSON,
    define_gateway_answers,
    method_answers,
    model_answers,
    safe_headers,
)
from mlops_constructs.inference_api.private_link import PrivateLink, service_integration
from mlops_constructs.inference_api.rest_api import acknowledge_method, define_alarms, define_rest_api
from mlops_constructs.inference_api.web_firewall import INSPECTED, JOBS, define_firewall
from mlops_constructs.model_endpoint.endpoint_interface import IModelEndpoint, Ownership
from mlops_constructs.model_endpoint.endpoint_metrics import ModelEndpointBase
from mlops_constructs.model_endpoint.endpoint_role import Exchange
from mlops_constructs.model_endpoint.model_endpoint import ModelEndpoint
from mlops_constructs.model_endpoint.request_schema import RequestSchema
from mlops_constructs.unit_interface import IBusinessUnit, Profile
from mlops_runtime.inference_api.open_api import METADATA, STAGE

INFERENCE_HEADER = "integration.request.header.X-Amzn-SageMaker-Inference-Id"
_SERVICE = "apigateway.amazonaws.com"
_NAME = r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?"
_NAME_ALLOWED = "1 to 32 lower-case letters, digits or hyphens, starting with a letter"
# maximum of a regional API without a higher quota: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_LONGEST = cdk.Duration.seconds(29)
_PREDICTIONS: Mapping[str, Sequence[str]] = {"POST": ["predictions"], "GET": [""]}
_SHORTEST = cdk.Duration.seconds(1)
# default quotas of an account and Region for all APIs: requests per second, and burst
_HIGHEST_RATE, _HIGHEST_BURST = 10_000, 5_000
# API Gateway's maximum payload in bytes: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_LARGEST_JOB = 10 * 1024 * 1024
_DOMAIN = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A model of the API, with its methods and limits."""

    request: RequestSchema
    timeout: cdk.Duration
    methods: tuple[gateway.Method, ...]
    max_rate: float | None
    own_server: bool
    has_jobs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelMethod:
    """A method of a model: its path below the model's, integration, responses and HTTP verb."""

    path: str
    integration: gateway.Integration
    responses: Sequence[gateway.MethodResponse]
    verb: str = "POST"


@checked("InvalidInferenceApi")
class InferenceApi(Construct):
    """REST API of a unit's models: ``POST /v1/models/{model}/predictions`` and ``GET /v1/models/{model}``. Stateless.

    Models of asynchronous endpoints have ``POST /v1/models/{model}/jobs`` and ``GET .../jobs/{id}`` instead of predictions.

    API Gateway authorizes callers, validates bodies against each model's request schema, and calls SageMaker directly, without a
    function. Each call gets an id by which labels are joined (``X-Inference-Id``), and errors contain no details of AWS. Includes a
    web ACL, an encrypted access log, a rate limit per model and two alarms. The access log requires the CloudWatch role that an
    account's API Gateway has once per Region.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        access: Authorization of callers. Default: IAM, with `grant_predict`.
        max_body_size: Maximum size of a body, up to the 64 KiB that the web ACL inspects. Default: 64 KiB.

    Raises:
        ValidationError: If PRODUCTION uses access by API keys only, or ``max_body_size`` is out of range.

    Example:
        >>> api = InferenceApi(self, "Api", business_unit=unit)
        >>> api.add_model("forecast", endpoint, request=RequestSchema.from_file("forecast.schema.json"), max_rate=20)
        >>> plan = api.add_plan("partners", rate=20, burst=40, quota=Quota.per_day(50_000))
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        access: Access | None = None,
        max_body_size: cdk.Size | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._unit = business_unit
        self._access = Access.iam() if access is None else access
        size = cdk.Size.kibibytes(INSPECTED[-1]) if max_body_size is None else max_body_size
        raise_if_any(self, "InvalidInferenceApi", self._problems(size))
        self._largest = int(size.to_bytes())
        self._models: dict[str, _Model] = {}
        self._plans: dict[str, gateway.UsagePlan] = {}
        self._domain: str | None = None
        self._log_group = define_log_group(self, "AccessLog", business_unit=business_unit)
        self._api = define_rest_api(
            self, "Resource", name=self._name, unit=business_unit.name, log_group=self._log_group
        )
        define_gateway_answers(self._api)
        self._validator = gateway.RequestValidator(
            self, "Validator", rest_api=self._api, validate_request_body=True, validate_request_parameters=True
        )
        self._authorizer = self._define_authorizer()
        self._trees = self._define_trees()
        stage = self._api.deployment_stage
        define_firewall(self, "Firewall", stage_arn=stage.stage_arn, max_body_size=size, name=self._name)
        self._alarms = define_alarms(
            self,
            name=self._name,
            unit=business_unit.name,
            log_group=self._log_group,
            topic=business_unit.topic,
        )
        self._invoke = iam.PolicyStatement(actions=["sagemaker:InvokeEndpoint"])
        self._role: iam.IRole | None = None
        self._link: PrivateLink | None = None
        self._jobs: dict[str, EndpointJobs] = {}
        self.node.add_validation(_ApiCheck(self._models, self._plans, self._access))
        business_unit.tag(self)

    @property
    def rest_api(self) -> gateway.RestApi:
        """The REST API."""
        return self._api

    @property
    def url(self) -> str:
        """URL of the API, without a slash at its end."""
        stack = stack_values(self)
        if self._domain is not None:
            return f"https://{self._domain}"
        return f"https://{self._api.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}/{STAGE}"

    @property
    def alarms(self) -> dict[str, cloudwatch.Alarm]:
        """Alarms by key: ``late`` on integration timeouts, ``errors`` on 5xx responses."""
        return dict(self._alarms)

    def add_model(
        self,
        name: str,
        endpoint: IModelEndpoint | EksInferenceService,
        *,
        request: RequestSchema,
        timeout: cdk.Duration | None = None,
        max_rate: float | None = None,
        own_server: bool = True,
        server_name: str | None = None,
    ) -> None:
        """Add a model, and require each candidate of its endpoint to accept the request schema.

        Candidates of an endpoint that another app or CloudFormation deploys cannot be checked; a warning reports that. Services on
        EKS are called through a VPC link in the unit's subnets, which their load balancers then allow.

        Args:
            name: Name in the path, 1 to 32 lower-case letters, digits, hyphens; it does not change with the model version.
            endpoint: A SageMaker endpoint, or a service on EKS of the same unit. Asynchronous endpoints get jobs.
            request: Requests that the API accepts.
            timeout: Integration timeout, 1 to 29 seconds; not for jobs. Set the container's own timeout below it, as later
                responses are lost although the model has counted the call. Default: 29 seconds.
            max_rate: Maximum of calls per second, 1 to 10,000, such as the measured capacity of the model; further calls get 429.
                Default: only the account's limit, with a warning.
            own_server: Whether the platform's server serves the model, whose messages about invalid rows are passed to callers.
                Errors of third-party containers may contain anything, so callers get 502 instead. Default: yes.
            server_name: DNS name in the certificate of a service on EKS, which API Gateway verifies. Default: none, for SageMaker
                and for services without a certificate.

        Raises:
            ValidationError: If the model cannot be called or the schema not be kept; lists every problem.
        """
        longest = _LONGEST if timeout is None else timeout
        problems = [
            check_pattern("name", name, pattern=_NAME, allowed=_NAME_ALLOWED),
            f"name must be unique in the API, got {name!r} twice" if name in self._models else None,
            check_duration("timeout", longest, minimum=_SHORTEST, maximum=_LONGEST, whole="milliseconds"),
            check_range("max_rate", max_rate, minimum=1, maximum=_HIGHEST_RATE),
            self._body_problem(request, _LARGEST_JOB if _has_jobs(endpoint) else self._largest),
            "timeout is not supported for jobs of asynchronous endpoints; leave it out"
            if _has_jobs(endpoint) and timeout is not None
            else None,
            *_endpoint_problems(endpoint),
            *_name_problems(endpoint, server_name, self._unit),
        ]
        raise_if_any(self, "InvalidInferenceApi", problems)
        if isinstance(endpoint, EksInferenceService) or (
            isinstance(endpoint, ModelEndpoint) and endpoint.ownership is Ownership.PIPELINE
        ):
            endpoint.keep_promise(request)
        else:
            warn(self, UNCHECKED_PROMISE, model=name, endpoint=endpoint.endpoint_name, file=request.name)
        declared = self._model_methods(endpoint, longest, own_server=own_server, server_name=server_name)
        methods = self._define_methods(name, declared, request)
        if isinstance(endpoint, EksInferenceService):
            self._connect(endpoint, methods)
        self._models[name] = _Model(
            request=request,
            timeout=longest,
            methods=methods,
            max_rate=max_rate,
            own_server=own_server,
            has_jobs=_has_jobs(endpoint),
        )
        if max_rate is None:
            warn(self, NO_API_THROTTLE, model=name)
        if self._plans or self._access.is_by_key:
            self._require_keys(methods)
        self._describe()

    def add_plan(self, name: str, *, rate: float, burst: int, quota: Quota | None = None) -> gateway.UsagePlan:
        """Add a usage plan. From then on every call requires an API key, in addition to the authorization of `Access`.

        Usage plans throttle only methods that require a key. Keys are not bound to callers: anyone with a key uses its quota.

        Args:
            name: Name of the plan, in the form of a model's name.
            rate: Steady-state calls per second and key.
            burst: Maximum burst of calls per key.
            quota: Calls per period and key. Default: no quota.

        Returns:
            The plan, to which API keys can be added.

        Raises:
            ValidationError: If the name is already used or a number is out of range.
        """
        problems = [
            check_pattern("name", name, pattern=_NAME, allowed=_NAME_ALLOWED),
            f"name must be unique in the API, got {name!r} twice" if name in self._plans else None,
            check_range("rate", rate, minimum=0.1, maximum=_HIGHEST_RATE),
            check_whole("burst", burst, minimum=1, maximum=_HIGHEST_BURST),
        ]
        raise_if_any(self, "InvalidInferenceApi", problems)
        plan = self._api.add_usage_plan(
            f"Plan-{name}",
            name=f"{self._unit.name}-{name}",
            throttle=gateway.ThrottleSettings(rate_limit=rate, burst_limit=burst),
            quota=None if quota is None else gateway.QuotaSettings(limit=quota.calls, period=quota.period),
            api_stages=[gateway.UsagePlanPerApiStage(api=self._api, stage=self._api.deployment_stage)],
        )
        self._plans[name] = plan
        for model in self._models.values():
            self._require_keys(model.methods)
        self._describe()
        return plan

    def grant_predict(self, grantee: iam.IGrantable, model: str) -> iam.Grant:
        """Grant calling one model with requests signed with IAM.

        Args:
            grantee: Principal to grant access to.
            model: Name that ``add_model`` gave the model.

        Raises:
            ValidationError: If the API has no such model, or does not accept signed requests.
        """
        problems = [
            None
            if self._access.signs
            else "access does not accept requests signed with IAM; use Access.iam() or Access.both(...)",
            None
            if model in self._models
            else f"model must be one of {', '.join(self._models) or 'those that add_model adds'}, got {model!r}",
        ]
        raise_if_any(self, "InvalidGrant", problems)
        path = f"/v1/models/{model}"
        requested = {"POST": [JOBS], "GET": ["", f"{JOBS}/*"]} if self._models[model].has_jobs else _PREDICTIONS
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["execute-api:Invoke"],
            resource_arns=[
                self._api.arn_for_execute_api(verb, f"{path}/{below}".rstrip("/"), STAGE)
                for verb, paths in requested.items()
                for below in paths
            ],
        )

    def with_domain(self, name: str, certificate: acm.ICertificate) -> gateway.DomainName:
        """Add a custom domain name and disable the default endpoint, which would bypass it.

        Args:
            name: Domain name, such as ``models.example.com``.
            certificate: Certificate for the name, in the same Region.

        Returns:
            The domain, to which a DNS record must point.

        Raises:
            ValidationError: If the API already has a domain name, or the name is invalid.
        """
        problems = [
            None if self._domain is None else f"the API can have only one domain name, it already has {self._domain}",
            check_pattern(
                "name", name, pattern=_DOMAIN, allowed="a DNS name in lower case, such as models.example.com"
            ),
        ]
        raise_if_any(self, "InvalidInferenceApi", problems)
        self._domain = name
        domain = self._api.add_domain_name(
            "Domain",
            domain_name=name,
            certificate=certificate,
            endpoint_type=gateway.EndpointType.REGIONAL,
            security_policy=gateway.SecurityPolicy.TLS_1_2,
        )
        resource_of(self._api, cdk.CfnResource).add_property_override("DisableExecuteApiEndpoint", True)
        self._change({"domain": name})
        self._describe()
        return domain

    @property
    def _name(self) -> str:
        return f"{self._unit.name}-predictions"

    def _problems(self, size: cdk.Size) -> list[str | None]:
        largest = INSPECTED[-1] * 1024
        is_allowed = size.is_unresolved() or (1024 <= size.to_bytes() <= largest and size.to_bytes() % 1024 == 0)
        return [
            "max_body_size must be whole KiB from 1 to 64, which the web ACL inspects, got "
            f"{'a token' if size.is_unresolved() else f'{size.to_bytes():g} bytes'}"
            if size.is_unresolved() or not is_allowed
            else None,
            "access by keys alone is not allowed in PRODUCTION: a key identifies a caller but does not authenticate it; use "
            "Access.iam() or Access.cognito(...), and add_plan for keys in addition"
            if self._access.is_by_key and self._unit.profile is Profile.PRODUCTION
            else None,
        ]

    @staticmethod
    def _body_problem(request: RequestSchema, largest: int) -> str | None:
        if request.smallest_body <= largest:
            return None
        return (
            f"{request.name} allows {request.promise.max_rows} rows per call, which have at least {request.smallest_body} bytes, "
            f"and max_body_size is {largest}: allow fewer rows (mlops api schema --max-rows), or larger bodies"
        )

    def _define_authorizer(self) -> gateway.CognitoUserPoolsAuthorizer | None:
        if self._access.pool is None:
            return None
        return gateway.CognitoUserPoolsAuthorizer(self, "Authorizer", cognito_user_pools=[self._access.pool])

    def _define_trees(self) -> list[tuple[gateway.Resource, bool]]:
        """Define the parent resources of models, each with whether its callers use tokens."""
        root = self._api.root.add_resource("v1")
        first = (root.add_resource("models"), not self._access.signs and self._authorizer is not None)
        if not self._access.signs or self._authorizer is None:
            return [first]
        return [first, (root.add_resource("token").add_resource("models"), True)]

    def _connect(self, service: EksInferenceService, methods: tuple[gateway.Method, ...]) -> None:
        """Route the methods of a service on EKS through the VPC link, which is defined with the first service."""
        if self._link is None:
            self._link = PrivateLink(self, "Link", business_unit=self._unit, name=self._name)
        self._link.open(service)
        service.answer_stage(STAGE)
        for method in methods:
            if method.http_method == "POST":
                self._change(self._link.connect(method, service))

    def _model_methods(
        self,
        endpoint: IModelEndpoint | EksInferenceService,
        timeout: cdk.Duration,
        *,
        own_server: bool,
        server_name: str | None,
    ) -> list[_ModelMethod]:
        """Return the methods of a model: jobs of an asynchronous endpoint, or predictions."""
        if isinstance(endpoint, ModelEndpoint) and endpoint.exchange is not None:
            jobs = self._jobs_of(endpoint, endpoint.exchange)
            read = _ModelMethod(
                path=f"{JOBS}/{{id}}",
                integration=jobs.reading(),
                responses=job_answers("200", "202", "404", "502", "503"),
                verb="GET",
            )
            return [_ModelMethod(path=JOBS, integration=jobs.submission(), responses=job_answers("202", "503")), read]
        if isinstance(endpoint, EksInferenceService):
            integration = service_integration(endpoint, server_name=server_name, timeout=timeout, own_server=own_server)
        else:
            self._invoke.add_resources(endpoint.endpoint_arn)
            integration = _integration(endpoint, self._invoking_role(), timeout, own_server=own_server)
        return [_ModelMethod(path="predictions", integration=integration, responses=method_answers())]

    def _jobs_of(self, endpoint: ModelEndpoint, exchange: Exchange) -> EndpointJobs:
        """Return the construct of an endpoint's jobs, defined once per endpoint."""
        name = endpoint.endpoint_name
        if name not in self._jobs:
            self._jobs[name] = EndpointJobs(
                self,
                f"Jobs-{name}",
                business_unit=self._unit,
                endpoint_name=name,
                endpoint_arn=endpoint.endpoint_arn,
                exchange=exchange,
            )
        return self._jobs[name]

    def _define_methods(
        self, name: str, declared: Sequence[_ModelMethod], request: RequestSchema
    ) -> tuple[gateway.Method, ...]:
        model = gateway.CfnModel(
            self._api,
            f"Model-{name}",
            rest_api_id=self._api.rest_api_id,
            content_type=JSON,
            name=name.title().replace("-", ""),
            description=f"Request body, from {request.name}",
            schema=request.schema,
        )
        self._change({name: dict(request.schema)}, waits_for=model)
        bodies = gateway.Model.from_model_name(model, "Name", model.ref)
        made: list[gateway.Method] = []
        for tree, has_token in self._trees:
            resource = tree.add_resource(name)
            authorizer = self._authorizer if has_token else None
            kind = gateway.AuthorizationType.IAM if self._access.signs else gateway.AuthorizationType.NONE
            scopes = [self._access.scope] if has_token and self._access.scope is not None else None
            below = [
                resource.resource_for_path(each.path).add_method(
                    each.verb,
                    each.integration,
                    request_models={JSON: bodies} if each.verb == "POST" else None,
                    request_validator=self._validator,
                    method_responses=each.responses,
                    authorization_type=gateway.AuthorizationType.COGNITO if has_token else kind,
                    authorizer=authorizer,
                    authorization_scopes=scopes,
                )
                for each in declared
            ]
            show = resource.add_method(
                "GET",
                gateway.MockIntegration(
                    passthrough_behavior=gateway.PassthroughBehavior.NEVER,
                    request_templates={JSON: '{"statusCode": 200}'},
                    integration_responses=[
                        gateway.IntegrationResponse(
                            status_code="200",
                            response_parameters=safe_headers(),
                            response_templates={JSON: _shown(name, request)},
                        )
                    ],
                ),
                method_responses=[
                    gateway.MethodResponse(status_code="200", response_parameters=dict.fromkeys(safe_headers(), False))
                ],
                authorization_type=gateway.AuthorizationType.COGNITO if has_token else kind,
                authorizer=authorizer,
                authorization_scopes=scopes,
            )
            made += [*below, show]
            for method in (*below, show):
                acknowledge_method(method, signs=self._access.signs and not has_token, is_by_key=self._access.is_by_key)
        return tuple(made)

    def _invoking_role(self) -> iam.IRole:
        """Return the role with which API Gateway invokes endpoints, defined with the first, as a policy needs a resource."""
        if self._role is None:
            self._role = service_role(
                self,
                "Role",
                service=_SERVICE,
                statements=[self._invoke],
                business_unit=self._unit,
                description=f"Asks the endpoints of {self._name}",
            )
        return self._role

    def _require_keys(self, methods: tuple[gateway.Method, ...]) -> None:
        for method in methods:
            resource_of(method, cdk.CfnResource).add_property_override("ApiKeyRequired", True)
            self._change({method.node.path: "key"})

    def _change(self, change: Mapping[str, object], *, waits_for: Construct | None = None) -> None:
        """Add a change to the deployment's logical id that CDK's own hash of the API does not cover, so that AWS deploys it."""
        deployment = self._api.latest_deployment
        assert deployment is not None  # noqa: S101 - the API deploys itself
        deployment.add_to_logical_id(change)
        if waits_for is not None:
            deployment.node.add_dependency(waits_for)

    def _describe(self) -> None:
        """Update the stage's limits, and the metadata from which the API's description for callers is generated."""
        stage = resource_of(self._api.deployment_stage, gateway.CfnStage)
        every = gateway.CfnStage.MethodSettingProperty(
            resource_path="/*",
            http_method="*",
            metrics_enabled=True,
            data_trace_enabled=False,
            throttling_rate_limit=_HIGHEST_RATE,
            throttling_burst_limit=_HIGHEST_BURST,
        )
        limited = [
            gateway.CfnStage.MethodSettingProperty(
                resource_path=f"/{path.replace('/', '~1')}",
                http_method="POST",
                metrics_enabled=True,
                data_trace_enabled=False,
                throttling_rate_limit=model.max_rate,
                # one second of calls as burst, so that uneven arrival is not throttled
                throttling_burst_limit=min(math.ceil(model.max_rate), _HIGHEST_BURST),
            )
            for name, model in self._models.items()
            if model.max_rate is not None
            for path in self._paths(name, model)
        ]
        stage.method_settings = [every, *limited]
        described = {
            "unit": self._unit.name,
            "domain": self._domain,
            "signs": self._access.signs,
            "scope": self._access.scope,
            "has_keys": bool(self._plans) or self._access.is_by_key,
            "models": {
                name: {
                    "schema": model.request.schema,
                    "seconds": model.timeout.to_milliseconds() / 1000,
                    "own_server": model.own_server,
                    "has_jobs": model.has_jobs,
                }
                for name, model in self._models.items()
            },
        }
        resource_of(self._api, cdk.CfnResource).add_metadata(METADATA, described)

    def _paths(self, name: str, model: _Model) -> list[str]:
        trees = ["/v1/models", "/v1/token/models"][: len(self._trees)]
        return [f"{tree}/{name}/{JOBS if model.has_jobs else 'predictions'}" for tree in trees]


def _has_jobs(endpoint: object) -> bool:
    return isinstance(endpoint, ModelEndpoint) and endpoint.exchange is not None


def _integration(
    endpoint: IModelEndpoint, role: iam.IRole, timeout: cdk.Duration, *, own_server: bool
) -> gateway.Integration:
    """Return the integration of a method with a SageMaker endpoint."""
    return gateway.AwsIntegration(
        service="runtime.sagemaker",
        path=f"endpoints/{endpoint.endpoint_name}/invocations",
        integration_http_method="POST",
        options=gateway.IntegrationOptions(
            credentials_role=role,
            # bodies of other content types would not be validated
            passthrough_behavior=gateway.PassthroughBehavior.NEVER,
            request_templates={JSON: "$input.body"},
            request_parameters={
                INFERENCE_HEADER: INFERENCE_ID_SOURCE,
                "integration.request.header.Content-Type": f"'{JSON}'",
                "integration.request.header.Accept": f"'{JSON}'",
            },
            timeout=timeout,
            integration_responses=model_answers(own_server=own_server),
        ),
    )


def _endpoint_problems(endpoint: object) -> list[str | None]:
    if not isinstance(endpoint, ModelEndpointBase | EksInferenceService):
        return [f"endpoint must be a ModelEndpoint or an EksInferenceService, got {shown(endpoint)}"]
    if not isinstance(endpoint, ModelEndpoint | EksInferenceService):
        return []
    return [
        f"endpoint {endpoint.endpoint_name} has personal fields that clients must hash, which callers of an API do not; remove "
        "DataCapture(personal_data=), or let callers use EndpointClient"
        if endpoint.personal_key is not None
        else None,
    ]


def _name_problems(endpoint: object, server_name: str | None, unit: IBusinessUnit) -> list[str | None]:
    """Return problems of a service on EKS with its network or the name in its certificate."""
    if not isinstance(endpoint, EksInferenceService):
        return ["server_name is for services on EKS, endpoint is on SageMaker; leave it out" if server_name else None]
    name, is_secure = endpoint.endpoint_name, endpoint.load_balancer.port == 443
    return [
        f"endpoint {name} belongs to unit {endpoint.business_unit.name}, the API to {unit.name}, whose network cannot reach it; "
        "define an API for that unit"
        if endpoint.business_unit.name != unit.name
        else None,
        f"server_name must be given for {name}, whose certificate API Gateway verifies"
        if is_secure and server_name is None
        else None,
        f"server_name must not be given for {name}, which has no certificate, got {server_name!r}"
        if not is_secure and server_name is not None
        else None,
        check_pattern(
            "server_name",
            server_name,
            pattern=_DOMAIN,
            allowed="a DNS name in lower case, such as models.example.com",
        )
        if server_name is not None
        else None,
    ]


def _shown(name: str, request: RequestSchema) -> str:
    """Return the response template with a model's request schema; ``$`` and ``#`` are VTL syntax, so they are JSON escapes."""
    text = json.dumps({"model": name, "content_types": [JSON], "request": request.schema})
    return text.replace("$", "\\u0024").replace("#", "\\u0023")


@jsii.implements(IValidation)
class _ApiCheck:
    """Checks at the end of synthesis that the API has a model, and a plan if it needs keys."""

    def __init__(self, models: Mapping[str, _Model], plans: Mapping[str, gateway.UsagePlan], access: Access) -> None:
        self._models, self._plans, self._access = models, plans, access

    def validate(self) -> list[str]:
        if not self._models:
            return ["the API has no model, and API Gateway deploys no API without a method; call add_model"]
        if self._access.is_by_key and not self._plans:
            return ["access by keys needs a plan, without which every call is refused; call add_plan"]
        return []
