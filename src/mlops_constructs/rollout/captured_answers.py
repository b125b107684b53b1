"""Captured responses of a rollout's fleets: the function that reads them, and the states that evaluate what it finds.

Metrics count errors by status code only; captures also show error bodies with status 200.
"""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._functions import define_function
from mlops_constructs._roles import allow
from mlops_constructs._stack_values import stack_values
from mlops_constructs._state_machine import NOW, State, assign, choose, invoke, on_error, wait
from mlops_constructs.rollout.evidence_states import CAN_STOP, stop_states
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.serving import CaptureSpec

_WILDCARD_REASON = (
    "SageMaker names captures by variant, hour and a unique id; "
    "rejected: single objects, whose keys are unknown when the stack is deployed"
)
# in MiB, to decode an hour of captures at once
_MEMORY = 512
# result before the first check, and time of the next check
UNREAD: dict[str, object] = {"bodies": {"is_stopped": False, "sentence": ""}, "bodies_at": 0}
# why a rollout was stopped; empty if it was not
WHY_UNREADABLE = "($bodies.is_stopped ? 'stopped ' & $bodies.sentence : '')"
_READS_BODIES = "$exists($plan.bodies.destination)"
# the function's timeout is one minute
_READ_SECONDS = 70
# maximum number of checks, which the execution history of the longest rollout has room for, and minimum interval
_CALLS, _LEAST_SECONDS = 60, 120
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html: captures come some minutes late
_LATE_SECONDS = 300
PAIRS_SECONDS = _LATE_SECONDS + _READ_SECONDS


def define_answers(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str, capture: CaptureSpec
) -> lambda_.Function:
    """Define the function that checks whether captured responses contain readable numbers.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        capture: Data capture of the endpoint.
    """
    stack = stack_values(scope)
    # the URI is a token
    place = cdk.Fn.select(1, cdk.Fn.split("s3://", capture.destination))
    bucket = cdk.Fn.select(0, cdk.Fn.split("/", place))
    statements = [
        allow("s3:GetObject", f"arn:{stack.partition}:s3:::{place}/{endpoint_name}/*"),
        allow("s3:ListBucket", f"arn:{stack.partition}:s3:::{bucket}"),
    ]
    if capture.kms_key is not None:
        via = {"StringEquals": {"kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}"}}
        statements.append(allow("kms:Decrypt", capture.kms_key, conditions=via))
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="rollout_answers",
        description=f"Reads what new fleets of {endpoint_name} answered",
        environment={},
        statements=statements,
        timeout=cdk.Duration.seconds(60),
        memory_size=_MEMORY,
        wildcard_reason=_WILDCARD_REASON,
    )


def captured_body_states(
    *, answers_arn: str, maximum: int, next_state: str
) -> tuple[tuple[str, str], dict[str, State]]:
    """Return a choice rule and the states that check captures during the bake; errors are ignored.

    Args:
        answers_arn: ARN of the function ``rollout_answers``.
        maximum: Maximum duration of a rollout in seconds.
    """
    every = max(_LEAST_SECONDS, -(-maximum // _CALLS))
    later = {"bodies_at": f"{{% $toMillis($now()) + {1000 * every} %}}"}
    read = on_error(_bodies_state(answers_arn, next_state="AreReadable", catch=next_state), **later)
    read["Assign"] |= later
    is_time = f"{_READS_BODIES} and $not($bodies.is_stopped) and $toMillis($now()) >= $bodies_at"
    return (is_time, "AskBodies"), {
        "AskBodies": read,
        "AreReadable": choose((f"$bodies.is_stopped and {CAN_STOP}", "KeepUnread"), default=next_state),
        **stop_states(WHY_UNREADABLE, names=("KeepUnread", "StopUnread"), next_state=next_state),
    }


def last_body_states(*, answers_arn: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that check captures before a promotion; a stop leads to ``Revert``.

    Captures that cannot be read do not stop the promotion, but its record mentions them.

    Args:
        answers_arn: ARN of the function ``rollout_answers``.
    """
    return "HasLastBodies", {
        "HasLastBodies": choose(
            ("$bodies.is_stopped", "Unreadable"), (_READS_BODIES, "LastBodies"), default=next_state
        ),
        "LastBodies": _bodies_state(answers_arn, next_state="AreLastReadable", catch="BodiesUnknown"),
        "AreLastReadable": choose(("$bodies.is_stopped", "Unreadable"), default="Readable"),
        "Readable": assign(next_state, shown="{% $shown & '; ' & $bodies.sentence %}"),
        "BodiesUnknown": assign(next_state, shown="{% $shown & '; captured answers could not be read' %}"),
        "Unreadable": assign("Revert", reason=f"{{% {WHY_UNREADABLE} %}}"),
    }


def _bodies_state(answers_arn: str, *, next_state: str, catch: str) -> State:
    state = invoke(
        answers_arn,
        {"bodies": "{% $plan.bodies %}", "now": NOW},
        next_state=next_state,
        catch=catch,
        assign={"bodies": "{% $states.result.Payload %}"},
        timeout=_READ_SECONDS,
    )
    return on_error(state)


def pair_states(*, answers_arn: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states between a shadow's other checks and ``ShadowPassed``.

    Args:
        answers_arn: ARN of the function ``rollout_answers``.
    """

    def rejected(reason: str) -> State:
        return assign("EndShadow", shadowed="turned down", reason=f"{{% {reason} %}}")

    return "HasPairs", {
        "HasPairs": choose(("$exists($plan.shadow.pairs.tolerance)", "AwaitCaptures"), default="ShadowPassed"),
        "AwaitCaptures": wait(_LATE_SECONDS, "ComparePairs"),
        "ComparePairs": invoke(
            answers_arn,
            {"pairs": "{% $plan.shadow.pairs %}", "since": "{% $shadow_from %}", "now": NOW},
            next_state="ArePairsGood",
            catch="ShadowUnknown",
            assign={"pairs": "{% $states.result.Payload %}"},
            timeout=_READ_SECONDS,
        ),
        "ArePairsGood": choose(
            ("$pairs.pairs < $plan.min_invocations", "TooFewPairs"),
            ("$pairs.passed", "PairsPassed"),
            default="PairsApart",
        ),
        "PairsPassed": assign("ShadowPassed", shown="{% $shown & '; ' & $pairs.sentence %}"),
        "PairsApart": rejected("'the shadow was rejected: ' & $pairs.sentence"),
        "TooFewPairs": rejected(
            "'captures have ' & $string($pairs.pairs) & ' pairs of answers of the shadow and the live model, a promotion needs ' "
            "& $string($plan.min_invocations)"
        ),
    }
