"""The ``Rollout`` construct: the Deploy machine of one endpoint with its table, functions, rules and serving spec."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import (
    QueueConsumer,
    define_custom_resource,
    define_function,
    define_queue_consumer,
    role_of,
)
from mlops_constructs._platform_rules import rule_problems
from mlops_constructs._roles import allow, grant_statements, shared_policy
from mlops_constructs._stack_values import stack_of
from mlops_constructs._state_machine import define_machine, tasks
from mlops_constructs._unit_resources import define_table, mark_state, resource_of
from mlops_constructs._validation import raise_if_any
from mlops_constructs._warnings import PLACEHOLDER_IMAGE, warn
from mlops_constructs.compliance import acknowledge_all
from mlops_constructs.model_registry import ModelImage
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.rollout.captured_answers import define_answers
from mlops_constructs.rollout.deploy_machine import deploy_machine
from mlops_constructs.rollout.probation_function import define_probation
from mlops_constructs.rollout.rollout_checks import define_golden, define_verdict
from mlops_constructs.rollout.rollout_permissions import WILDCARD_REASON, RolloutAccess
from mlops_constructs.rollout.rollout_policy import RolloutPolicy, RolloutTarget
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.rollout.definition_hash import definition_sha256
from mlops_runtime.rollout.deploy_guard import ALARM, APPROVAL, DEPLOYED, DIED, EXECUTION, STACK
from mlops_runtime.rollout.probation_alarm import probation_alarm

_RENDERED_REASON = (
    "the arguments are rendered from the serving spec, which the checks expand with the functions that render it at run time; "
    "rejected: literal values in the definition, which would change the machine with every change of capacity"
)
_MODELS_REASON = (
    "a candidate is the model of any execution of a pipeline of the registry; "
    "rejected: one object key, which changes with every approval"
)


_EVALUATIONS_REASON = (
    "a candidate was evaluated by any execution of a pipeline of the registry; "
    "rejected: one object key, which changes with every approval"
)


@checked("InvalidRollout")
class Rollout(Construct):
    """Deployment of approved models to one endpoint. Stateful.

    Defines the rollout table, the Deploy state machine with its functions, the rules that trigger it, and the custom resource with
    the desired serving spec. Only the machine creates models, endpoint configs and the endpoint.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        registry: Registry whose approved packages are deployed.
        spec: Serving spec of the endpoint; values may be tokens.
        policy: Rollout policy of new models.
        target: Target of the rollout, which renders the steps of the Deploy machine.
        execution_role: Execution role of the model's containers, which the machine passes to SageMaker.
        access: Permissions of the rollout's parts. Default: those for SageMaker.
        environment: Environment variables by which functions find the live version if the target is not SageMaker. Default: none.
        url: URL of the service, for ``mlops invoke``. Default: SageMaker Runtime.
        slot_urls: URLs of the slots for golden requests. Default: SageMaker Runtime.

    Raises:
        ValidationError: If the target does not support the policy.

    Example:
        >>> from mlops_constructs import SageMakerTarget
        >>> rollout = Rollout(self, "Rollout", business_unit=unit, registry=registry, spec=spec, policy=policy,
        ...                   target=SageMakerTarget(endpoint_name="demand-forecast", instance_count=2), execution_role=role)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        registry: IModelRegistry,
        spec: ServingSpec,
        policy: RolloutPolicy,
        target: RolloutTarget,
        execution_role: iam.IRole,
        access: Callable[..., RolloutAccess] = RolloutAccess,
        environment: Mapping[str, str] | None = None,
        url: str | None = None,
        slot_urls: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, id)
        probation = _probation_alarms(policy, spec)
        types = {
            "spec.instance_type": spec.instance_type,
            **{f"spec.variants[{at}].instance_type": each.instance_type for at, each in enumerate(spec.variants or ())},
        }
        problems = rule_problems(business_unit, self, instance_types=types, rollout=policy.to_spec())
        raise_if_any(self, "InvalidRollout", [*_problems(policy, target, spec), *problems])
        self._unit, self._registry, self._endpoint_name = business_unit, registry, spec.endpoint
        spec = replace(spec, rollout=self._render_rollout(spec.rollout, policy, probation))
        self._table = define_table(self, "Table", business_unit=business_unit, partition_key="endpoint")
        mark_state(self._table, business_unit=business_unit)
        self._environment = {} if environment is None else dict(environment)
        self._access = access(
            scope=self, business_unit=business_unit, registry=registry, table=self._table, serving=spec
        )
        self._preflight = self._define_preflight()
        self._model_readers = [role_of(self._preflight), execution_role]
        self._models: iam.ManagedPolicy | None = None
        self._evaluations: iam.ManagedPolicy | None = None
        self._pipelines = [spec.endpoint]
        registry.serve(spec.endpoint, self._read_models_of)
        registry.promoted_by(spec.endpoint, self._table)
        self._record = self._define_record()
        self._golden = self._define_golden(spec.rollout, slot_urls)
        self._verdict = define_verdict(self, "Verdict", business_unit=business_unit, endpoint_name=self._endpoint_name)
        self._answers = self._define_answers(spec)
        self._machine = self._define_machine(self._preflight, target, spec.rollout, execution_role)
        self._guard = self._define_guard(probation, target)
        self._define_probation(spec.rollout, slot_urls)
        self._define_rules(probation)
        if target.is_reset_by_stack:
            self._feed(self._define_stack_rule())
        self._images: list[str] = []
        self._champion_readers: dict[str, Callable[[str], None]] = {}
        self._spec_function = self._define_spec_function()
        self._spec, self._spec_resource = spec, self._define_spec(spec, self._spec_function)
        self._entry = self._stated(target, spec, url)
        self._parameter = business_unit.publish_entry(self, "Entry", self._entry)

    @property
    def table(self) -> dynamodb.ITable:
        """Table with the endpoint's item: lock, head of the audit chain, live pointer, desired spec."""
        return self._table

    @property
    def machine(self) -> sfn.IStateMachine:
        """The Deploy state machine."""
        return self._machine

    @property
    def record_function(self) -> lambda_.IFunction:
        """Function that appends to the audit chain, also for rejections of the Retrain machine."""
        return self._record

    @property
    def preflight_function(self) -> lambda_.IFunction:
        """Function that plans each rollout."""
        return self._preflight

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of approval events."""
        return self._guard.queue

    @property
    def spec_uri(self) -> str:
        """URI of the desired serving spec."""
        return self._spec_resource.get_att_string("SpecUri")

    @property
    def champion_readers(self) -> dict[str, Callable[[str], None]]:
        """By pipeline, functions that grant its jobs read access to models of others, any of which may have the champion."""
        return self._champion_readers

    def keep_promise(self, promise: RequestPromise) -> None:
        """Refuse candidates that do not accept an API's requests; preflight then reads evaluations, which contain signatures.

        Args:
            promise: Requests that the API accepts.
        """
        promises = self._spec.promises or ()
        if promise in promises:
            return
        self._spec = replace(self._spec, promises=(*promises, promise))
        resource = resource_of(self._spec_resource, cdk.CfnResource)
        resource.add_property_override("Spec", stack_of(self).to_json_string(to_dict(self._spec)))
        if self._evaluations is None:
            self._evaluations = shared_policy(
                self,
                "Evaluations",
                statements=[self._evaluations_of(pipeline) for pipeline in self._pipelines],
                description=f"Reads what candidates of {self._endpoint_name} were measured by",
                wildcard_reason=_EVALUATIONS_REASON,
            )
            role_of(self._preflight).add_managed_policy(self._evaluations)

    def stop_before(self, bucket: s3.IBucket) -> None:
        """Delete the endpoint or its pods before a development unit's bucket that it writes to is emptied.

        Args:
            bucket: Bucket that the endpoint writes to.
        """
        self._spec_resource.node.add_dependency(bucket)

    def publish_monitor(self) -> None:
        """Mark the endpoint as monitored in its entry; `mlops status` and the console report endpoints without a monitor."""
        entry = replace(self._entry, is_monitored=True)
        parameter = resource_of(self._parameter, ssm.CfnParameter)
        parameter.value = stack_of(self).to_json_string(to_dict(entry))

    def require_image(self, image: ModelImage) -> None:
        """Fail the deployment while an image is missing, instead of the first job or model that needs it.

        The function of the serving spec calls ECR, for which a network that the unit owns gets the interface endpoint ``ecr.api``.

        Args:
            image: Image of the endpoint or of its jobs. Images built by the CDK exist by then and are not checked.
        """
        if image.directory is not None:
            return
        uri = image.uri(self)
        if uri in self._images:
            return
        self._images.append(uri)
        self._unit.reach(["ecr.api"])
        statement = image.presence_statement(self)
        grant = iam.Grant.add_to_principal(
            grantee=self._spec_function, actions=statement.actions, resource_arns=statement.resources
        )
        grant.apply_before(self._spec_resource)
        resource = resource_of(self._spec_resource, cdk.CfnResource)
        resource.add_property_override("Images", list(self._images))
        if image.is_placeholder:
            warn(self, PLACEHOLDER_IMAGE, **image.placeholder_words)

    def grant_deploy(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant starting the Deploy machine, for example to roll back manually, and aborting a running rollout.

        Args:
            grantee: Principal to grant access to.
        """
        started = self._machine.grant_start_execution(grantee)
        for statement in self._access.abort():
            started = started.combine(
                iam.Grant.add_to_principal(
                    grantee=grantee, actions=statement.actions, resource_arns=statement.resources
                )
            )
        return started

    def grant_read(self, grantee: iam.IGrantable, *, below: str = "mlops") -> iam.Grant:
        """Grant reading everything that the console and ``mlops status`` show about the endpoint and its registry.

        ``BusinessUnit.grant_verify`` adds the audit records.

        Args:
            grantee: Principal to grant access to, such as the role of the console's readers.
            below: Path of the parameters of units that it may read, such as ``mlops/demand``. Default: all units.
        """
        statements = self._access.show(self._machine, below=below)
        return self._registry.grant_read(grantee).combine(grant_statements(grantee, statements))

    def _define_preflight(self) -> lambda_.Function:
        return define_function(
            self,
            "Preflight",
            business_unit=self._unit,
            folder="rollout_preflight",
            description=f"Plan of each rollout of {self._endpoint_name}",
            environment={
                "ENDPOINT": self._endpoint_name,
                "ROLLOUT_TABLE": self._table.table_name,
                "ARTIFACTS_BUCKET": self._unit.artifacts.bucket_name,
                "AUDIT_BUCKET": self._unit.audit_bucket.bucket_name,
                "MODEL_PACKAGE_GROUP": self._registry.group_name,
                "SIGNING_KEY": self._unit.signing_key.key_arn,
                **self._unit.automation_environment,
                **self._registry.approval_environment,
                **self._environment,
            },
            statements=self._access.preflight(),
            timeout=cdk.Duration.seconds(60),
            wildcard_reason=WILDCARD_REASON,
        )

    def _read_models_of(self, pipeline: str) -> None:
        """Grant preflight and the model's containers read access to models of a pipeline with another name."""
        self._pipelines.append(pipeline)
        if self._evaluations is not None:
            self._evaluations.add_statements(self._evaluations_of(pipeline))
        models = self._unit.artifacts.arn_for_objects(f"models/{pipeline}/*")
        statement = allow("s3:GetObject", models)
        if self._models is not None:
            self._models.add_statements(statement)
            return
        self._models = shared_policy(
            self,
            "Models",
            statements=[statement],
            description=f"Reads models of pipelines with another name than {self._endpoint_name}",
            wildcard_reason=_MODELS_REASON,
        )
        for role in self._model_readers:
            role.add_managed_policy(self._models)

    def _evaluations_of(self, pipeline: str) -> iam.PolicyStatement:
        evaluations = self._unit.artifacts.arn_for_objects(f"evaluations/{pipeline}/*")
        return allow("s3:GetObject", evaluations)

    def _define_record(self) -> lambda_.Function:
        function = define_function(
            self,
            "Record",
            business_unit=self._unit,
            folder="rollout_record",
            description=f"Audit records and live pointer of {self._endpoint_name}",
            environment={
                "ENDPOINT": self._endpoint_name,
                "ROLLOUT_TABLE": self._table.table_name,
                "ARTIFACTS_BUCKET": self._unit.artifacts.bucket_name,
                **self._unit.audit_environment,
                **self._environment,
            },
            statements=self._access.record(),
            timeout=cdk.Duration.seconds(60),
            wildcard_reason=WILDCARD_REASON,
        )
        self._unit.admit_recorder(role_of(function))
        return function

    def _define_machine(
        self, preflight: lambda_.IFunction, target: RolloutTarget, rollout: RolloutSpec, execution_role: iam.IRole
    ) -> sfn.StateMachine:
        golden = None if self._golden is None else self._golden.function_arn
        functions = [each.function_arn for each in (preflight, self._record, self._verdict)]
        answers = None if self._answers is None else self._answers.function_arn
        functions += [*(each for each in (golden, answers) if each is not None), *target.functions]
        render = partial(
            deploy_machine,
            endpoint_name=self._endpoint_name,
            unit_name=self._unit.name,
            target=target,
            rollout=rollout,
            table_name=self._table.table_name,
            preflight_arn=preflight.function_arn,
            record_arn=self._record.function_arn,
            verdict_arn=self._verdict.function_arn,
            bus_name=self._unit.bus.event_bus_name,
            golden_arn=golden,
            answers_arn=answers,
            has_watch=self._access.has_watch,
            instance_types=self._access.instance_types(),
            partition=cdk.Aws.PARTITION,
        )
        digest = _DefinitionHash(stack_of(self).to_json_string(render()))
        definition = render(machine_sha256=cdk.Lazy.uncached_string(digest))
        machine = define_machine(
            self,
            "Deploy",
            business_unit=self._unit,
            definition=definition,
            statements=self._access.machine(execution_role=execution_role, functions=functions),
            description=f"Deploys approved models to {self._endpoint_name} on {target.name}",
            wildcard_reason=WILDCARD_REASON,
            managed_policies=self._define_machine_policies(),
        )
        acknowledge_all(machine, [f"Mlops-TaskArguments[{name}]" for name in _rendered(definition)], _RENDERED_REASON)
        return machine

    def _define_machine_policies(self) -> list[iam.IManagedPolicy]:
        """Define further policies of the machine, as a managed policy may have at most 6,144 characters."""
        parts = {
            "DeployWatch": ("Watch and clean-up", self._access.watch()),
            "DeployScaling": ("Scaling", self._access.scaling()),
        }
        return [
            shared_policy(
                self,
                name,
                statements=statements,
                description=f"{what} of {self._endpoint_name}",
                wildcard_reason=WILDCARD_REASON,
            )
            for name, (what, statements) in parts.items()
            if statements
        ]

    def _define_probation(self, rollout: RolloutSpec, slot_urls: Mapping[str, str] | None) -> None:
        if rollout.probation is None or not self._access.has_watch:
            return
        define_probation(
            self,
            "Watch",
            business_unit=self._unit,
            endpoint_name=self._endpoint_name,
            probation=rollout.probation,
            golden=rollout.golden,
            table=self._table,
            machine=self._machine,
            slot_urls=slot_urls,
        )

    def _define_guard(self, probation: Sequence[str], target: RolloutTarget) -> QueueConsumer:
        return define_queue_consumer(
            self,
            "Guard",
            business_unit=self._unit,
            folder="deploy_guard",
            description=f"Starts a rollout of {self._endpoint_name} once an approval, and rolls back during probation",
            environment={
                "DEPLOY_MACHINE_ARN": self._machine.state_machine_arn,
                "MODEL_PACKAGE_GROUP": self._registry.group_name,
                "ROLLOUT_TABLE": self._table.table_name,
                "ENDPOINT": self._endpoint_name,
                "PROBATION_ALARMS": ",".join(probation),
                **({"STACK": stack_of(self).stack_id} if target.is_reset_by_stack else {}),
            },
            statements=self._access.guard(self._machine),
            timeout=cdk.Duration.seconds(30),
            wildcard_reason=WILDCARD_REASON,
        )

    def _define_rules(self, probation: Sequence[str]) -> None:
        rules = [
            # recording updates the package, which sends another event: match only changes of the approval status
            # https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
            events.Rule(
                self,
                "Approvals",
                description=f"Approved packages of {self._registry.group_name}",
                event_pattern=events.EventPattern(
                    source=[APPROVAL[0]],
                    detail_type=[APPROVAL[1]],
                    detail={
                        "ModelPackageGroupName": [self._registry.group_name],
                        "ModelApprovalStatus": ["Approved"],
                        "UpdatedModelPackageFields": ["ModelApprovalStatus"],
                    },
                ),
            ),
            events.Rule(
                self,
                "Ended",
                description=f"Failed, aborted and timed-out executions of the Deploy machine of {self._endpoint_name}",
                event_pattern=events.EventPattern(
                    source=[EXECUTION[0]],
                    detail_type=[EXECUTION[1]],
                    detail={"stateMachineArn": [self._machine.state_machine_arn], "status": list(DIED)},
                ),
            ),
        ]
        if probation:
            rules.append(
                events.Rule(
                    self,
                    "Probation",
                    description=f"Alarms that roll back a model of {self._endpoint_name} on probation",
                    event_pattern=events.EventPattern(
                        source=[ALARM[0]],
                        detail_type=[ALARM[1]],
                        detail={
                            "alarmName": list(probation),
                            "state": {"value": ["ALARM"]},
                        },
                    ),
                )
            )
        for rule in rules:
            self._feed(rule)

    def _define_stack_rule(self) -> events.Rule:
        """Return the rule that starts a check of the live version after each deployment of the stack.

        See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/event-detail-stack-status-change.html
        """
        return events.Rule(
            self,
            "Deployed",
            description=f"Deployments of the stack, which may change the live version of {self._endpoint_name}",
            event_pattern=events.EventPattern(
                source=[STACK[0]],
                detail_type=[STACK[1]],
                detail={"stack-id": [stack_of(self).stack_id], "status-details": {"status": list(DEPLOYED)}},
            ),
        )

    def _feed(self, rule: events.Rule) -> None:
        self._guard.feed(rule)

    def _render_rollout(self, rollout: RolloutSpec, policy: RolloutPolicy, probation: Sequence[str]) -> RolloutSpec:
        golden = policy.checks.golden
        return replace(
            rollout,
            golden=None if golden is None else golden.bind(self),
            probation_alarms=tuple(probation) or None,
        )

    def _define_golden(self, rollout: RolloutSpec, slot_urls: Mapping[str, str] | None) -> lambda_.Function | None:
        if rollout.golden is None:
            return None
        return define_golden(
            self,
            "Golden",
            business_unit=self._unit,
            endpoint_name=self._endpoint_name,
            golden=rollout.golden,
            slot_urls=slot_urls,
        )

    def _define_answers(self, spec: ServingSpec) -> lambda_.Function | None:
        """Define the function that reads captures, if SageMaker serves with data capture."""
        if spec.capture is None or spec.eks is not None:
            return None
        return define_answers(
            self, "Answers", business_unit=self._unit, endpoint_name=self._endpoint_name, capture=spec.capture
        )

    def _stated(self, target: RolloutTarget, spec: ServingSpec, url: str | None) -> EndpointEntry:
        capture = spec.capture
        return EndpointEntry(
            endpoint=self._endpoint_name,
            unit=self._unit.name,
            group=self._registry.group_name,
            rollout_table=self._table.table_name,
            deploy_machine=self._machine.state_machine_arn,
            target=target.name,
            capture_bucket=None if capture is None else capture.destination.removeprefix("s3://").partition("/")[0],
            url=url,
            personal=None if capture is None else capture.personal,
            is_monitored=False,
        )

    def _define_spec_function(self) -> lambda_.Function:
        function = define_function(
            self,
            "ServingSpec",
            business_unit=self._unit,
            folder="serving_spec",
            description=f"Stores how {self._endpoint_name} is served and asks for a rollout",
            environment={
                "ARTIFACTS_BUCKET": self._unit.artifacts.bucket_name,
                "ENDPOINT": self._endpoint_name,
                "DEPLOY_MACHINE_ARN": self._machine.state_machine_arn,
                "ROLLOUT_TABLE": self._table.table_name,
                **self._unit.audit_environment,
                **self._environment,
            },
            statements=self._access.spec(self._machine),
            # create and update take seconds; delete first rolls a running rollout back
            timeout=cdk.Duration.minutes(10),
            wildcard_reason=WILDCARD_REASON,
        )
        # it records the deletion itself, as invoking the recorder would need an interface endpoint of Lambda
        self._unit.admit_recorder(role_of(function))
        return function

    def _define_spec(self, spec: ServingSpec, function: lambda_.Function) -> cdk.CustomResource:
        resource = define_custom_resource(
            self,
            "Spec",
            function=function,
            resource_type="Custom::MLOpsServingSpec",
            properties={"Spec": stack_of(self).to_json_string(to_dict(spec))},
        )
        unit = self._unit
        # a delete needs the role to its end, must not be followed by new executions, and writes its record before a development
        # unit's buckets are emptied
        resource.node.add_dependency(function.role, self._machine, unit.artifacts, unit.audit_bucket, unit.heads_bucket)
        return resource


