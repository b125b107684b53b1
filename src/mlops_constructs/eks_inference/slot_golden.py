"""Golden requests to one slot: before it receives traffic, and again while it serves.

Each slot has a listener of its own, so that a candidate is tested in place, next to the live slot. Its responses count in its
target group's metrics, so metrics are compared from the first whole minute after the rehearsal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_constructs._state_machine import EXECUTION, NOW, State, invoke
from mlops_constructs.rollout.candidate_states import CHECK_SECONDS
from mlops_constructs.rollout.golden_states import UNASKED as NEVER_ASKED

# initial value before they are sent again, and the step of the last time
UNASKED = {**NEVER_ASKED, "step": -1}
IS_REHEARSED = "$exists($plan.rehearsal.golden)"
IS_ASKED = "$exists($plan.again.golden)"
# half-way through the bake time with all traffic
IS_TIME = (
    f"{IS_ASKED} and $again.step < $step and $step + 1 = $count($plan.eks.steps) and "
    "$toMillis($now()) >= $bake_until - $plan.eks.bake * 500"
)
# start of the comparison of metrics
SINCE = f"{{% {IS_REHEARSED} ? $fromMillis($toMillis($now()) + 60000) : $now() %}}"
_ANSWER = "{% $merge([$states.result.Payload, {'asked': true, 'step': $step}]) %}"
_NO_ANSWER = "{% {'asked': true, 'passed': true, 'reason': '', 'step': $step} %}"


@dataclass(frozen=True, slots=True)
class SlotGolden:
    """States that send golden requests to a slot.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
        endpoint_name: Name of the service.
        partition: AWS partition, may be a token.
    """

    golden_arn: str
    endpoint_name: str
    partition: str

    def check(self, *, next_state: str, catch: str) -> State:
        """Return the state that tests the candidate before it receives traffic, and the live slot; the result is ``$golden``."""
        asked = {"slot": "{% $plan.rehearsal.slot %}", "live_slot": "{% $plan.rehearsal.live_slot %}"}
        answer = {"golden": "{% $states.result.Payload %}"}
        return self._ask("check", "rehearsal", asked, answer, next_state=next_state, catch=catch)

    def again(self, *, next_state: str, catch: str) -> State:
        """Return the state that tests the candidate while it serves; the result is ``$again``."""
        answer = {"again": _ANSWER}
        state = self._ask(
            "again", "again", {"slot": "{% $plan.again.slot %}"}, answer, next_state=next_state, catch=catch
        )
        # a failure during the bake is ignored: the check before a promotion decides
        state["Catch"][0]["Assign"] |= {"again": _NO_ANSWER}
        return state

    def _ask(
        self,
        mode: str,
        part: str,
        asked: Mapping[str, object],
        answer: Mapping[str, object],
        *,
        next_state: str,
        catch: str,
    ) -> State:
        return invoke(
            self.golden_arn,
            {
                "mode": mode,
                "endpoint": self.endpoint_name,
                **asked,
                "golden": f"{{% $plan.{part}.golden %}}",
                "answers": f"{{% $plan.{part}.answers %}}",
                "now": NOW,
                "execution": EXECUTION,
            },
            partition=self.partition,
            next_state=next_state,
            catch=catch,
            assign=answer,
            timeout=CHECK_SECONDS,
        )
