"""Each task of a machine tries again."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import machines


def _check(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        for state in machine.tasks():
            if not state.body.get("Retry"):
                yield violation(machine.resource, f"States.{state.name}", state.name)


RULE = Rule(
    id="TaskRetry",
    problem="A task has no Retry, so that one throttled call ends the execution.",
    fix="Add Retry with backoff and a bound on attempts.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html",
    check=_check,
)
