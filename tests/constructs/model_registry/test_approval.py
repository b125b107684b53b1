"""Approval of models: who approves, and what the Retrain machine writes, evaluated by the embedded cloud's interpreter."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from mlops_constructs import Approval, ValidationError
from mlops_constructs._state_machine import task
from mlops_constructs.model_registry.approval import policy_description, waiting_message, waiting_notification
from mlops_runtime.aws_api import check_machine
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.chat_notification import ChatNotification, NotificationContent, NotificationMetadata
from mlops_runtime.registry.package_approval import bound_by, is_automatic

BOUND = "ab" * 32
GIVEN = {
    "package": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7",
    "reason": "loss against naive -20.1% to -18.0%, must be below +0.0%",
    "execution": "arn:aws:states:us-east-1:123456789012:execution:Retrain:alarm-1",
    "gate": {
        "training_set_id": "c" * 64,
        "model_sha256": "d" * 64,
        "evaluation_uri": "s3://a/e.json",
        "binding": BOUND,
    },
}
VARIABLES = {
    "package": "$states.input.package",
    "reason": "$states.input.reason",
    "execution": "$states.input.execution",
    **{name: f"$states.input.gate.{name}" for name in ("training_set_id", "model_sha256", "evaluation_uri")},
}


def _machine(integration: str, arguments: object) -> dict[str, object]:
    state = task(integration, arguments, next_state="End", catch="End")
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Call",
        "States": {"Call": state, "End": {"Type": "Pass", "Output": {}, "End": True}},
    }


@pytest.mark.parametrize("reason", [GIVEN["reason"], "x" * 5000])
def test_the_policy_says_so_and_binds(run_machine: Callable[..., Any], reason: str) -> None:
    """The description names policy and binding, and fits the limit however long the gate's reason is."""
    description = policy_description(reason="$states.input.reason", binding="$states.input.gate.binding")
    arguments = {
        "ModelPackageArn": "{% $states.input.package %}",
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": description,
    }
    machine = _machine("aws-sdk:sagemaker:updateModelPackage", arguments)

    run = run_machine(machine, {**GIVEN, "reason": reason}, lambda *_: {})
    reported = run.arguments("sagemaker:updateModelPackage")

    assert check_machine(machine) == []
    assert is_automatic(reported)
    assert bound_by(reported) == BOUND
    assert len(reported["ApprovalDescription"]) <= 1024
    assert reason[:800] in reported["ApprovalDescription"]


def test_people_hear_what_waits_and_what_to_type(run_machine: Callable[..., Any]) -> None:
    """The message has author, training set, metrics, and commands with the package's name."""
    arguments = waiting_message(
        topic_arn="arn:aws:sns:us-east-1:123456789012:t",
        group_name="demand-forecast",
        days=7,
        approver_arn="arn:aws:iam::123456789012:role/Approver",
        variables=VARIABLES,
    )
    machine = _machine("sns:publish", arguments)

    reported = run_machine(machine, GIVEN, lambda *_: {}).arguments("sns:publish")

    assert check_machine(machine) == []
    assert reported["Subject"] == "demand-forecast: a model waits for approval"
    assert reported["Message"].splitlines() == [
        "Model package demand-forecast/7 passed the gate and waits for approval.",
        "",
        f"Gate: {GIVEN['reason']}",
        f"Trained by: {GIVEN['execution']}",
        f"Training set: {'c' * 64}",
        f"Model (SHA-256): {'d' * 64}",
        "Evaluation: s3://a/e.json",
        "",
        "Show it:     mlops models show demand-forecast/7",
        'Approve it:  mlops models approve demand-forecast/7 --reason "why"',
        'Reject it:   mlops models reject demand-forecast/7 --reason "why"',
        "",
        "It may be approved for 7 days, in role arn:aws:iam::123456789012:role/Approver.",
    ]


