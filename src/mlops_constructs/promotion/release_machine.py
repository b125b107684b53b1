"""Definition of the Release state machine, which releases one package and announces the release or its refusal."""

from mlops_constructs._state_machine import EXECUTION, NOW, State, assign, choose, fail, invoke, machine, task
from mlops_runtime.contracts.events import DetailType, event_source

# for one function call and one event, each with the common retries
_SECONDS = 1800
FUNCTION_SECONDS = 120
_SUBJECT = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html


def release_machine(
    *, group_name: str, unit_name: str, record_arn: str, bus_name: str, topic_arn: str, partition: str = "aws"
) -> dict[str, object]:
    """Return the definition of the machine that releases one package.

    One idempotent function decides on the release and writes it; a repeated call continues an attempt that died. If the release
    cannot be announced, the execution fails but the release remains, and the next attempt, started by the schedule, announces it.

    Args:
        group_name: Name of the package group.
        unit_name: Name of the business unit, for the events' source.
        record_arn: ARN of the function ``release_record``.
        bus_name: Name of the unit's event bus.
        topic_arn: Topic notified of refusals.
        partition: AWS partition. Default: ``aws``.

    Example:
        >>> machine = release_machine(group_name="demand-forecast", unit_name="demand", bus_name="demand",
        ...     record_arn="arn:aws:lambda:us-east-1:1:function:r", topic_arn="arn:aws:sns:us-east-1:1:demand")
        >>> machine["StartAt"]
        'Start'
    """
    event = {"version": "mlops.event/1", "subject": group_name, "reason": "{% $released.reason %}"}
    refusal = f"{group_name}: a model was not released"[:_SUBJECT]

    def announce(outcome: str, id: str, attributes: dict[str, object], *, next_state: str, catch: str) -> State:
        entry = {
            "EventBusName": bus_name,
            "Source": event_source(unit_name),
            "DetailType": DetailType.MODEL_RELEASED.value,
            "Detail": {**event, "id": id, "outcome": outcome, "attributes": attributes},
        }
        return task("events:putEvents", {"Entries": [entry]}, next_state=next_state, catch=catch)

    states: dict[str, State] = {
        "Start": assign("Record", request="{% $states.input %}", execution=EXECUTION, caught=""),
        "Record": invoke(
            record_arn,
            {"request": "{% $request %}", "execution": "{% $execution %}", "now": NOW},
            next_state="Decide",
            catch="NotReleased",
            assign={"released": "{% $states.result.Payload %}"},
            timeout=FUNCTION_SECONDS + 30,
        ),
        "Decide": choose(
            ("$released.outcome = 'RELEASED'", "Announce"),
            ("$released.outcome = 'HELD'", "Done"),
            ("$released.is_new", "AnnounceRefusal"),
            default="Refused",
        ),
        "Announce": announce(
            "RELEASED",
            "{% $released.record_sha256 %}",
            {"record_uri": "{% $released.record_uri %}", "record_sha256": "{% $released.record_sha256 %}"},
            next_state="Done",
            catch="NotAnnounced",
        ),
        # a failed notification does not change the outcome
        "AnnounceRefusal": announce(
            "REFUSED",
            "{% $execution %}",
            {"package": "{% $request.package_arn %}"},
            next_state="TellPeople",
            catch="TellPeople",
        ),
        "TellPeople": task(
            "sns:publish",
            {"TopicArn": topic_arn, "Subject": refusal, "Message": "{% $released.reason %}"},
            next_state="Refused",
            catch="Refused",
        ),
        "Done": {
            "Type": "Pass",
            "Output": {"outcome": "{% $released.outcome %}", "reason": "{% $released.reason %}"},
            "End": True,
        },
        "Refused": fail("REFUSED", "{% $released.reason %}"),
        "NotAnnounced": fail(
            "NOT_ANNOUNCED", "{% $released.reason & ', but no target received its event: ' & $caught %}"
        ),
        "NotReleased": fail("FAILED", "{% $caught %}"),
    }
    comment = f"Release packages of {group_name}: verify, record, announce"
    return machine(comment=comment, seconds=_SECONDS, states=states, partition=partition)
