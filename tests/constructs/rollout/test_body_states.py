"""The states that read captured answers, as a graph: errors do not stop a rollout, bad answers do."""

from mlops_constructs._state_machine import successors
from mlops_constructs.rollout.body_states import ask_body_states, last_body_states

ARM, BAKE = ask_body_states(answers_arn="arn:answers", maximum=28800, next_state="Next", partition="aws")
FIRST, LAST = last_body_states(answers_arn="arn:answers", next_state="Next", partition="aws")


def test_every_state_leads_out() -> None:
    """During the bake they continue; at the end they continue or roll back."""
    assert ARM[1] in BAKE
    assert {name for state in BAKE.values() for name in successors(state)} == {"Next"} | set(BAKE) - {ARM[1]}
    assert {name for state in LAST.values() for name in successors(state)} == {"Next", "Revert"} | set(LAST) - {FIRST}


def test_captures_are_read_every_few_minutes() -> None:
    """Twice in a short rollout, sixty times in the longest, readable or not."""
    later = {"bodies_at": "{% $toMillis($now()) + 480000 %}"}
    assert BAKE["AskBodies"]["Assign"] == {"bodies": "{% $states.result.Payload %}", **later}
    assert BAKE["AskBodies"]["Catch"][-1]["Assign"] == later
    _, short = ask_body_states(answers_arn="arn:answers", maximum=1800, next_state="Next", partition="aws")
    assert "120000" in short["AskBodies"]["Assign"]["bodies_at"]


def test_captures_that_cannot_be_read_are_said_to_be() -> None:
    """The promotion's record reports it."""
    assert LAST["LastBodies"]["Catch"][-1]["Next"] == "BodiesUnknown"
    assert "could not be read" in LAST["BodiesUnknown"]["Assign"]["shown"]
