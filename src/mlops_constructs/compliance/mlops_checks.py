"""A cdk-nag pack for MLOps, with rules that no other pack has; it also covers resources that state machines create at run time."""

from collections.abc import Iterator
from pathlib import Path

import aws_cdk as cdk
import cdk_nag

from constructs import IConstruct
from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules import RULES
from mlops_constructs.compliance.rules._rule import Rule, Violation

PACK = "Mlops"


class MlopsChecks(cdk_nag.NagPack):
    """Rules for endpoints, models, jobs, state machines that promote models, and their surroundings.

    The pack reads the synthesized templates instead of constructs, so that it covers raw overrides, ``aws_eks_v2`` and resources
    that Amazon States Language creates. Acknowledge a finding like those of cdk-nag's own packs, by ``Mlops::<id of the finding>``.

    Args:
        scope: The app, as for the packs of cdk-nag. Default: none.

    Example:
        >>> cdk.Validations.of(app).add_plugins(MlopsChecks(app))
    """

    def __init__(self, scope: IConstruct | None = None) -> None:
        super().__init__(scope)
        self._pack_name = PACK

    @property
    def name(self) -> str:
        """Name in the report, and prefix before ``::`` in acknowledgements."""
        return PACK

    @property
    def rule_ids(self) -> list[str]:
        """Ids of all rules."""
        return [f"{PACK}-{rule.id}" for rule in RULES]

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        """Check all templates of an app; CDK calls this at the end of a synthesis.

        Args:
            context: Paths of the templates.
        """
        return _report(Assembly.load(map(Path, context.template_paths)), "")

    def validate_scope(self, scope: IConstruct) -> cdk.PolicyValidationPluginReport:
        """Check a construct and its children in the context of the whole app or stage, which is synthesized if needed.

        Args:
            scope: An app, a stage, a stack or a construct.
        """
        stage = scope if isinstance(scope, cdk.Stage) else cdk.Stage.of(scope)
        if stage is None:
            raise ValueError(
                f"scope must be in an app or stage, got {scope.node.path!r}; define it in a stack of an app"
            )
        stacks = stage.synth().stacks_recursively
        return _report(Assembly.load(Path(stack.template_full_path) for stack in stacks), scope.node.path)

    def _check_resource(self, node: cdk.CfnResource) -> None:
        """Do nothing: each rule reads whole templates, not one resource."""


def violations(assembly: Assembly) -> Iterator[tuple[Rule, Violation]]:
    """Yield the violations of all rules in the templates of an app.

    Args:
        assembly: The templates, which need not be CDK's.
    """
    for rule in RULES:
        yield from ((rule, found) for found in rule.check(assembly))


def _report(assembly: Assembly, below: str) -> cdk.PolicyValidationPluginReport:
    found: dict[str, tuple[Rule, list[Violation]]] = {}
    for rule, violation in violations(assembly):
        path = violation.resource.path
        if below in ("", path) or path.startswith(f"{below}/"):
            detail = f"[{violation.detail}]" if violation.detail else ""
            found.setdefault(f"{PACK}-{rule.id}{detail}", (rule, []))[1].append(violation)
    return cdk.PolicyValidationPluginReport(
        success=not found,
        violations=[
            cdk.PolicyViolation(
                rule_name=name,
                description=rule.problem,
                fix=f"{rule.fix} See {rule.source}",
                severity="error",
                violating_resources=[_violating(violation) for violation in broken],
            )
            for name, (rule, broken) in found.items()
        ],
    )


def _violating(violation: Violation) -> cdk.PolicyViolatingResource:
    resource = violation.resource
    if resource.path:
        return cdk.PolicyViolatingResource(construct_path=resource.path, locations=[violation.location])
    # without path metadata CDK finds the construct by its logical id
    return cdk.PolicyViolatingResource(
        resource_logical_id=resource.logical_id,
        template_path=f"{resource.template.name}.template.json",
        locations=[violation.location],
    )
