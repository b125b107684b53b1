"""Definition of the Promote state machine: copies a release, verifies and stores it by its hashes, registers and approves it.

States pass no contents of objects. An execution that dies leaves copies that expire, or a registered package that the next one
finds; the target's group contains a complete release or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_constructs._state_machine import (
    EXECUTION,
    NOW,
    State,
    assign,
    choose,
    each,
    fail,
    invoke,
    machine,
    put_event,
    task,
)
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.promotion.release_reader import RECORD_FILE

SECONDS = 3600
_COPY_SECONDS = 300  # for 5 GB
_KEEP_SECONDS = 840
# values of the approvers' message, as variables of the machine
MESSAGE_VARIABLES = {
    "package": "$package",
    "reason": "$reason",
    "execution": "$execution",
    "training_set_id": "$facts.training_set_id",
    "model_sha256": "$facts.model_sha256",
    "evaluation_uri": "$kept.metadata.evaluation_uri",
}
_RELEASE = {"record_uri": "{% $uri %}", "record_sha256": "{% $sha256 %}", "execution": "{% $execution %}"}
# errors that are not retried
_ABSENT: State = {
    "ErrorEquals": ["Ecr.ImageNotFoundException", "Ecr.RepositoryNotFoundException"],
    "MaxAttempts": 0,
}
_REFUSAL = """{% $outcome & ': ' & $replace($reason, '; ', '\\n')
    & '\\n\\nRecord: ' & $uri & '\\nExecution: ' & $execution %}"""
_MAY_PASS = "{% $kept.may_pass %}"  # noqa: S105 - not a password
_NO_IMAGE = """{{% 'image ' & $plan.image.digest & ' of repository ' & $plan.image.repository & ' was not found in the registry of '
    & '{account} in {region}: ' & $caught & '; copy it there by digest, and the next check takes the release' %}}"""
_NO_SHARED_IMAGE = """{{% 'image ' & $plan.image.digest & ' of repository ' & $plan.image.repository & ' was found neither in the '
    & 'registry of {here} in {region} (' & $not_here & ') nor in that of {name}, {source}, there (' & $caught & '); push it to one '
    & 'of them by digest, or let the policy of the repository admit this account (mlops accounts show prints the statements), and '
    & 'the next check takes the release' %}}"""
_IS_OFFER = r"$match($uri, /^s3:\/\/[a-z0-9.-]+\/releases\/{group}\/[0-9a-f]+\.json$/) and $length($sha256) = 64"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotePlan:
    """Source, functions and registration of one target; ARNs and names may be tokens.

    ``waiting_message`` and, with a chat topic, ``waiting_notification`` are arguments of ``sns:publish``; ``approval_description``
    is the description of an automatic approval, an expression. With ``shares_images``, images may be in the source's registry.
    """

    unit_name: str
    group_name: str
    here: LinkedEnvironment
    source: LinkedEnvironment
    source_name: str
    artifacts_bucket: str
    plan_arn: str
    keeper_arn: str
    bus_name: str
    topic_arn: str
    is_automatic: bool
    approval_description: str
    waiting_message: Mapping[str, object]
    waiting_notification: Mapping[str, object] | None = None
    shares_images: bool = False


def promote_machine(plan: PromotePlan, *, partition: str = "aws") -> dict[str, object]:
    """Return the definition of the machine that takes one release, or refuses it with a list of its problems.

    Args:
        plan: Plan of the target.
        partition: AWS partition. Default: ``aws``.
    """
    return machine(
        comment=f"Promote {plan.group_name}: copy a release of {plan.source_name}, check, register, approve",
        seconds=SECONDS,
        states={
            **_copy_states(plan),
            **(_shared_image_states(plan) if plan.shares_images else {}),
            **_register_states(plan),
            **_end_states(plan),
        },
        partition=partition,
    )


def _copied(plan: PromotePlan, *, source: str, key: str) -> dict[str, object]:
    """Return the arguments of a copy from the source, with the owners of both buckets and S3's checksum of the copy."""
    return {
        "Bucket": plan.artifacts_bucket,
        "Key": key,
        "CopySource": source,
        "ChecksumAlgorithm": "SHA256",
        "ExpectedBucketOwner": plan.here.account,
        "ExpectedSourceBucketOwner": plan.source.account,
    }


