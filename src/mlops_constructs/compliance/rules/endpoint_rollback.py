"""An update of an endpoint is taken back when alarms fire."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, is_expression
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import machines

_PATH = "DeploymentConfig.AutoRollbackConfiguration.Alarms"


def _check(assembly: Assembly) -> Iterator[Violation]:
    for endpoint in assembly.of("AWS::SageMaker::Endpoint"):
        config = endpoint.target(endpoint.get("EndpointConfigName"))
        variants = [] if config is None else config.get("ProductionVariants") or []
        is_serverless = any("ServerlessConfig" in variant for variant in variants)
        if not is_serverless and not endpoint.get(_PATH):
            yield violation(endpoint, _PATH)
    for machine in machines(assembly):
        for state in machine.tasks():
            if state.call[:2] != ("sagemaker", "updateEndpoint") or is_expression(state.arguments):
                continue
            deployment = state.arguments.get("DeploymentConfig") if isinstance(state.arguments, dict) else None
            rollback = deployment.get("AutoRollbackConfiguration") if isinstance(deployment, dict) else deployment
            if not rollback:
                yield violation(machine.resource, f"States.{state.name}.{_PATH}", state.name)


RULE = Rule(
    id="EndpointRollback",
    problem="An update of the endpoint shifts all traffic with no alarm that takes it back.",
    fix="Set DeploymentConfig with a canary or rolling policy and AutoRollbackConfiguration.Alarms.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html",
    check=_check,
)
