"""Run cdk-nag's six packs, ``MlopsChecks`` and CDK's own validation over every stack of an app in one process, and report evidence.

Raw findings are matched with acknowledgements here, so that the evidence lists what each acknowledgement covers; an acknowledgement
that covers nothing is a problem as well. Values of a template that are looser than a platform's rules are listed, not rejected.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag
from aws_cdk import cx_api

from constructs import IConstruct
from mlops_constructs.compliance.acknowledgement import MINIMUM_REASON
from mlops_constructs.compliance.loosened_values import LoosenedValue, loosened_of_app
from mlops_constructs.compliance.mlops_checks import PACK, MlopsChecks

_TREE_PACKS = (
    cdk_nag.AwsSolutionsChecks,
    cdk_nag.HIPAASecurityChecks,
    cdk_nag.NIST80053R4Checks,
    cdk_nag.NIST80053R5Checks,
    cdk_nag.PCIDSS321Checks,
    cdk_nag.ServerlessChecks,
)
PACKS = (*_TREE_PACKS, MlopsChecks)
# CloudFormation allows 500 (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html);
# a stack needs room for its owner's own resources
MAXIMUM_RESOURCES = 350
_PACK_NAMES = (
    "AwsSolutions",
    "HIPAA.Security",
    "NIST.800.53.R4",
    "NIST.800.53.R5",
    "PCI.DSS.321",
    "Serverless",
    PACK,
)
_CDK_PLUGIN = "CloudFormation Validate"
_REPORT = "validation-report.json"
_CANARY_RULE = "CloudFormation-Validate::W3030"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One violated rule on one resource."""

    rule: str
    severity: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AcknowledgedRule:
    """One acknowledged rule id on one construct, its reason, and the resources with findings that it covers."""

    rule: str
    path: str
    reason: str
    covers: tuple[str, ...]

    @property
    def decision(self) -> tuple[str, str]:
        """Rule without pack and finding, and reason: equal for acknowledgements that are the same decision."""
        return self.rule.partition("[")[0].partition("-")[2], self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StackEvidence:
    """Findings and acknowledgements of one stack."""

    stack: str
    resources: int
    findings: tuple[Finding, ...]
    acknowledgements: tuple[AcknowledgedRule, ...]
    loosened: tuple[LoosenedValue, ...] = ()

    @property
    def decisions(self) -> int:
        """Number of acknowledgements that differ in rule or reason: one rule in several packs or on several buckets is one."""
        return len({rule.decision for rule in self.acknowledgements})

    @property
    def problems(self) -> list[str]:
        """Reasons why the stack does not pass."""
        found = [
            f"{f.severity} {f.rule} at {f.path}; fix it, or acknowledge it beside its cause" for f in self.findings
        ]
        for rule in self.acknowledgements:
            if not rule.covers:
                found.append(f"acknowledgement of {rule.rule} at {rule.path} no longer covers a finding; remove it")
            if len(rule.reason) < MINIMUM_REASON:
                found.append(
                    f"acknowledgement of {rule.rule} at {rule.path} has the reason {rule.reason!r}; name the rejected alternative"
                )
        if self.resources > MAXIMUM_RESOURCES:
            found.append(
                f"stack {self.stack} has {self.resources} resources, at most {MAXIMUM_RESOURCES} are allowed; split it"
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Findings and acknowledgements of an app. ``validated`` is whether CDK's own validation ran."""

    stacks: tuple[StackEvidence, ...]
    validated: bool

    @property
    def problems(self) -> list[str]:
        """Reasons why the app does not pass; empty if it does."""
        found = [problem for stack in self.stacks for problem in stack.problems]
        if not self.validated:
            found.append("CDK's own validation did not run; unset CDK_VALIDATION")
        return found

    def summary(self) -> list[str]:
        """Return a line per stack with resources, findings, acknowledgements and their ratio, then a line per loosened value."""
        return [
            line
            for s in self.stacks
            for line in (
                f"{s.stack}: {s.resources} resources, {len(s.findings)} findings, {s.decisions} acknowledgements "
                f"({s.decisions / max(s.resources, 1):.2f} per resource)",
                *(
                    f"{s.stack}: {each.path} loosens {each.rule} of platform {each.platform!r}: {each.allowed}, "
                    f"got {each.found} in {each.location}"
                    for each in s.loosened
                ),
            )
        ]

    def to_json(self) -> str:
        """Return the evidence as JSON; equal apps return equal bytes."""
        document = {
            "format": "mlops.compliance/1",
            "packs": list(_PACK_NAMES),
            "cdk_validation": self.validated,
            "stacks": [
                {
                    "stack": s.stack,
                    "resources": s.resources,
                    "findings": [{"rule": f.rule, "severity": f.severity, "path": f.path} for f in s.findings],
                    "acknowledgements": [
                        {"rule": a.rule, "path": a.path, "reason": a.reason, "covers": list(a.covers)}
                        for a in s.acknowledgements
                    ],
                    "acknowledged_rules": len(s.acknowledgements),
                    "decisions": s.decisions,
                    **({"loosened": [asdict(each) for each in s.loosened]} if s.loosened else {}),
                }
                for s in self.stacks
            ],
        }
        return json.dumps(document, indent=2) + "\n"


def add_packs(app: cdk.App) -> None:
    """Make the synthesis of an app fail on a finding of any pack, including warnings."""
    cdk.Validations.of(app).add_plugins(*(pack(app) for pack in PACKS))


def check(app: cdk.App) -> Evidence:
    """Synthesize an app once and return the findings of the packs and of CDK's own validation in its stacks.

    Args:
        app: The app, not yet synthesized; the packs need not be registered.

    Returns:
        The evidence; it passes if ``problems`` is empty.

    Example:
        >>> evidence = check(app)
        >>> _ = Path("compliance.json").write_text(evidence.to_json())
    """
    assembly = app.synth()
    stacks = [child for child in app.node.find_all() if isinstance(child, cdk.Stack) and not child.nested]
    # these checks read templates: they run once for all stacks together
    of_templates = [*_cdk_findings(Path(app.outdir)), *_findings(MlopsChecks(app), app)]
    loosened = loosened_of_app(app, assembly)
    return Evidence(
        stacks=tuple(
            _stack_evidence(app, stack, assembly.get_stack_by_name(stack.stack_name), of_templates, loosened)
            for stack in stacks
        ),
        validated=_validation_runs(),
    )


def _stack_evidence(
    app: cdk.App,
    stack: cdk.Stack,
    artifact: cx_api.CloudFormationStackArtifact,
    of_templates: Sequence[Finding],
    loosened: Mapping[str, Sequence[LoosenedValue]],
) -> StackEvidence:
    inside = [f for f in of_templates if f.path == stack.node.path or f.path.startswith(f"{stack.node.path}/")]
    raw = [*(finding for pack in _TREE_PACKS for finding in _findings(pack(app), stack)), *inside]
    rules = _acknowledged(artifact)
    covered: dict[tuple[str, str], list[str]] = {(rule, path): [] for rule, path, _ in rules}
    open_findings = []
    for finding in raw:
        keys = [key for key in covered if key[0] == finding.rule and _covers(key[1], finding.path)]
        for key in keys:
            covered[key].append(finding.path)
        if not keys:
            open_findings.append(finding)
    resources = artifact.template.get("Resources", {})
    return StackEvidence(
        stack=stack.stack_name,
        resources=len(resources) if isinstance(resources, dict) else 0,
        findings=tuple(sorted(open_findings)),
        acknowledgements=tuple(
            sorted(
                AcknowledgedRule(rule=rule, path=path, reason=reason, covers=tuple(sorted(covered[rule, path])))
                for rule, path, reason in rules
            )
        ),
        loosened=tuple(loosened.get(stack.stack_name, ())),
    )


def _findings(pack: cdk_nag.NagPack, scope: IConstruct) -> list[Finding]:
    found: list[Finding] = []
    for violation in pack.validate_scope(scope).violations:
        rule, severity = violation.rule_name, str(violation.severity)  # each is a call to Node.js
        found += [
            Finding(rule=rule, severity=severity, path=str(resource.construct_path))
            for resource in violation.violating_resources
        ]
    return found


def _cdk_findings(assembly: Path) -> list[Finding]:
    """Return the findings of CDK's own validation from its report."""
    report = assembly / _REPORT
    if not report.is_file():
        return []
    return [
        Finding(
            rule=violation["ruleName"], severity=violation["severity"], path=str(construct.get("constructPath", ""))
        )
        for plugin in json.loads(report.read_text())["pluginReports"]
        if plugin["pluginName"] == _CDK_PLUGIN
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


def _validation_runs() -> bool:
    """Return whether CDK's own validation finds a known error; a report without findings does not show whether it ran."""
    app = cdk.App()
    wrong = {"VersioningConfiguration": {"Status": "Sometimes"}}
    bucket = cdk.CfnResource(cdk.Stack(app, "Canary"), "Bucket", type="AWS::S3::Bucket", properties=wrong)
    # acknowledged, so that it is reported without being printed
    cdk.Validations.of(bucket).acknowledge(
        cdk.Acknowledgment(id=_CANARY_RULE, reason="a known error shows that errors are found")
    )
    app.synth()
    report = Path(app.outdir) / _REPORT
    return report.is_file() and "Canary/Bucket" in report.read_text()


def _acknowledged(artifact: cx_api.CloudFormationStackArtifact) -> list[tuple[str, str, str]]:
    """Return rule, path and reason of every acknowledgement in a stack, without the pack before ``::``."""
    found = {}
    for path, entries in _metadata(artifact).items():
        for entry in entries:
            acknowledged = entry["data"] if entry["type"] == cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY else {}
            for rule, reason in acknowledged.items():
                pack, _, name = rule.partition("::")
                if pack in _PACK_NAMES:
                    found[name, path.removeprefix("/")] = reason
    return [(rule, path, reason) for (rule, path), reason in sorted(found.items())]


def _metadata(artifact: cx_api.CloudFormationStackArtifact) -> dict[str, list[dict[str, Any]]]:
    """Return the metadata of a stack's constructs from the assembly: reading it from the constructs would be one call each."""
    folder = Path(artifact.assembly.directory)
    stated = json.loads((folder / "manifest.json").read_text())["artifacts"][artifact.id]
    apart = stated.get("additionalMetadataFile")
    return {**stated.get("metadata", {}), **(json.loads((folder / apart).read_text()) if apart else {})}


def _covers(path: str, below: str) -> bool:
    return below == path or below.startswith(f"{path}/")
