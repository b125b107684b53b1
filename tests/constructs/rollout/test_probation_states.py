"""The states that begin a probation, as a graph: errors never prevent the promotion's record."""

from mlops_constructs._state_machine import successors
from mlops_constructs.rollout.probation_states import alarm_states, schedule_states

FIRST, ALARM = alarm_states(endpoint_name="e", verdict_arn="arn:verdict", next_state="Record")


def test_every_state_leads_to_the_record():
    """They end with the alarm, or with a reason for its absence."""
    assert {name for state in ALARM.values() for name in successors(state)} == {"Record"} | set(ALARM) - {FIRST}
    assert ALARM["AskShare"]["Catch"][-1]["Next"] == "DropProbationAlarm"
    assert ALARM["DropProbationAlarm"]["Catch"][-1]["Next"] == "IsProbationAlarmGone"
    assert set(successors(ALARM["IsProbationAlarmGone"])) == {"PutProbationAlarm", "ProbationAlarmKept"}
    assert ALARM["PutProbationAlarm"]["Catch"][-1]["Next"] == "ProbationUnwatched"


def test_the_schedule_keeps_nothing_back():
    """It is enabled by name; failures are ignored, as the next execution enables it."""
    first, states = schedule_states(endpoint_name="e", next_state="CleanUp")
    (state,) = states.values()
    assert (first, state["Arguments"], set(successors(state))) == ("Watch", {"Name": "e-probation"}, {"CleanUp"})
