"""Amazon States Language as plain dicts: one way to write a task, so that each has Retry, Catch and TimeoutSeconds.

Machines pass data by variables (``Assign``) and every state gives an empty output: nothing grows on the way.

See: https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

State = dict[str, Any]

NOW = "{% $now() %}"
NULL = "{% null %}"  # a null of JSON would be lost on its way into the template, and the variable would not be there
EXECUTION = "{% $states.context.Execution.Id %}"
# What AWS says went wrong. The cause of a job is its whole description and that of a function its trace, both as JSON: of these the
# one sentence that counts. It is matched, not parsed: an error in a Catch would end the execution without Unlock.
CAUGHT = r"""{% (
    $cause := $states.errorOutput.Cause & '';
    $sentence := $match($cause, /"(FailureReason|errorMessage)" ?: ?"(.*?)" ?(,|\})/, 1);
    $states.errorOutput.Error & ': ' & $substring($exists($sentence) ? $sentence[0].groups[1] : $cause, 0, 600)
) %}"""
# Six repetitions: where a third of all calls fails, three would still end every tenth rollout.
_RETRY_CALL: list[State] = [
    {
        "ErrorEquals": ["States.TaskFailed", "States.Timeout"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    }
]
# A job that failed must not run again under its name: only a refused call to start it is repeated.
_RETRY_JOB: list[State] = [
    {
        "ErrorEquals": ["SageMaker.AmazonSageMakerException"],
        "IntervalSeconds": 20,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 120,
        "JitterStrategy": "FULL",
    }
]


def resource(integration: str, partition: str) -> str:
    """Return the ARN of a service integration such as ``aws-sdk:sagemaker:updateEndpoint``."""
    return f"arn:{partition}:states:::{integration}"


def task(
    integration: str,
    arguments: object,
    *,
    partition: str,
    next_state: str,
    catch: str,
    assign: Mapping[str, object] | None = None,
    assign_caught: Mapping[str, object] | None = None,
    retry: Sequence[State] | None = None,
    timeout: int = 60,
) -> State:
    """Return a task that stores what it learns in variables and, on any error, the error in ``$caught``.

    Args:
        integration: Service integration, such as ``lambda:invoke``.
        arguments: The call's arguments, or one expression that gives them.
        partition: AWS partition, may be a token.
        next_state: Where to go on success.
        catch: Where to go on any error that outlives the retries.
        assign: Variables set on success. Default: none.
        assign_caught: Variables set on an error besides ``caught``. Default: none.
        retry: Retriers that stand before the common one. Default: none.
        timeout: Seconds that one attempt may take. Default: 60.
    """
    state: State = {
        "Type": "Task",
        "Resource": resource(integration, partition),
        "Arguments": arguments,
        "TimeoutSeconds": timeout,
        "Retry": [*(retry or ()), *(_RETRY_JOB if integration.endswith(".sync") else _RETRY_CALL)],
        "Catch": [
            {
                "ErrorEquals": ["States.ALL"],
                "Assign": {"caught": CAUGHT, **(assign_caught or {})},
                "Output": {},
                "Next": catch,
            }
        ],
        "Output": {},
        "Next": next_state,
    }
    if assign:
        state["Assign"] = dict(assign)
    return state


def invoke(
    function_arn: str,
    payload: Mapping[str, object],
    *,
    partition: str,
    next_state: str,
    catch: str,
    assign: Mapping[str, object] | None = None,
    timeout: int = 90,
) -> State:
    """Return a task that invokes a function with ``payload``; ``assign`` reads ``$states.result.Payload``."""
    arguments = {"FunctionName": function_arn, "Payload": dict(payload)}
    return task(
        "lambda:invoke",
        arguments,
        partition=partition,
        next_state=next_state,
        catch=catch,
        assign=assign,
        timeout=timeout,
    )


def assign(next_state: str, **variables: object) -> State:
    """Return a state that only sets variables."""
    return {"Type": "Pass", "Assign": variables, "Output": {}, "Next": next_state}


def wait(seconds: int | str, next_state: str) -> State:
    """Return a state that waits; ``seconds`` may be an expression."""
    return {"Type": "Wait", "Seconds": seconds, "Output": {}, "Next": next_state}


def choose(*arms: tuple[str, str], default: str) -> State:
    """Return a choice; each arm is an expression without its braces and the state it leads to."""
    choices = [{"Condition": f"{{% {condition} %}}", "Next": next_state} for condition, next_state in arms]
    return {"Type": "Choice", "Choices": choices, "Default": default}


def put_event(
    *, bus_name: str, source: str, detail_type: str, detail: Mapping[str, object], partition: str, next_state: str
) -> State:
    """Return a task that puts one of our events; a lost event never changes the outcome of what it tells about."""
    entry = {"EventBusName": bus_name, "Source": source, "DetailType": detail_type, "Detail": dict(detail)}
    return task("events:putEvents", {"Entries": [entry]}, partition=partition, next_state=next_state, catch=next_state)


def successors(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield every state that may follow: on success, by choice, or on a caught error."""
    for holder in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        for key in ("Next", "Default"):
            if key in holder:
                yield holder[key]


def tasks(definition: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """Yield every task of a machine with its name, also inside Map states."""
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            yield name, state
        if "ItemProcessor" in state:
            yield from tasks(state["ItemProcessor"])