def _probation_alarms(policy: RolloutPolicy, spec: ServingSpec) -> tuple[str, ...]:
    """Return the names of probation alarms; the one on errors is created at each promotion."""
    if policy.checks.probation is None:
        return ()
    of_unit = tuple(alarm.alarm_name for alarm in policy.checks.probation_alarms)
    return (*of_unit, probation_alarm(spec.endpoint))


def _problems(policy: RolloutPolicy, target: RolloutTarget, spec: ServingSpec) -> list[str]:
    problems = target.problems(policy)
    shadow = policy.checks.shadow
    if shadow is not None and shadow.tolerance is not None and spec.capture is None:
        problems.append(
            "tolerance of the shadow needs captured responses of both models, got an endpoint without data capture; give the "
            "endpoint capture=DataCapture(...), or leave tolerance out"
        )
    return problems


def _rendered(definition: Mapping[str, Any]) -> list[str]:
    """Return the states that create or update SageMaker resources with arguments of the plan."""
    makes = re.compile(r".*:sagemaker:(create|update)[A-Za-z]+")
    return [
        name
        for name, state in tasks(definition)
        if isinstance(state["Arguments"], str) and makes.fullmatch(state["Resource"])
    ]


@jsii.implements(cdk.IStringProducer)
class _DefinitionHash:
    """Hash of a definition without the hash itself, computed at synthesis when tokens are resolved."""

    def __init__(self, definition: str) -> None:
        self._definition = definition

    def produce(self, context: cdk.IResolveContext) -> str:
        return definition_sha256(context.resolve(self._definition))