def test_chats_show_what_waits_and_what_to_type(run_machine: Callable[..., Any]) -> None:
    """Uses Amazon Q Developer's format; column names are not interpreted as markup."""
    arguments = waiting_notification(
        topic_arn="arn:aws:sns:us-east-1:123456789012:chats",
        group_name="demand-forecast",
        days=7,
        approver_arn="arn:aws:iam::123456789012:role/Approver",
        variables=VARIABLES,
    )
    machine = _machine("sns:publish", arguments)

    reported = run_machine(machine, {**GIVEN, "reason": "<!here> @all & 5"}, lambda *_: {}).arguments("sns:publish")
    notification = from_json(ChatNotification, reported["Message"])

    assert check_machine(machine) == []
    assert (reported["TopicArn"], "Subject" in reported) == (arguments["TopicArn"], False)
    assert notification == ChatNotification(
        id=GIVEN["package"],
        content=NotificationContent(
            title="demand-forecast: a model waits for approval",
            description="Model package demand-forecast/7 passed the gate and waits for approval. "
            "&lt;!here&gt; @\u200ball &amp; 5",
            next_steps=(
                "`mlops models show demand-forecast/7`",
                '`mlops models approve demand-forecast/7 --reason "why"`',
                '`mlops models reject demand-forecast/7 --reason "why"`',
                "It may be approved for 7 days, in role arn:aws:iam::123456789012:role/Approver.",
            ),
            keywords=("demand-forecast", "PendingManualApproval"),
        ),
        metadata=NotificationMetadata(
            thread_id="demand-forecast",
            summary="demand-forecast/7 waits for approval",
            event_type="MLOps Approval Waits",
            related_resources=(GIVEN["package"], "s3://a/e.json"),
            additional_context={
                "trained by": GIVEN["execution"],
                "training set": "c" * 64,
                "model (SHA-256)": "d" * 64,
            },
        ),
    )


def test_automatic_asks_nobody() -> None:
    """The gate's result suffices; a person may approve packages that the machine left pending."""
    role = iam.Role.from_role_arn(cdk.Stack(cdk.App(), "S"), "R", "arn:aws:iam::123456789012:role/Lead")

    assert Approval.automatic() == Approval(is_automatic=True)
    assert Approval.automatic(approver=role).approver is role


def test_manual_may_name_topic_timeout_and_approver() -> None:
    """Defaults are the unit's topic, 7 days and a role of the registry."""
    stack = cdk.Stack(cdk.App(), "S")
    topic = sns.Topic(stack, "Topic")
    role = iam.Role(stack, "R", assumed_by=iam.AccountRootPrincipal())
    approval = Approval.manual(topic=topic, timeout=cdk.Duration.days(2), approver=role)

    assert (approval.topic, approval.approver) == (topic, role)
    assert approval.timeout is not None
    assert approval.timeout.to_days() == 2
    assert Approval.manual() == Approval(is_automatic=False)


@pytest.mark.parametrize("timeout", [cdk.Duration.minutes(59), cdk.Duration.days(366)])
def test_fails_on_a_timeout_that_nobody_keeps(timeout: cdk.Duration) -> None:
    """Rejects timeouts too short for people or longer than a model's life."""
    with pytest.raises(ValidationError, match="InvalidApproval: timeout must be from 1 hour to 365 days"):
        Approval.manual(timeout=timeout)


@pytest.mark.parametrize("timeout", [cdk.Duration.hours(1), cdk.Duration.days(365)])
def test_bounds_of_the_timeout_are_allowed(timeout: cdk.Duration) -> None:
    """Accepts both bounds."""
    assert Approval.manual(timeout=timeout).timeout is timeout


def test_fails_on_a_timeout_that_is_only_known_at_deployment() -> None:
    """The rule and the message contain the timeout at synthesis, in seconds and days."""
    parameter = cdk.CfnParameter(cdk.Stack(cdk.App(), "S"), "Days", type="Number")

    with pytest.raises(ValidationError, match=r"timeout must be .*, got a Duration that is only known at deployment"):
        Approval.manual(timeout=cdk.Duration.days(parameter.value_as_number))
