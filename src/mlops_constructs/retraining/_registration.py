"""How a candidate that passed is registered: with its lineage, then approved by policy, or left for a person who is told."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_constructs._states import State, assign, choose, task
from mlops_constructs.model_registry.messages import policy_description

# what people who approve are told; variables of the machine
MESSAGE_VARIABLES = {
    "package": "$package",
    "reason": "$reason",
    "execution": "$execution",
    "training_set_id": "$gate.training_set_id",
    "model_sha256": "$gate.model_sha256",
    "evaluation_uri": "$gate.evaluation_uri",
}
_FROM_GATE = (
    "artifact_sha256",
    "model_sha256",
    "training_set_id",
    "baseline_uri",
    "evaluation_uri",
    "evaluation_sha256",
    "baseline_sha256",
    "signing_key",
    "code",
    "container_fields",
    "container_sha256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Where packages are registered and who approves them; ARNs and names may be tokens.

    ``waiting_message`` are the arguments of ``sns:publish``, ``code_sha256`` names the training code.
    """

    group_name: str
    image_uri: str
    code_sha256: str
    is_automatic: bool
    waiting_message: Mapping[str, object]


def registration_states(plan: Registration, *, partition: str) -> dict[str, State]:
    """Return the states from Register on; they end in Release.

    The policy approves only while the unit's automation works: what passes in a pause or freeze waits for a person, and says why.

    Args:
        plan: Where, and by whom.
        partition: AWS partition.
    """
    states: dict[str, State] = {
        "Register": task(
            "aws-sdk:sagemaker:createModelPackage",
            _package(plan),
            partition=partition,
            next_state="MayApprove" if plan.is_automatic else "TellPeople",
            catch="Caught",
            assign={"package": "{% $states.result.ModelPackageArn %}"},
        ),
        # a lost message never changes the outcome of what it tells about
        "TellPeople": task(
            "sns:publish",
            dict(plan.waiting_message),
            partition=partition,
            next_state="Registered",
            catch="Registered",
        ),
        "Registered": assign("Release", outcome="REGISTERED"),
    }
    if not plan.is_automatic:
        return states
    approval = {
        "ModelPackageArn": "{% $package %}",
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": policy_description(reason="$reason", binding="$gate.container_sha256"),
    }
    return {
        **states,
        "MayApprove": choose(("$gate.may_approve", "Approve"), default="LeavePending"),
        "LeavePending": assign("TellPeople", reason="{% 'left for a person, ' & $gate.rest & '; ' & $reason %}"),
        "Approve": task(
            "aws-sdk:sagemaker:updateModelPackage", approval, partition=partition, next_state="Approved", catch="Caught"
        ),
        "Approved": assign("Release", outcome="APPROVED"),
    }


def _package(plan: Registration) -> dict[str, object]:
    metadata = {name: f"{{% $gate.{name} %}}" for name in _FROM_GATE}
    return {
        "ModelPackageGroupName": plan.group_name,
        "ModelPackageDescription": "{% 'trained by ' & $name %}",
        "ModelApprovalStatus": "PendingManualApproval",
        # the registry answers a repeated call with the package of the first one
        "ClientToken": "{% $substring($hash($execution, 'SHA-256'), 0, 32) %}",
        "CustomerMetadataProperties": {
            **metadata,
            "execution": "{% $execution %}",
            "code_sha256": plan.code_sha256,
            "champion": "{% $exists($champion.model_package_arn) ? $champion.model_package_arn : 'none' %}",
            "trigger": "{% $request.trigger & '' %}",
        },
        "InferenceSpecification": {
            # as the gate bound it: the server compares both files of the archive with what was evaluated
            "Containers": ["{% $gate.container %}"],
            "SupportedContentTypes": ["application/json", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
    }
