"""Each task of a machine has an end."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import machines


def _check(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        for state in machine.tasks():
            if not (state.body.get("TimeoutSeconds") or state.body.get("TimeoutSecondsPath")):
                yield violation(machine.resource, f"States.{state.name}", state.name)


RULE = Rule(
    id="TaskTimeout",
    problem="A task has no TimeoutSeconds, so that an answer that never comes holds the execution for a year.",
    fix="Set TimeoutSeconds to the longest time that the task may take.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html",
    check=_check,
)
