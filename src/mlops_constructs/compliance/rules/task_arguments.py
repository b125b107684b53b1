"""What a machine makes can be read in the template."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, is_expression
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import machines, serving_specs


def _check(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        if machine.definition is None:
            yield violation(machine.resource, "DefinitionString", "definition")
        for state in machine.tasks():
            service, action, _ = state.call
            if service == "sagemaker" and action.startswith(("create", "update")) and is_expression(state.arguments):
                yield violation(machine.resource, f"States.{state.name}", state.name)
    for resource, spec in serving_specs(assembly):
        if spec is None:
            yield violation(resource, "Spec", "spec")


RULE = Rule(
    id="TaskArguments",
    problem="What a state makes in SageMaker is not in the template: its arguments come whole from an expression.",
    fix="Write the arguments as an object with expressions for single values.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html",
    check=_check,
)