def _copy_states(plan: PromotePlan) -> dict[str, State]:
    prefix = f"'incoming/{plan.group_name}/' & $states.context.Execution.Name"
    copy = task(
        "aws-sdk:s3:copyObject",
        _copied(plan, source="{% $states.input.source %}", key="{% $states.input.incoming %}"),
        next_state="IsCopied",
        catch="IsCopied",
        timeout=_COPY_SECONDS,
    )
    del copy["Catch"]  # the Map's, as a variable inside must not have the name of an outer one
    return {
        "Start": assign(
            "IsOffer",
            uri="{% $states.input.record_uri & '' %}",
            sha256="{% $states.input.record_sha256 & '' %}",
            execution=EXECUTION,
            outcome="FAILED",
            reason="",
            caught="",
            package="",
            binding="",
            facts={},
            may_pass=False,
        ),
        # the role may read all records of the unit, so the input is limited to the group here
        "IsOffer": choose((_IS_OFFER.format(group=plan.group_name), "Read"), default="NoOffer"),
        "NoOffer": fail(
            "NO_OFFER", f"{{% $uri & ' with SHA-256 ' & $sha256 & ' is not a release record of {plan.group_name}' %}}"
        ),
        "Read": task(
            "aws-sdk:s3:copyObject",
            _copied(plan, source="{% $substringAfter($uri, 's3://') %}", key=f"{{% {prefix} & '/{RECORD_FILE}' %}}"),
            next_state="Plan",
            catch="NotRead",
        ),
        "NotRead": assign(
            "Refused",
            reason="{% 'the release record ' & $uri & ' could not be copied: ' & $caught %}",
            may_pass=True,
        ),
        "Plan": _plan_state(
            plan,
            next_state="IsTaken",
            assign={
                "plan": "{% $states.result.Payload %}",
                "reason": "{% $states.result.Payload.reason %}",
                "may_pass": "{% $states.result.Payload.may_pass %}",
                "facts": "{% $exists($states.result.Payload.facts) ? $states.result.Payload.facts : {} %}",
            },
        ),
        "IsTaken": choose(("$plan.verdict = 'TAKEN'", "FindImage"), default="Refused"),
        # before any copy, as a model without its image cannot serve
        "FindImage": _find_image(plan, plan.here, catch="NoImage"),
        "NoImage": assign(
            "Refused",
            reason=_NO_IMAGE.format(account=plan.here.account, region=plan.here.region),
            may_pass=True,
        ),
        "CopyEach": each(
            "{% $plan.copies %}",
            {"Copy": copy, "IsCopied": {"Type": "Succeed"}},
            next_state="AskAgain",
            catch="NotCopied",
            concurrency=4,
        ),
        "NotCopied": assign(
            "Refused", reason="{% 'an object of the release could not be copied: ' & $caught %}", may_pass=True
        ),
        # the source may withdraw its approval during the copies, so check again before storing and signing
        "AskAgain": _plan_state(plan, next_state="IsStillTaken", assign={"again": "{% $states.result.Payload %}"}),
        "IsStillTaken": choose(("$again.verdict = 'TAKEN'", "Keep"), default="NotTaken"),
        "NotTaken": assign("Refused", reason="{% $again.reason %}", may_pass="{% $again.may_pass %}"),  # noqa: S106
        "Keep": invoke(
            plan.keeper_arn,
            {**_RELEASE, "step": "keep", **({"image_registry": "{% $image_registry %}"} if plan.shares_images else {})},
            next_state="IsKept",
            catch="Caught",
            assign={"kept": "{% $states.result.Payload %}"},
            timeout=_KEEP_SECONDS,
        ),
        "IsKept": choose(("$kept.verdict = 'KEPT'", "IsKnown"), default="NotKept"),
        "NotKept": assign("Refused", reason="{% $kept.reason %}", may_pass=_MAY_PASS),
    }


def _plan_state(plan: PromotePlan, *, next_state: str, assign: Mapping[str, str]) -> State:
    """Return the state that checks the record and, if the source is in the same Region, the package's approval there."""
    return invoke(
        plan.plan_arn,
        {**_RELEASE, "now": NOW},
        next_state=next_state,
        catch="Caught",
        assign=dict(assign),
    )


def _find_image(plan: PromotePlan, where: LinkedEnvironment, *, catch: str) -> State:
    """Return the state that checks whether a registry has the image; the registry becomes part of the package's image URI."""
    return task(
        "aws-sdk:ecr:describeImages",
        {
            "RegistryId": where.account,
            "RepositoryName": "{% $plan.image.repository %}",
            "ImageIds": [{"ImageDigest": "{% $plan.image.digest %}"}],
        },
        next_state="CopyEach",
        catch=catch,
        assign={"image_registry": where.account} if plan.shares_images else None,
        retry=[_ABSENT],
    )


def _shared_image_states(plan: PromotePlan) -> dict[str, State]:
    """Return the states for an image missing in this account's registry: check the source's, or refuse the release."""
    return {
        "NoImage": assign("FindShared", not_here="{% $caught %}"),
        "FindShared": _find_image(plan, plan.source, catch="NoSharedImage"),
        "NoSharedImage": assign(
            "Refused",
            reason=_NO_SHARED_IMAGE.format(
                here=plan.here.account, source=plan.source.account, name=plan.source_name, region=plan.here.region
            ),
            may_pass=True,
        ),
    }


