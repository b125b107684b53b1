"""Serving of a model behind a load balancer on an existing cluster, in two slots of which one serves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._platform_rules import rule_problems
from mlops_constructs._roles import allow
from mlops_constructs._unit_resources import resource_of
from mlops_constructs._validation import ValidationError, check_pattern, is_known, raise_if_any
from mlops_constructs._warnings import PLAIN_HTTP, warn
from mlops_constructs.eks_inference.eks_capacity import EksCapacity
from mlops_constructs.eks_inference.eks_target import EksTarget
from mlops_constructs.eks_inference.eks_tenant import IEksTenant
from mlops_constructs.eks_inference.manifest_applier import define_file
from mlops_constructs.eks_inference.service_metrics import ServiceMetrics, define_errors_alarm, define_slot_alarms
from mlops_constructs.eks_inference.slot_function import define_slot_function, read_lock, slot_environment
from mlops_constructs.eks_inference.slot_load_balancer import ServiceLoadBalancer
from mlops_constructs.eks_inference.slot_permissions import (
    CAPTURE_PREFIX,
    EksAccess,
    define_association,
    define_pod_role,
    pod_statements,
)
from mlops_constructs.model_endpoint.data_capture import (
    DataCapture,
    PersonalKey,
    define_capture_bucket,
    define_personal_key,
    grant_labels,
    personal_spec,
)
from mlops_constructs.model_endpoint.request_schema import RequestSchema
from mlops_constructs.model_registry import ModelImage
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.rollout import RolloutPolicy
from mlops_constructs.rollout.rollout import Rollout
from mlops_constructs.unit_interface import IBusinessUnit, Profile
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import SLOTS, CaptureSpec, EksSpec
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref, slot_name
from mlops_runtime.eks.manifests import service_manifests
from mlops_runtime.eks.slot_limits import ManifestError, serving_problems, spec_problems

VARIANT = "AllTraffic"
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_NAME_ALLOWED = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
# objects of a slot; the TargetGroupBinding depends on the cluster's controller
_SLOT_KINDS = (
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
)
_ANYWHERE = {"0.0.0.0/0", "::/0"}
_ZONES = 2
_ACCOUNT = "000000000000"


def _image_problem(registry: IModelRegistry) -> str | None:
    """Return the problem of a registry whose images the cluster's nodes cannot pull."""
    if registry.shares_images_of is None:
        return None
    return (
        f"{registry.group_name} may have images of {registry.shares_images_of.name!r} (Images.SHARED), and nodes pull with a role "
        "of the cluster, which the registry does not allow; push the images to this account, and use Images.OWN"
    )


