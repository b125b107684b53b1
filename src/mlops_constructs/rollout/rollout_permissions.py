"""Permissions of a rollout's functions and state machine, limited to one endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import (
    SERVICE,
    WRITES_ONCE,
    alarm_arn,
    allow,
    allow_listing,
    allow_metrics,
    describe_alarms_statement,
    key_statement,
    pass_role_statement,
    placed,
    put_events_statement,
    rule_arn,
    sagemaker_arn,
)
from mlops_constructs._stack_values import stack_values
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.rollout.scaling_states import scaling_statements
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.archive_signatures import SIGNATURE_FILE
from mlops_runtime.rollout.fleet_alarms import ABORT, ABORT_NAMESPACE, VERDICT, VERDICTS
from mlops_runtime.rollout.probation_alarm import probation_alarm, probation_rule
from mlops_runtime.rollout.serving_limits import longest_bake

WILDCARD_REASON = (
    "models, configs and alarms of new fleets get names at run time, prefixed by the endpoint's name, and some reads have no "
    "resource type; rejected: fixed names, which would prevent rollbacks"
)

# prefixes of artifacts that the console and commands show
_SHOWN = ("monitor", "evaluations", "gates", "releases")


@checked("InvalidRolloutAccess")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutAccess:
    """An endpoint's constructs; the methods return the IAM statements of each part of its rollout."""

    scope: Construct
    business_unit: IBusinessUnit
    registry: IModelRegistry
    table: dynamodb.ITable
    serving: ServingSpec

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        return self.serving.endpoint

    @property
    def has_watch(self) -> bool:
        """Whether a schedule watches models on probation."""
        return self.serving.rollout.probation is not None

    def instance_types(self) -> list[str]:
        """Return the instance types of a fleet; empty if it is serverless or on EKS."""
        if self.serving.serverless is not None or self.serving.eks is not None:
            return []
        return [self.serving.instance_type, *(variant.instance_type for variant in self.serving.variants or ())]

    def preflight(self) -> list[iam.PolicyStatement]:
        """Return the permissions to plan: read package, archive, spec, endpoint, records, alarms, pause, and leftover resources."""
        return [
            *self.business_unit.automation_statements(),
            self._table("dynamodb:GetItem"),
            self._specs("s3:GetObject"),
            *self._evidence(),
            key_statement(self.business_unit.key, services=["s3"], actions=["kms:Decrypt"]),
            self._describe(),
            *self._find_made(),
            # to find out which execution created a failed first endpoint
            allow("sagemaker:ListTags", self._own()["endpoint"]),
            describe_alarms_statement(),
            *self._traffic(),
        ]

    def record(self) -> list[iam.PolicyStatement]:
        """Return the recorder's permissions: append to the audit chain, update the live pointer, and sign archives."""
        return [*self._audit(), self._describe(), *self._sign_archives(), *self._keep_minutes()]

    def machine(self, *, execution_role: iam.IRole, functions: list[str]) -> list[iam.PolicyStatement]:
        """Return the machine's permissions to lock, invoke functions, and create models, configs and the endpoint.

        ``watch`` and ``scaling`` return the others.
        """
        unit, own = self.business_unit, self._own()
        return [
            self._table("dynamodb:UpdateItem"),
            key_statement(unit.key, services=["dynamodb"]),
            allow("lambda:InvokeFunction", *functions),
            allow("sagemaker:CreateModel", own["model"], conditions=_model_conditions(self.serving)),
            allow(
                "sagemaker:CreateEndpointConfig", own["endpoint-config"], conditions=_config_conditions(self.serving)
            ),
            allow(["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"], *self._endpoints(), own["endpoint-config"]),
            allow("sagemaker:DescribeModelPackage", self.registry.packages_arn),
            pass_role_statement(execution_role, service=SERVICE),
            *self._volumes(),
        ]

    def watch(self) -> list[iam.PolicyStatement]:
        """Return the machine's permissions to watch, clean up and announce, for a separate policy because of the size limit."""
        own = self._own()
        return [
            # each action except AddTags applies to one type of these resources
            allow(
                [
                    "sagemaker:AddTags",
                    "sagemaker:DeleteEndpoint",
                    "sagemaker:DeleteEndpointConfig",
                    "sagemaker:DeleteModel",
                    "sagemaker:DescribeEndpoint",
                ],
                *self._endpoints(),
                own["endpoint-config"],
                own["model"],
            ),
            allow(
                ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"], *self._made_alarms()
            ),
            *self._watched(),
            describe_alarms_statement(),
            *self._shadow(),
            *self._stop(),
            *self._quotas(),
            put_events_statement(self.business_unit),
        ]

    def scaling(self) -> list[iam.PolicyStatement]:
        """Return the machine's permissions to register and deregister variants, for a separate policy because of the size limit."""
        return scaling_statements(self.scope, spec=self.serving)

    def guard(self, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Return the guard's permissions: start the machine, verify events, and take the lock of an execution that died."""
        return [
            allow("states:StartExecution", machine.state_machine_arn),
            allow("states:DescribeExecution", self._executions(machine)),
            allow("sagemaker:DescribeModelPackage", self.registry.packages_arn),
            self._table("dynamodb:GetItem", "dynamodb:UpdateItem"),
            key_statement(self.business_unit.key, services=["dynamodb"]),
            describe_alarms_statement(),
        ]

    def show(self, machine: sfn.StateMachine, *, below: str) -> list[iam.PolicyStatement]:
        """Return the permissions to read the endpoint's rollouts, reports, alarms and costs, and the parameters of units.

        Args:
            machine: The Deploy machine.
            below: Path of the parameters.
        """
        stack, unit = stack_values(self.scope), self.business_unit
        artifacts, folders = unit.artifacts, [f"{folder}/*" for folder in _SHOWN]

        def arn(service: str, resource: str, name: str, form: cdk.ArnFormat = cdk.ArnFormat.COLON_RESOURCE_NAME) -> str:
            return stack.format_arn(service=service, resource=resource, resource_name=name, arn_format=form)

        slash = cdk.ArnFormat.SLASH_RESOURCE_NAME
        entries = arn("ssm", "parameter", below, slash)
        allowed = {
            ("ssm:GetParameter", "ssm:GetParametersByPath"): [entries, f"{entries}/*"],
            ("dynamodb:GetItem",): [unit.automation_table.table_arn, self.table.table_arn],
            ("s3:GetObject",): [artifacts.arn_for_objects(folder) for folder in folders],
            ("states:ListExecutions",): [machine.state_machine_arn],
            ("states:DescribeExecution", "states:GetExecutionHistory"): [
                arn("states", "execution", f"{machine.state_machine_name}:*")
            ],
            ("cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"): [arn("cloudwatch", "alarm", "*")],
            ("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"): [
                arn("sagemaker", resource, f"{unit.name}-*", slash) for resource in ("endpoint", "endpoint-config")
            ],
            # latency of a rollout's fleets, and daily costs; neither action has a resource type
            ("cloudwatch:GetMetricData", "ce:GetCostAndUsage"): ["*"],
        }
        return [
            *(allow(actions, *on) for actions, on in allowed.items()),
            allow_listing(artifacts.bucket_arn, folders),
            # encrypted data is read through the services that store it
            key_statement(unit.key, services=["dynamodb", "s3"], actions=["kms:Decrypt"]),
        ]

    def abort(self) -> list[iam.PolicyStatement]:
        """Return the permission to set the alarm that rolls a running rollout back."""
        return [self._set_abort_alarm()]

    def spec(self, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Return the permissions to store the serving spec and start the machine, and to delete the endpoint with a record."""
        own, executions = self._own(), self._executions(machine)
        machine_arn = machine.state_machine_arn
        return [
            self._table("dynamodb:GetItem", "dynamodb:UpdateItem"),
            self._specs("s3:GetObject", "s3:PutObject"),
            *self.business_unit.audit_statements(self.endpoint_name),
            key_statement(self.business_unit.key, services=["dynamodb"]),
            allow(["states:ListExecutions", "states:StartExecution"], machine_arn),
            allow("states:StopExecution", executions),
            allow(["sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpoint"], *self._endpoints()),
            allow("sagemaker:DeleteEndpointConfig", own["endpoint-config"]),
            allow("sagemaker:DeleteModel", own["model"]),
            *self._find_made(),
            describe_alarms_statement(),
            self._set_abort_alarm(),
            allow("cloudwatch:DeleteAlarms", self._alarms(), self._probation_alarm()),
        ]

    def _watched(self) -> list[iam.PolicyStatement]:
        """Return the permission to enable the schedule that watches models on probation."""
        if not self.has_watch:
            return []
        rule = rule_arn(self.scope, probation_rule(self.endpoint_name))
        return [allow("events:EnableRule", rule)]

    def _quotas(self) -> list[iam.PolicyStatement]:
        """Return the permission to read instance quotas; none if the fleet has no instances.

        See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_servicequotas.html (no resource type)
        """
        if not self.instance_types():
            return []
        return [allow("servicequotas:ListServiceQuotas", "*")]

    def _traffic(self) -> list[iam.PolicyStatement]:
        """Return the permission to read the live fleet's metrics, by which preflight plans bakes and explains alarms in ALARM.

        See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html (no resource type)
        """
        rollout = self.serving.rollout
        is_planned = self.serving.eks is None and longest_bake(rollout) > rollout.bake
        if not is_planned and not rollout.alarms:
            return []
        return [allow("cloudwatch:GetMetricData", "*")]

    def _shadow(self) -> list[iam.PolicyStatement]:
        """Return the permission to read a shadow's metrics, if absolute limits apply to it."""
        rollout = self.serving.rollout
        if rollout.shadow is None or (rollout.max_error_count is None and rollout.max_latency_ms is None):
            return []
        return [allow("cloudwatch:GetMetricStatistics", "*")]

    def _stop(self) -> list[iam.PolicyStatement]:
        """Return the permissions to stop a new fleet by its responses, if golden requests or captures are checked."""
        if self.serving.rollout.golden is None and self.serving.capture is None:
            return []
        verdict = alarm_arn(self.scope, f"{self.endpoint_name}-rollout-*-{VERDICT}")
        return [
            allow("cloudwatch:SetAlarmState", verdict),
            allow_metrics(ABORT_NAMESPACE),
        ]

    def _evidence(self) -> list[iam.PolicyStatement]:
        """Return the permissions to verify a container: read audit records, archives, and the public signing key."""
        unit, name = self.business_unit, self.endpoint_name
        objects = [
            unit.audit_bucket.arn_for_objects(f"audit/{name}/*"),
            unit.artifacts.arn_for_objects(f"models/{name}/*"),
        ]
        return [allow("s3:GetObject", *objects), self._public_key()]

    def _sign_archives(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read gate results and evaluations, and to write each archive's signature once.

        A pipeline may have another name than its endpoint, so the prefixes are not limited to one.
        """
        objects = self.business_unit.artifacts.arn_for_objects
        return [
            allow("s3:GetObject", *(objects(f"{folder}/*") for folder in ("evaluations", "gates", "models"))),
            allow(
                "s3:PutObject",
                objects(f"models/*/{SIGNATURE_FILE}"),
                conditions=WRITES_ONCE,
            ),
            self._public_key(),
        ]

    def _keep_minutes(self) -> list[iam.PolicyStatement]:
        """Return the permissions to copy the data of a verdict to the audit bucket."""
        unit, name = self.business_unit, self.endpoint_name
        kept = unit.audit_bucket.arn_for_objects(f"minutes/{name}/*")
        return [
            allow("s3:GetObject", unit.artifacts.arn_for_objects(f"{VERDICTS}/{name}/*")),
            allow(["s3:GetObject", "s3:PutObject"], kept),
        ]

    def _audit(self) -> list[iam.PolicyStatement]:
        return [
            self._table("dynamodb:GetItem", "dynamodb:UpdateItem"),
            *self.business_unit.audit_statements(self.endpoint_name),
            # without it S3 returns 403 for a missing record
            allow_listing(self.business_unit.audit_bucket.bucket_arn, f"audit/{self.endpoint_name}/*"),
            key_statement(self.business_unit.key, services=["dynamodb"]),
        ]

    def _public_key(self) -> iam.PolicyStatement:
        return allow("kms:GetPublicKey", self.business_unit.signing_key.key_arn)

    def _volumes(self) -> list[iam.PolicyStatement]:
        """Return the permissions to encrypt instance volumes, if the instance types support a key.

        See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (KmsKeyId)
        """
        if self.serving.kms_key is None:
            return []
        actions = ["kms:CreateGrant", "kms:DescribeKey"]
        return [key_statement(self.business_unit.key, services=["sagemaker"], actions=actions)]

    def _find_made(self) -> list[iam.PolicyStatement]:
        """Return the permissions to find configs, models and temporary endpoints by name and tags."""
        own = self._own()
        return [
            allow("sagemaker:ListTags", self._endpoints()[1], own["endpoint-config"], own["model"]),
            allow(["sagemaker:ListEndpointConfigs", "sagemaker:ListEndpoints", "sagemaker:ListModels"], "*"),
        ]

    def _endpoints(self) -> list[str]:
        """Return the endpoint and its temporary endpoints, which may be leftovers even without golden requests now."""
        return [
            self._own()["endpoint"],
            sagemaker_arn(self.scope, "endpoint", f"{self.endpoint_name}-golden-*"),
        ]

    def _set_abort_alarm(self) -> iam.PolicyStatement:
        abort = alarm_arn(self.scope, f"{self.endpoint_name}-rollout-*-{ABORT}")
        return allow("cloudwatch:SetAlarmState", abort)

    def _executions(self, machine: sfn.StateMachine) -> str:
        return stack_values(self.scope).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{machine.state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )

    def _own(self) -> dict[str, str]:
        names = {
            "endpoint": self.endpoint_name,
            "endpoint-config": f"{self.endpoint_name}-*",
            "model": f"{self.endpoint_name}-*",
        }
        return {resource: sagemaker_arn(self.scope, resource, name) for resource, name in names.items()}

    def _probation_alarm(self) -> str:
        return alarm_arn(self.scope, probation_alarm(self.endpoint_name))

    def _made_alarms(self) -> list[str]:
        """Return the alarms of new fleets and of probation."""
        return [self._alarms(), *([self._probation_alarm()] if self.has_watch else [])]

    def _alarms(self) -> str:
        return alarm_arn(self.scope, f"{self.endpoint_name}-rollout-*")

    def _describe(self) -> iam.PolicyStatement:
        actions = [f"sagemaker:Describe{kind}" for kind in ("Endpoint", "EndpointConfig", "Model", "ModelPackage")]
        return allow(actions, *self._own().values(), self.registry.packages_arn)

    def _table(self, *actions: str) -> iam.PolicyStatement:
        return allow(actions, self.table.table_arn)

    def _specs(self, *actions: str) -> iam.PolicyStatement:
        objects = self.business_unit.artifacts.arn_for_objects(f"specs/{self.endpoint_name}/*")
        return allow(actions, objects)


def _model_conditions(spec: ServingSpec) -> dict[str, Mapping[str, object]]:
    """Return the network conditions of CreateModel: those of the spec, or no VPC if serverless."""
    if spec.subnets:
        return placed(subnets=spec.subnets, security_groups=spec.security_groups, is_isolated=spec.network_isolation)
    return {"Null": {"sagemaker:VpcSubnets": "true", "sagemaker:VpcSecurityGroupIds": "true"}}


def _config_conditions(spec: ServingSpec) -> dict[str, Mapping[str, object]]:
    """Return the conditions of CreateEndpointConfig: the spec's instance types and key, or no instances if serverless."""
    if spec.serverless is not None:
        return {"Null": {"sagemaker:InstanceTypes": "true"}}
    types = [spec.instance_type, *(variant.instance_type for variant in spec.variants or ())]
    conditions: dict[str, Mapping[str, object]] = {
        # without Null, a request without instance types would match
        "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": sorted(set(types))},
        "Null": {"sagemaker:InstanceTypes": "false"},
    }
    if spec.kms_key is not None:
        conditions["StringEquals"] = {"sagemaker:VolumeKmsKey": spec.kms_key}
    return conditions