def _register_states(plan: PromotePlan) -> dict[str, State]:
    after_waiting = "Registered" if plan.waiting_notification is None else "TellChat"
    arms = [("$decided.is_other", "NotOurs"), ("$decided.is_approved", "Approved")]
    if plan.is_automatic:
        arms.append(("$decided.may_approve", "Approve"))
    states: dict[str, State] = {
        "IsKnown": choose(("$kept.package != ''", "Known"), default="Register"),
        "Known": assign("Decide", package="{% $kept.package %}", binding="{% $kept.binding %}"),
        "Register": task(
            "aws-sdk:sagemaker:createModelPackage",
            _package(plan),
            next_state="Decide",
            catch="Caught",
            assign={"package": "{% $states.result.ModelPackageArn %}", "binding": "{% $kept.binding %}"},
        ),
        "Decide": invoke(
            plan.keeper_arn,
            {
                **_RELEASE,
                "step": "decide",
                "package": "{% $package %}",
                "binding": "{% $binding %}",
                "model_sha256": "{% $facts.model_sha256 %}",
                "released_at": "{% $kept.released_at %}",
                "now": NOW,
            },
            next_state="MayApprove",
            catch="Caught",
            assign={"decided": "{% $states.result.Payload %}"},
        ),
        "MayApprove": choose(*arms, default="IsLeft"),
        "NotOurs": assign("Refused", reason="{% $decided.rest %}", package="", may_pass=True),
        "IsLeft": choose(("$decided.rest != ''", "LeavePending"), default="TellPeople"),
        "LeavePending": assign(
            "TellPeople", reason="{% 'not approved automatically: ' & $decided.rest & '; ' & $reason %}"
        ),
        # a failed notification does not change the outcome
        "TellPeople": task(
            "sns:publish",
            dict(plan.waiting_message),
            next_state=after_waiting,
            catch=after_waiting,
        ),
        "Registered": assign("Record", outcome="REGISTERED"),
        "Approved": assign("Record", outcome="APPROVED"),
    }
    if plan.waiting_notification is not None:
        states["TellChat"] = task(
            "sns:publish",
            dict(plan.waiting_notification),
            next_state="Registered",
            catch="Registered",
        )
    if plan.is_automatic:
        states["Approve"] = task(
            "aws-sdk:sagemaker:updateModelPackage",
            {
                "ModelPackageArn": "{% $package %}",
                "ModelApprovalStatus": "Approved",
                "ApprovalDescription": plan.approval_description,
            },
            next_state="Approved",
            catch="Caught",
        )
    return states


def _package(plan: PromotePlan) -> dict[str, object]:
    return {
        "ModelPackageGroupName": plan.group_name,
        "ModelPackageDescription": f"released by {plan.source_name}",
        "ModelApprovalStatus": "PendingManualApproval",
        # a repeated call returns the package of the first one
        "ClientToken": "{% $substring($sha256, 0, 36) %}",
        "CustomerMetadataProperties": "{% $kept.metadata %}",
        "InferenceSpecification": {
            "Containers": ["{% $kept.container %}"],
            "SupportedContentTypes": "{% $kept.content_types %}",
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
    }


def _end_states(plan: PromotePlan) -> dict[str, State]:
    return {
        "Refused": assign("Record", outcome="REFUSED"),
        "Caught": assign("Record", outcome="FAILED", reason="{% $caught %}"),
        "Record": invoke(
            plan.keeper_arn,
            {
                **_RELEASE,
                "step": "record",
                "outcome": "{% $outcome %}",
                "reason": "{% $reason %}",
                "package": "{% $package %}",
                "binding": "{% $binding %}",
                "facts": "{% $facts %}",
                "may_pass": "{% $may_pass %}",
                "now": NOW,
            },
            next_state="IsNews",
            catch="TellRefusal",
            assign={name: f"{{% $states.result.Payload.{name} %}}" for name in ("is_news", "reason", "package")},
        ),
        "IsNews": choose(("$is_news and $outcome in ['REFUSED', 'FAILED']", "TellRefusal"), default="Announce"),
        "TellRefusal": task(
            "sns:publish",
            {
                "TopicArn": plan.topic_arn,
                "Subject": f"{plan.group_name}: a release of {plan.source_name} was not taken"[:100],
                "Message": _REFUSAL,
            },
            next_state="Announce",
            catch="Announce",
        ),
        "Announce": put_event(
            bus_name=plan.bus_name,
            source=event_source(plan.unit_name),
            detail_type=DetailType.PROMOTION_FINISHED.value,
            detail={
                "version": "mlops.event/1",
                "id": "{% $execution %}",
                "subject": plan.group_name,
                "outcome": "{% $outcome %}",
                "reason": "{% $reason %}",
                "attributes": {
                    "record_uri": "{% $uri %}",
                    "record_sha256": "{% $sha256 %}",
                    "package": "{% $package %}",
                },
            },
            next_state="Finish",
        ),
        "Finish": choose(("$outcome in ['REFUSED', 'FAILED']", "DidNotPromote"), default="Done"),
        "Done": {
            "Type": "Pass",
            "Output": {"outcome": "{% $outcome %}", "reason": "{% $reason %}", "package": "{% $package %}"},
            "End": True,
        },
        "DidNotPromote": fail("{% $outcome %}", "{% $reason %}"),
    }
