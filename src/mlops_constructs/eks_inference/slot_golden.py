"""Golden requests to one slot, also without a share of the traffic: before it has any, and again while it serves.

Each slot has a listener of its own, so that a candidate is asked where it will serve, beside the slot that does. What it answers
counts in its target group: calls are compared from the first whole minute after the rehearsal on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_constructs._state_machine import EXECUTION, NOW, State, invoke
from mlops_constructs.rollout.candidate_states import CHECK_SECONDS
from mlops_constructs.rollout.golden_states import UNASKED as NEVER_ASKED

# what is known before they are asked again, and at which step they were last
UNASKED = {**NEVER_ASKED, "step": -1}
IS_REHEARSED = "$exists($plan.rehearsal.golden)"
IS_ASKED = "$exists($plan.again.golden)"
# half-way through the bake of all traffic
IS_TIME = (
    f"{IS_ASKED} and $again.step < $step and $step + 1 = $count($plan.eks.steps) and "
    "$toMillis($now()) >= $bake_until - $plan.eks.bake * 500"
)
# since when calls of others are compared
SINCE = f"{{% {IS_REHEARSED} ? $fromMillis($toMillis($now()) + 60000) : $now() %}}"
_ANSWER = "{% $merge([$states.result.Payload, {'asked': true, 'step': $step}]) %}"
_NO_ANSWER = "{% {'asked': true, 'passed': true, 'reason': '', 'step': $step} %}"


@dataclass(frozen=True, slots=True)
class SlotGolden:
    """Asks golden requests of a slot.

    Args:
        golden_arn: Function ``rollout_golden``.
        endpoint_name: The service.
        partition: AWS partition, may be a token.
    """

    golden_arn: str
    endpoint_name: str
    partition: str

    def check(self, *, next_state: str, catch: str) -> State:
        """Return the state that asks the candidate before it has traffic, beside the live slot; the answer is ``$golden``."""
        asked = {"slot": "{% $plan.rehearsal.slot %}", "live_slot": "{% $plan.rehearsal.live_slot %}"}
        answer = {"golden": "{% $states.result.Payload %}"}
        return self._ask("check", "rehearsal", asked, answer, next_state=next_state, catch=catch)

    def again(self, *, next_state: str, catch: str) -> State:
        """Return the state that asks the candidate while it serves; the answer is ``$again``."""
        answer = {"again": _ANSWER}
        state = self._ask(
            "again", "again", {"slot": "{% $plan.again.slot %}"}, answer, next_state=next_state, catch=catch
        )
        # the time before a promotion decides where an earlier one was not answered
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
