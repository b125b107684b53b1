"""A machine that changes what an endpoint serves passes an approval first."""

from collections import deque
from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.policies import policies_of
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import Machine, State, machines

_PROMOTES = {("sagemaker", "updateEndpoint"), ("sagemaker", "createEndpoint")}
_READS = {"sagemaker:describemodelpackage", "sagemaker:describe*", "sagemaker:*"}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        promotions = [state for state in machine.tasks() if state.call[:2] in _PROMOTES]
        if not promotions:
            continue
        reached = _without_approval(assembly, machine)
        for state in promotions:
            if (state.scope[0] if state.scope else state.name) in reached:
                yield violation(machine.resource, f"States.{state.name}", state.name)


def _without_approval(assembly: Assembly, machine: Machine) -> set[str]:
    """Names of the outermost states that an execution can reach with no approval on its way."""
    states = {state.name: state for state in machine.states() if not state.scope}
    reached: set[str] = set()
    waiting = deque([str((machine.definition or {}).get("StartAt", ""))])
    while waiting:
        name = waiting.popleft()
        if name in reached or name not in states:
            continue
        reached.add(name)
        state = states[name]
        # where an approval fails is no approval: what its errors lead to is reached
        ways = (
            [c["Next"] for c in state.body.get("Catch", ())]
            if _approves(assembly, machine, state)
            else state.successors
        )
        waiting.extend(ways)
    return reached


def _approves(assembly: Assembly, machine: Machine, state: State) -> bool:
    """A person's answer, a choice by the package's approval, or a function that may read the package."""
    service, action, pattern = state.call
    if pattern == ".waitForTaskToken":
        return True
    if state.body.get("Type") == "Choice":
        return "ModelApprovalStatus" in str(state.body)
    if (service, action) != ("lambda", "invoke") or not isinstance(state.arguments, dict):
        return False
    function = _named(assembly, machine.resource.text(state.arguments.get("FunctionName")))
    role = None if function is None else function.target(function.get("Role"))
    return role is not None and any(_READS.intersection(found.actions) for found in policies_of(assembly, role))


def _named(assembly: Assembly, name: str) -> Resource | None:
    for function in assembly.of("AWS::Lambda::Function"):
        if name.startswith((function.template.placeholder(function.logical_id)[:-1], function.name)):
            return function
    return None


RULE = Rule(
    id="PromotionApproval",
    problem="A state changes what an endpoint serves, and an execution can reach it past every approval.",
    fix="Before it, choose by the package's ModelApprovalStatus, wait for a person's token, or ask a function that reads it.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-approve.html",
    check=_check,
)
