"""The courses of a rollout of the Deploy machine, which together reach every task of its definition."""

from typing import Any

from tests.campaign.account import ANSWER
from tests.campaign.deploy import FULL_MACHINE, FULL_SPEC, MACHINE, QUEUE_MACHINE, QUEUE_SPEC, STEADY_SPEC
from tests.campaign.machine import Fault, tasks_of

# states of every machine that the scenarios run
TASKS = frozenset(name for machine in (MACHINE, FULL_MACHINE, QUEUE_MACHINE) for name in tasks_of(machine))
_WRONG = '{"predictions": [2.0]}'
# a machine with a rehearsal, a shadow with compared responses, golden requests again and captured responses
_WITH_ALL_CHECKS: dict[str, dict[str, Any]] = {
    "passes all checks": {},
    "passes all checks, is rolled back by an alarm": {"update": "old"},
    "passes all checks, fails to update": {"update": "failed"},
    "is a first model with all checks": {"serves": False},
    "is rejected by golden requests": {"golden": (9.0, 9.0)},
    "answers otherwise once it serves": {"golden": (1.0, 2.0)},
    "answers errors that say 200": {"bodies": ('{"error": "out of memory"}', ANSWER)},
    "answers otherwise as a shadow": {"bodies": (ANSWER, _WRONG)},
    "gets no evidence as a shadow": {"invocations": 3},
    "passes all checks, follows a model on probation": {"on_probation": True},
    "goes back by golden requests of its probation": {"asks": "golden"},
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "promotes": {},
    "is rolled back by an alarm": {"update": "old"},
    "is seen while it is rolled back": {"update": "back"},
    "gets no evidence": {"invocations": 3},
    "fails to update": {"update": "failed"},
    "is the first model": {"serves": False},
    "is a first model that fails": {"serves": False, "create": "failed"},
    "follows a model on probation": {"on_probation": True},
    "is rolled back to a model on probation": {"on_probation": True, "update": "old"},
    "goes back by the alarm of its probation": {"asks": "alarm"},
    **{name: {"spec": FULL_SPEC, **changes} for name, changes in _WITH_ALL_CHECKS.items()},
    "is the first model of a queue": {"spec": QUEUE_SPEC, "serves": False},
    "scales from now on otherwise": {"spec": QUEUE_SPEC, "before": STEADY_SPEC},
    "loses the answer that its model was made": {"meets": Fault("sagemaker:createModel", "timeout", after=True)},
    "loses the answer that its config was made": {
        "meets": Fault("sagemaker:createEndpointConfig", "timeout", after=True)
    },
    "is a first model after one that failed and stayed": {
        "serves": False,
        "create": "failed",
        "follows": Fault("sagemaker:deleteEndpoint", "access denied", always=True),
    },
    "follows a rehearsal that died": {
        "spec": FULL_SPEC,
        "follows": Fault("sagemaker:describeEndpoint", "crash", state="DescribeRehearsal"),
    },
}
