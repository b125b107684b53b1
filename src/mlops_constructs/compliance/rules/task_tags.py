"""What a machine makes carries tags of owner and cost, where the API takes tags."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import machines
from mlops_runtime.aws_api import UnknownOperationError, UnknownServiceError, input_shape, operation_name

_MEMBERS = ("Tags", "tags")
_MAKES = ("create", "put", "register", "run", "start", "submit")


def _check(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        for state in machine.tasks():
            service, action, _ = state.call
            member = _member(service, action) if action.startswith(_MAKES) else None
            given = state.arguments
            if member is None or not isinstance(given, dict) or given.get(member):
                continue
            # a package in a group has the group's tags, and takes none of its own
            if action != "createModelPackage" or "ModelPackageGroupName" not in given:
                yield violation(machine.resource, f"States.{state.name}.{member}", state.name)


def _member(service: str, action: str) -> str | None:
    """The member in which a call takes tags."""
    try:
        shape = input_shape(service, operation_name(service, action))
    except (UnknownServiceError, UnknownOperationError):
        return None
    members = getattr(shape, "members", {})  # only a structure has any
    return next((member for member in _MEMBERS if member in members), None)


RULE = Rule(
    id="TaskTags",
    problem="A task makes a resource without tags, so that nobody sees whose it is and what it costs.",
    fix="Pass Tags with the unit, the owner and the cost centre.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html",
    check=_check,
)
