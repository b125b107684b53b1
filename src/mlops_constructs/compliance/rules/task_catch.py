"""Each task of a machine says what follows an error."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import machines


def _check(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        caught = {state.name for state in machine.states() if state.body.get("Catch")}
        for state in machine.tasks():
            # an error inside a Map or Parallel state is an error of that state
            if not caught.intersection((state.name, *state.scope)):
                yield violation(machine.resource, f"States.{state.name}", state.name)


RULE = Rule(
    id="TaskCatch",
    problem="A task has no Catch, so that an error ends the execution without cleaning up or telling anybody.",
    fix="Add Catch for States.ALL that leads to what releases locks, records the outcome and tells people.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html",
    check=_check,
)
