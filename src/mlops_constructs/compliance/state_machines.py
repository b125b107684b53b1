"""State machines of templates, and the resources that they create at run time, in the form of template resources."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from mlops_constructs.compliance.assembly import Assembly, Resource, is_expression
from mlops_constructs.compliance.function_jobs import function_jobs
from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.sagemaker_requests import render_endpoint, render_endpoint_config, render_model

SPEC_TYPE = "Custom::MLOpsServingSpec"
# resource type that a SageMaker API call creates; jobs, which CloudFormation lacks, are named in the same form
_MADE = {
    "createModel": "AWS::SageMaker::Model",
    "createEndpointConfig": "AWS::SageMaker::EndpointConfig",
    "createEndpoint": "AWS::SageMaker::Endpoint",
    "createModelPackage": "AWS::SageMaker::ModelPackage",
    "createTrainingJob": "AWS::SageMaker::TrainingJob",
    "createHyperParameterTuningJob": "AWS::SageMaker::TrainingJob",
    "createProcessingJob": "AWS::SageMaker::ProcessingJob",
    "createTransformJob": "AWS::SageMaker::TransformJob",
}
_RESOURCE = re.compile(
    r"arn:[^:]+:states:[^:]*:[^:]*:(?:aws-sdk:)?(?P<service>[a-z0-9-]+):(?P<action>[A-Za-z0-9]+)(?P<pattern>\.\S+)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state of a machine; ``scope`` contains the names of the Map and Parallel states and the branches around it."""

    name: str
    body: Mapping[str, Any]
    is_jsonata: bool
    scope: tuple[str, ...] = ()

    @property
    def is_task(self) -> bool:
        """Whether it is a Task state."""
        return self.body.get("Type") == "Task"

    @property
    def call(self) -> tuple[str, str, str]:
        """Service, action and pattern (``.sync``, ``.waitForTaskToken``) of its integration; empty strings without one."""
        match = _RESOURCE.fullmatch(re.sub(r"\$\{[^{}]*\}", "aws", str(self.body.get("Resource", ""))))
        return (match["service"], match["action"], match["pattern"] or "") if match else ("", "", "")

    @property
    def arguments(self) -> object:
        """Arguments of the call; values that are only known at run time are JSONata expressions, also in JSONPath states."""
        given = self.body.get("Arguments" if self.is_jsonata else "Parameters", {})
        return given if self.is_jsonata else _without_paths(given)

    @property
    def successors(self) -> list[str]:
        """Names of all possible next states: on success, by choice or on a caught error."""
        holders = [self.body, *self.body.get("Choices", ()), *self.body.get("Catch", ())]
        return [holder[key] for holder in holders for key in ("Next", "Default") if key in holder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A state machine; ``definition`` is None if it cannot be read."""

    resource: Resource
    definition: Mapping[str, Any] | None

    def states(self) -> Iterator[State]:
        """Yield all states, including those inside Map and Parallel states."""
        return _states(self.definition or {}, is_jsonata=False, scope=())

    def tasks(self) -> Iterator[State]:
        """Yield the Task states."""
        return (state for state in self.states() if state.is_task)


@lru_cache(maxsize=2)  # every rule needs them
def machines(assembly: Assembly) -> tuple[Machine, ...]:
    """Return the state machines of all templates, with their definitions."""
    return tuple(
        Machine(resource=resource, definition=_definition(resource))
        for resource in assembly.of("AWS::StepFunctions::StateMachine")
    )


@lru_cache(maxsize=2)
def serving_specs(assembly: Assembly) -> tuple[tuple[Resource, ServingSpec | None], ...]:
    """Return the serving specs of this library's endpoints; None for one that cannot be read."""
    return tuple((resource, _spec(resource)) for resource in assembly.of(SPEC_TYPE))


def made(assembly: Assembly, *types: str) -> Iterator[Resource]:
    """Yield resources of these types that machines and functions create at run time, with properties from states or IAM conditions.

    Arguments that are one expression as a whole are skipped. A serving spec of this library is expanded by the same functions that
    render its resources at run time.
    """
    for machine in machines(assembly):
        for state in machine.tasks():
            service, action, _ = state.call
            if service == "sagemaker" and _MADE.get(action) in types:
                yield from _made_by(machine, state, _MADE[action])
    for resource, spec in serving_specs(assembly):
        if spec is not None and spec.eks is None:
            yield from (found for found in _specified(resource, spec) if found.type in types)
    yield from function_jobs(assembly, *types)


def everywhere(assembly: Assembly, *types: str) -> Iterator[Resource]:
    """Yield resources of these types that templates declare, or that machines and functions create."""
    yield from assembly.of(*types)
    yield from made(assembly, *types)


def _states(machine: Mapping[str, Any], *, is_jsonata: bool, scope: tuple[str, ...]) -> Iterator[State]:
    is_jsonata = machine.get("QueryLanguage", "JSONata" if is_jsonata else "JSONPath") == "JSONata"
    for name, body in machine.get("States", {}).items():
        own = body.get("QueryLanguage", "JSONata" if is_jsonata else "JSONPath") == "JSONata"
        yield State(name=name, body=body, is_jsonata=own, scope=scope)
        for index, branch in enumerate(body.get("Branches", ())):
            yield from _states(branch, is_jsonata=own, scope=(*scope, name, str(index)))
        for key in ("Iterator", "ItemProcessor"):
            if key in body:
                yield from _states(body[key], is_jsonata=own, scope=(*scope, name))


def _definition(resource: Resource) -> Mapping[str, Any] | None:
    given = resource.properties.get("DefinitionString", resource.properties.get("Definition"))
    if given is None:
        return None  # the definition is in S3
    is_object = isinstance(given, Mapping) and "States" in given
    text = json.dumps(_resolved(resource, given)) if is_object else resource.text(given)
    for name, value in (resource.properties.get("DefinitionSubstitutions") or {}).items():
        text = text.replace(f"${{{name}}}", json.dumps(resource.text(value))[1:-1])
    try:
        definition = json.loads(text)
    except ValueError:
        return None
    return definition if isinstance(definition, Mapping) else None


def _resolved(resource: Resource, value: Any) -> Any:
    """Return a definition given as an object, with CloudFormation's functions as strings."""
    if isinstance(value, list):
        return [_resolved(resource, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1 and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::")):
        return resource.text(value)
    return {key: _resolved(resource, item) for key, item in value.items()}


def _without_paths(value: Any) -> Any:
    """Convert JSONPath's ``Field.$: $.x`` to ``Field: {% $.x %}``."""
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key.removesuffix(".$"): f"{{% {item} %}}" if key.endswith(".$") else _without_paths(item)
        for key, item in value.items()
    }


def _made_by(machine: Machine, state: State, kind: str) -> Iterator[Resource]:
    arguments = state.arguments
    if is_expression(arguments) or not isinstance(arguments, Mapping):
        return
    own = replace(machine.resource, type=kind, properties=arguments, state=state.name)
    if state.call[1] != "createHyperParameterTuningJob":
        yield own
        return
    several = arguments.get("TrainingJobDefinitions") or [arguments.get("TrainingJobDefinition")]
    yield from (replace(own, properties=one) for one in several if isinstance(one, Mapping))


def _spec(resource: Resource) -> ServingSpec | None:
    try:
        return from_json(ServingSpec, resource.text(resource.properties.get("Spec")))
    except ContractError:
        return None


def _specified(resource: Resource, spec: ServingSpec) -> Iterator[Resource]:
    """Yield model, config and endpoint of a serving spec."""
    name, execution = f"{spec.endpoint}-version", "${execution}"
    for kind, arguments in (
        ("AWS::SageMaker::Model", render_model(spec, package="${package}", name=name, execution=execution)),
        ("AWS::SageMaker::EndpointConfig", render_endpoint_config(spec, name=name, execution=execution)),
        ("AWS::SageMaker::Endpoint", render_endpoint(spec, config=name, execution=execution)),
    ):
        yield replace(resource, type=kind, properties=arguments, state=kind.rpartition("::")[2])
