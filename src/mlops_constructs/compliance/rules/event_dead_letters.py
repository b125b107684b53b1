"""Events of SageMaker and schedules that cannot be delivered are kept."""

import json
from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation


def _check(assembly: Assembly) -> Iterator[Violation]:
    for rule in assembly.of("AWS::Events::Rule"):
        if "aws.sagemaker" not in json.dumps(rule.get("EventPattern")):
            continue
        for target in rule.get("Targets") or ():
            if not (target.get("DeadLetterConfig") or {}).get("Arn"):
                yield violation(rule, "Targets", rule.text(target.get("Id")))
    for schedule in assembly.of("AWS::Scheduler::Schedule"):
        if not schedule.get("Target.DeadLetterConfig.Arn"):
            yield violation(schedule, "Target.DeadLetterConfig")


RULE = Rule(
    id="EventDeadLetters",
    problem="An event of SageMaker or a schedule that cannot be delivered is dropped, and no model is promoted or retrained.",
    fix="Give the target a DeadLetterConfig, and an alarm on its queue.",
    source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html",
    check=_check,
)
