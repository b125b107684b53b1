"""The courses of a rollout between slots, which together reach every task of its definitions, and their outcomes."""

from typing import Any

from tests.campaign.machine import Fault, tasks_of
from tests.campaign.slots.world import ASKED, GOLDEN_MACHINE, GOLDEN_SPEC, MACHINE

# states of every machine that the scenarios run
TASKS = frozenset(name for machine in (MACHINE, GOLDEN_MACHINE) for name in tasks_of(machine))
SCENARIOS: dict[str, dict[str, Any]] = {
    "promotes": {},
    "is rolled back by an alarm of the first step": {"fires": "-dead"},
    "is rolled back by an alarm of the last step": {"fires": "green-5xx", "fires_at": 100},
    "gets no traffic": {"invocations": 3},
    "never gets ready": {"pods": "never"},
    "is too slow": {"pods": "slow"},
    "is unhealthy to the load balancer": {"targets": False},
    "meets a live slot without pods": {"live_pods": 0},
    "is the first model": {"serves": False},
    "is a first model that never gets ready": {"serves": False, "pods": "never"},
    "follows a model on probation": {"on_probation": True},
    "goes back by the alarm of its probation": {"asks": "alarm"},
    "follows an execution that died while it shifted": {
        "follows": Fault("elasticloadbalancingv2:modifyRule 90/10", "crash", after=True)
    },
    "cannot be recorded": {"meets": Fault(ASKED["record"], "access denied", always=True)},
    "answers as it should": {"spec": GOLDEN_SPEC},
    "is rejected by golden requests": {"spec": GOLDEN_SPEC, "golden": (9.0, 9.0)},
    "answers otherwise once it serves": {"spec": GOLDEN_SPEC, "golden": (1.0, 2.0)},
    "is a first model with golden requests": {"spec": GOLDEN_SPEC, "serves": False},
    "goes back by golden requests of its probation": {"spec": GOLDEN_SPEC, "asks": "golden"},
}
OUTCOMES = {
    "is rolled back by an alarm of the first step": "ROLLED_BACK",
    "is rolled back by an alarm of the last step": "ROLLED_BACK",
    "gets no traffic": "ROLLED_BACK",
    "never gets ready": "ROLLED_BACK",
    "is too slow": "ROLLED_BACK",
    "is unhealthy to the load balancer": "ROLLED_BACK",
    "meets a live slot without pods": "ROLLED_BACK",
    "is a first model that never gets ready": "FAILED",
    "cannot be recorded": "FAILED",
    "is rejected by golden requests": "REFUSED",
    "answers otherwise once it serves": "ROLLED_BACK",
}  # the others promote