@checked("InvalidDelivery")
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivery of a service's static manifests, which no rollout changes, to the cluster. Use one of the two factories.

    They are its service account and network policy. In every case, the Deploy machine writes the version and number of pods of each
    slot, by server-side apply as field manager ``mlops-constructs``: a rollout is not a commit. A GitOps controller that owns those
    objects too would revert each rollout; exclude ``<endpoint>-blue`` and ``<endpoint>-green`` from what it syncs.

    Example:
        >>> Delivery.git_ops().is_applied
        False
    """

    is_applied: bool

    @classmethod
    def server_side_apply(cls) -> "Delivery":
        """Apply them when the stack is deployed, after a dry run of all; a field that another field manager owns is an error."""
        return cls(is_applied=True)

    @classmethod
    def git_ops(cls) -> "Delivery":
        """Write them to a file, ``manifests_url``, for the repository that Argo CD or Flux reads; the stack applies nothing."""
        return cls(is_applied=False)


@checked("InvalidEksInferenceService")
class EksInferenceService(ServiceMetrics):
    """Serve the approved models of a registry from an EKS cluster. Stateful.

    Defines an internal load balancer with a target group for each of two slots and one weighted rule, the pods' identity, the
    bucket of captures, alarms by slot, and the rollout. Deploy machine, registry, policy and audit chain are the same as for a
    ``ModelEndpoint``: a new model is applied to the slot without traffic, to which traffic is then shifted in steps. In an empty
    account the stack deploys without a model.

    Args:
        scope: Parent.
        id: Construct id.
        tenant: The unit's namespace on a cluster, which determines the unit and the cluster of the service.
        registry: Registry whose approved packages are served.
        name: Name of the model, 2 to 20 lower-case letters, digits, hyphens; the service is ``<unit>-<name>``.
        capacity: Pods of a slot. Default: ``EksCapacity()``: two to ten pods of one core and 1 GiB.
        capture: Data capture. Default: none, so no monitor can run.
        rollout: Rollout of new models. Default: a canary of ten percent of the requests, with ten minutes of bake time.
        certificate: Certificate of the load balancer. Default: none, which only ``Profile.DEVELOPMENT`` allows.
        image: Image, by digest, instead of that of the model packages. Default: the package's.
        delivery: Delivery of the objects that no rollout changes. Default: ``Delivery.server_side_apply()``.

    Raises:
        ValidationError: With everything that the cluster or the load balancer would reject or not support.

    Example:
        >>> service = EksInferenceService(self, "Service", tenant=tenant, registry=registry,
        ...                               name="forecast", certificate=certificate)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        tenant: IEksTenant,
        registry: IModelRegistry,
        name: str,
        capacity: EksCapacity | None = None,
        capture: DataCapture | None = None,
        rollout: RolloutPolicy | None = None,
        certificate: acm.ICertificate | None = None,
        image: ModelImage | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        super().__init__(scope, id)
        business_unit, cluster = tenant.business_unit, tenant.cluster
        self._unit, self._cluster, self._tenant = business_unit, cluster, tenant
        self._name = f"{business_unit.name}-{name}"
        policy = RolloutPolicy.canary(percent=10, bake=cdk.Duration.minutes(10)) if rollout is None else rollout
        self._validate(
            name,
            certificate,
            registry,
            rule_problems(business_unit, self, images={"image": image}, rollout=policy.to_spec()),
        )
        capacity = EksCapacity() if capacity is None else capacity
        tenant.claim(self, self._name, capacity.demand)
        self._capture_bucket = (
            None if capture is None else define_capture_bucket(self, business_unit=business_unit, capture=capture)
        )
        self._personal_key = define_personal_key(
            self,
            "PersonalKey",
            business_unit=business_unit,
            endpoint_name=self._name,
            personal=None if capture is None else capture.personal_data,
        )
        self._balancer = ServiceLoadBalancer(
            self,
            "LoadBalancer",
            business_unit=business_unit,
            cluster=cluster,
            service_name=self._name,
            certificate=certificate,
        )
        self._slot_alarms = self._define_slot_alarms(policy)
        self._errors = define_errors_alarm(
            self, "ErrorsAlarm", service=self, name=self._name, topic=business_unit.topic
        )
        self._role = define_pod_role(
            self,
            "Role",
            business_unit=business_unit,
            cluster=cluster,
            service_name=self._name,
            capture_bucket=self._capture_bucket,
        )
        self._session = iam.PolicyDocument(
            statements=pod_statements(business_unit, self._name, self._capture_bucket), minimize=True
        )
        registry.serve(self._name, self._read_models_of)
        spec = self._render_spec(capacity, capture, policy, image)
        raise_if_any(
            self, "InvalidEksInferenceService", [*spec_problems(spec, known=is_known), *serving_problems(spec)]
        )
        try:
            self._manifests = _standing(spec)
        except ManifestError as error:
            # manifests are rendered at synthesis, so the names in them must be known by then
            raise ValidationError("InvalidEksInferenceService", error.problems, self) from error
        self._manifests_url: str | None = None
        standing = self._deliver(Delivery.server_side_apply() if delivery is None else delivery)
        self._rollout = self._define_rollout(registry, spec, policy, standing)
        if image is not None:
            self._rollout.require_image(image)
        if self._capture_bucket is not None:
            self._rollout.stop_before(self._capture_bucket)
        business_unit.tag(self)

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit of its tenant."""
        return self._unit

    @property
    def endpoint_name(self) -> str:
        """Name of the service, ``<unit>-<name>``, as in ``mlops status``."""
        return self._name

    @property
    def variant(self) -> str:
        """Variant name of captured requests."""
        return VARIANT

    @property
    def url(self) -> str:
        """URL inside the network; the certificate's domain name may point to ``dns_name``."""
        protocol = "https" if self._balancer.port == 443 else "http"
        return f"{protocol}://{self._balancer.dns_name}"

    @property
    def dns_name(self) -> str:
        """DNS name of the load balancer."""
        return self._balancer.dns_name

    @property
    def load_balancer(self) -> ServiceLoadBalancer:
        """Load balancer, target groups and the weighted rule."""
        return self._balancer

    @property
    def rollout(self) -> Rollout:
        """Rollout table, Deploy machine and functions."""
        return self._rollout

    @property
    def role(self) -> iam.IRole:
        """Role that the pods assume."""
        return self._role

    @property
    def capture_bucket(self) -> s3.IBucket | None:
        """Bucket of captures and labels; None without capture."""
        return self._capture_bucket

    def grant_labels(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant what `ModelEndpoint.grant_labels` grants, for the labels and captured requests of this service.

        Args:
            grantee: The principal.

        Raises:
            ValidationError: If the service captures no data that labels could be joined with.
        """
        return grant_labels(
            grantee,
            self,
            endpoint_name=self._name,
            captures=self._capture_bucket,
            business_unit=self._unit,
            table=self.rollout.table,
        )

    @property
    def personal_key(self) -> PersonalKey | None:
        """Key of the hash of personal fields, which clients need to read; None if no field is hashed."""
        return self._personal_key

    @property
    def alarms(self) -> dict[str, cloudwatch.IAlarm]:
        """Alarms of the serving slot, by subject: ``errors``."""
        return {"errors": self._errors}

    @property
    def slot_alarms(self) -> Mapping[str, list[cloudwatch.Alarm]]:
        """Alarms of each slot: errors, latency, unhealthy pods."""
        return dict(self._slot_alarms)

    @property
    def manifests(self) -> list[Manifest]:
        """The static objects of the service: the pods' service account and their network policy."""
        return list(self._manifests)

    @property
    def manifests_url(self) -> str | None:
        """URL of the file with the manifests, with ``Delivery.git_ops()``; None otherwise."""
        return self._manifests_url

    def allow_from(self, group: ec2.ISecurityGroup) -> None:
        """Allow clients in a security group to call the service. No other client can.

        Args:
            group: The security group. It needs an egress rule of its own.
        """
        self._balancer.allow_from(group)

    def keep_promise(self, request: RequestSchema) -> None:
        """Reject candidates that would reject requests which an API allows, like `ModelEndpoint.keep_promise`.

        Args:
            request: Schema of the requests that the API accepts.
        """
        self.rollout.keep_promise(request.promise)

    def answer_stage(self, stage: str) -> None:
        """Accept requests of an API Gateway stage, whose path starts with the stage's name; called by `InferenceApi.add_model`."""
        self._balancer.answer_stage(stage)
        self._note_rule(self._rollout)

    def _validate(
        self, name: str, certificate: acm.ICertificate | None, registry: IModelRegistry, loosened: list[str]
    ) -> None:
        is_development = self._unit.profile is Profile.DEVELOPMENT
        own = self._cluster.load_balancer_subnets
        zones = len(self._unit.subnet_ids) if own is None else len(own)
        raise_if_any(
            self,
            "InvalidEksInferenceService",
            [
                check_pattern("name", name, pattern=_NAME, allowed=_NAME_ALLOWED),
                None
                if zones >= _ZONES
                else f"a load balancer needs subnets in {_ZONES} zones, the unit has {zones}; create the unit with "
                "network=Network.create(availability_zones=2)",
                None
                if certificate is not None or is_development
                else "certificate must be set in Profile.PRODUCTION, got none: requests would cross the network unencrypted; "
                "use a certificate of AWS Certificate Manager",
                self._trust_problem(registry),
                _image_problem(registry),
                *loosened,
            ],
        )
        if certificate is None:
            warn(self, PLAIN_HTTP, service=self._name)

    def _trust_problem(self, registry: IModelRegistry) -> str | None:
        """Return why pods may not load pickles: code in a pickle could send data to any address."""
        if "pickle" not in registry.trust or not _ANYWHERE & {str(cidr) for cidr in self._cluster.egress_cidrs}:
            return None
        return (
            f"{registry.group_name} allows pickles, which may run any code, so pods may only call the endpoints of S3, got "
            f"egress_cidrs {', '.join(self._cluster.egress_cidrs)}; set EksCluster(egress_cidrs=) to their addresses, or remove "
            "'pickle' from the registry's trust"
        )

    def _define_slot_alarms(self, policy: RolloutPolicy) -> dict[str, list[cloudwatch.Alarm]]:
        define = partial(
            define_slot_alarms, self, service=self, name=self._name, policy=policy.to_spec(), topic=self._unit.topic
        )
        return {"blue": define("Blue", slot="blue"), "green": define("Green", slot="green")}

    def _render_spec(
        self, capacity: EksCapacity, capture: DataCapture | None, policy: RolloutPolicy, image: ModelImage | None
    ) -> ServingSpec:
        key, cluster = self._unit.key.key_arn, self._cluster
        return ServingSpec(
            endpoint=self._name,
            variant=VARIANT,
            instance_type="",
            instance_count=0,
            execution_role=self._role.role_arn,
            subnets=(),
            security_groups=(),
            rollout=policy.to_spec(),
            network_isolation=False,  # pods fetch their model and write their captures themselves
            capture=None
            if capture is None or self._capture_bucket is None
            else CaptureSpec(
                percent=capture.sampling_percent,
                destination=self._capture_bucket.s3_url_for_object(CAPTURE_PREFIX),
                kms_key=key,
                personal=personal_spec(capture.personal_data, self._personal_key),
            ),
            tags=dict(self._unit.tags),
            eks=EksSpec(
                cluster=cluster.name,
                namespace=self._tenant.namespace,
                service_account=self._name,
                rule=self._balancer.rule_arn,
                target_groups=self._balancer.target_group_arns,
                minimum=capacity.min_pods,
                maximum=capacity.max_pods,
                cpu=capacity.cpu,
                memory=capacity.memory,
                ingress_cidrs=cluster.subnet_cidrs,
                egress_cidrs=cluster.egress_cidrs,
                alarms={slot: tuple(a.alarm_name for a in found) for slot, found in self._slot_alarms.items()},
                cpu_target=capacity.target_cpu_percent,
                architecture=capacity.architecture,
                binding_api=cluster.binding_api,
                image=None if image is None else image.serving_uri(self),
                dns_cidrs=cluster.dns_cidrs,
                zones=self._balancer.zones,
            ),
        )

    def _deliver(self, delivery: Delivery) -> list[Construct]:
        """Apply the static objects to the cluster, and return the constructs that must exist before a slot."""
        association = define_association(
            self,
            "Identity",
            cluster=self._cluster,
            namespace=self._tenant.namespace,
            service_account=self._name,
            role=self._role,
            session=self._session,
        )
        owned = [*self._slot_objects()]
        manifests = self._manifests if delivery.is_applied else []
        if not delivery.is_applied:
            self._manifests_url = define_file(self, "File", manifests=self._manifests).s3_object_url
        # this resource also deletes the objects that the Deploy machine applied, for both kinds of delivery
        applied = self._tenant.add_manifests(self, "Manifests", name=self._name, manifests=manifests, owned=owned)
        # bindings are deleted before the target groups that they refer to
        applied.node.add_dependency(self._balancer)
        return [association, applied]

    def _read_models_of(self, pipeline: str) -> None:
        """Let sessions of pods read the models that a pipeline of another name registers, as their role allows."""
        models = self._unit.artifacts.arn_for_objects(f"models/{pipeline}/*")
        self._session.add_statements(allow("s3:GetObject", models))

    def _slot_objects(self) -> list[Ref]:
        kinds = ((self._cluster.binding_api, "TargetGroupBinding"), *_SLOT_KINDS)
        return [
            Ref(api_version=api, kind=kind, namespace=self._tenant.namespace, name=slot_name(self._name, slot))
            for slot in SLOTS
            for api, kind in kinds
        ]

    def _define_rollout(
        self, registry: IModelRegistry, spec: ServingSpec, policy: RolloutPolicy, standing: list[Construct]
    ) -> Rollout:
        environment = slot_environment(self._balancer, cluster=self._cluster, namespace=self._tenant.namespace)
        slot = define_slot_function(
            self,
            "Slot",
            business_unit=self._unit,
            cluster=self._cluster,
            service_name=self._name,
            environment=environment,
        )
        self._tenant.add_writer(self, "SlotEntry", function=slot)
        rollout = Rollout(
            self,
            "Rollout",
            business_unit=self._unit,
            registry=registry,
            spec=spec,
            policy=policy,
            target=EksTarget(endpoint_name=self._name, slot_arn=slot.function_arn),
            execution_role=self._role,
            access=partial(EksAccess, cluster=self._cluster, rule_arn=self._balancer.rule_arn),
            environment=environment,
            url=self.url,
            slot_urls=None if policy.checks.golden is None else self._balancer.open_slots(),
        )
        read_lock(slot, table=rollout.table)
        self._tenant.add_reader(self, "PreflightEntry", function=rollout.preflight_function)
        self._tenant.add_reader(self, "RecordEntry", function=rollout.record_function)
        # the spec's resource starts the Deploy machine, which needs all of these; on deletion it stops the machine first
        resource = rollout.node.find_child("Spec")
        resource.node.add_dependency(
            *standing, *(self.node.find_child(entry) for entry in ("SlotEntry", "PreflightEntry", "RecordEntry"))
        )
        self._note_rule(rollout)
        return rollout

    def _note_rule(self, rollout: Rollout) -> None:
        """Update the spec's resource with the rule: CloudFormation resets the weights then, and the machine restores them."""
        written = resource_of(rollout.node.find_child("Spec"), cdk.CfnResource)
        written.add_property_override("Rule", self._balancer.rule_hash)


def _standing(spec: ServingSpec) -> list[Manifest]:
    """Return the static objects of a service, with placeholders for rule, target groups and zones, which are tokens."""
    if spec.eks is None:
        raise TypeError("the spec of a service on EKS must have the part eks, got none")
    prefix = f"arn:aws:elasticloadbalancing:us-east-1:{_ACCOUNT}"
    known = replace(
        spec.eks,
        rule=f"{prefix}:listener-rule/app/rule",
        target_groups={slot: f"{prefix}:targetgroup/{slot}" for slot in SLOTS},
        zones=(),
    )
    return service_manifests(replace(spec, eks=known, capture=None))
