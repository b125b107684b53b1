"""The source side of promotions: resource policies that let targets read releases, and events that announce them.

No principal of the source may write to another account. Each target's promote role, identified by its fixed name, reads packages
and copies objects; the source's sender role only puts events on inboxes.
"""

import json
from collections.abc import Mapping, Sequence

import aws_cdk as cdk
import jsii
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct, IConstruct, IValidation
from mlops_constructs._roles import rendered_length
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import raise_if_any
from mlops_constructs._warnings import KEY_OF_OTHERS, warn
from mlops_constructs.compliance import acknowledge_all
from mlops_constructs.promotion.environment import Environment, neighbour_problems
from mlops_constructs.promotion.link_statements import pipeline_objects
from mlops_constructs.promotion.served_models import ServedModels
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.promotion.environment_link import LinkedEnvironment

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_PutModelPackageGroupPolicy.html
MAXIMUM_GROUP_POLICY = 20_480
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
MAXIMUM_BUCKET_POLICY = 20_480

_READER = (
    "the statement lets one role of that account, by its fixed name, read releases and nothing else; rejected: that role as "
    "principal, which S3 and KMS refuse before it exists, so that the two stacks could be deployed in no order"
)


class Offer(Construct):
    """Permissions and announcements of a registry's releases for its targets. Stateless.

    Args:
        scope: Construct of the registry.
        id: Construct id.
        business_unit: Owning business unit, defined in the same app as its artifacts bucket.
        model: Name of the model, without the unit's.
        group: The package group, which gets a resource policy.
        targets: Environments that may take releases.
        served: Construct with the mailbox that sends to them.

    Raises:
        ValidationError: If an environment cannot be a target, the unit's name is a token, or its bucket is of another stack.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        model: str,
        group: sagemaker.CfnModelPackageGroup,
        targets: Sequence[Environment],
        served: ServedModels,
    ) -> None:
        super().__init__(scope, id)
        stack = stack_values(self)
        here = LinkedEnvironment(account=stack.account, region=stack.region)
        self._bucket, self._group_name = business_unit.artifacts, f"{business_unit.name}-{model}"
        links = [served.link(target=target.linked) for target in targets]
        # targets in another Region do not read packages, as their functions cannot reach services of this Region
        group_statements = [link.group_statement() for link in links if link.target.region == here.region]
        if group_statements:
            policy = {"Version": "2012-10-17", "Statement": group_statements}
            raise_if_any(scope, "InvalidModelRegistry", [_group_problem(policy, targets)])
            group.model_package_group_policy = policy
            _acknowledge_readers(group, [target for target in targets if target.region == here.region])
        self._objects = [link.bucket_statement(self._bucket.bucket_arn) for link in links]
        added = [self._bucket.add_to_resource_policy(statement).statement_added for statement in self._objects]
        raise_if_any(scope, "InvalidModelRegistry", [None if all(added) else _bucket_problem(business_unit)])
        self.node.add_validation(_BucketPolicyCheck(self._bucket, targets))
        _acknowledge_readers(self._bucket.policy, targets)
        keys = [link.key_statement() for link in links]
        added = [business_unit.key.add_to_resource_policy(statement).statement_added for statement in keys]
        if all(added):
            _acknowledge_readers(business_unit.key, targets)
        else:
            wanted = json.dumps([statement.to_statement_json() for statement in keys])
            warn(self, KEY_OF_OTHERS, unit=business_unit.name, statements=wanted)
        scope_of_reports = Construct(self, "Told")
        self._rules: list[events.Rule] = []
        for target, link in zip(targets, links, strict=True):
            rule = events.Rule(
                scope_of_reports,
                target.name,
                event_bus=business_unit.bus,
                description=f"Releases of {self._group_name}, for {target.name}",
                event_pattern=events.EventPattern(
                    source=[event_source(business_unit.name)],
                    detail_type=[DetailType.MODEL_RELEASED.value],
                    detail={"subject": [self._group_name], "outcome": [Outcome.RELEASED.value]},
                ),
            )
            served.mailbox.send(rule, link, link.target)
            self._rules.append(rule)

    @property
    def rules(self) -> list[events.Rule]:
        """Rules that announce releases to targets."""
        return self._rules

    def admit(self, pipeline: str) -> None:
        """Allow targets to copy models that a pipeline with another name registers in the group.

        Args:
            pipeline: Name of the pipeline, ``<unit>-<name>``.
        """
        if pipeline == self._group_name:
            return
        for statement in self._objects:
            statement.add_resources(*pipeline_objects(self._bucket.bucket_arn, pipeline))


def _acknowledge_readers(construct: IConstruct | None, targets: Sequence[Environment]) -> None:
    if construct is not None:
        accounts = dict.fromkeys(target.account for target in targets)
        acknowledge_all(construct, [f"Mlops-PolicyPrincipal[{account}]" for account in accounts], _READER)


def offer_problems(scope: IConstruct, unit: IBusinessUnit, targets: Sequence[Environment]) -> list[str]:
    """Return why a stack cannot release to targets.

    Args:
        scope: Construct of the registry.
        unit: Owning business unit.
        targets: Environments that may take releases.
    """
    problems = neighbour_problems(stack_of(scope), others=targets)
    if cdk.Token.is_unresolved(unit.name):
        problems.append("the unit's name must be known at synthesis, as both accounts' policies name it; write it out")
    return problems


def _group_problem(policy: Mapping[str, object], targets: Sequence[Environment]) -> str | None:
    size = len(json.dumps(policy, separators=(",", ":")))
    if size <= MAXIMUM_GROUP_POLICY:
        return None
    return (
        f"the policy of the package group has {size} characters for {len(targets)} targets, at most {MAXIMUM_GROUP_POLICY} are "
        "allowed; list fewer in deploy_to, and let one of them release to the others"
    )


def _bucket_problem(unit: IBusinessUnit) -> str:
    return (
        f"the artifacts bucket of unit {unit.name!r} belongs to another stack, so its policy cannot allow targets to copy "
        "releases; define the registry with deploy_to in the stack that defines the unit"
    )


@jsii.implements(IValidation)
class _BucketPolicyCheck:
    """Checks the size of the bucket's policy at the end of synthesis, when all pipelines are known."""

    def __init__(self, bucket: s3.IBucket, targets: Sequence[Environment]) -> None:
        self._bucket, self._targets = bucket, targets

    def validate(self) -> list[str]:
        policy = self._bucket.policy
        size = 0 if policy is None else rendered_length(stack_of(policy).resolve(policy.document))
        if size <= MAXIMUM_BUCKET_POLICY:
            return []
        return [
            f"the policy of the artifacts bucket has about {size} characters, at most {MAXIMUM_BUCKET_POLICY} are allowed, got "
            f"{len(self._targets)} targets; list fewer in deploy_to, and let one of them release to the others"
        ]
