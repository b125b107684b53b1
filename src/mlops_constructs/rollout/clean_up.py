"""States that remove what no longer serves, after the record says what does. None of them can fail."""

from mlops_constructs._states import State, assign, choose, task
from mlops_constructs.rollout.rehearsal import THRICE_MORE
from mlops_constructs.rollout.scaling import register_scaling_states

_SDK = "aws-sdk:sagemaker:"


def clean_up_states(*, endpoint_name: str, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states that scale what serves, and delete alarms, versions and rehearsals.

    Deleted are the new fleet's alarms, the versions that a promotion pushed out, the version that did not come to serve, and what
    an execution that died has left. What cannot be deleted now is taken along by the next execution.

    Args:
        endpoint_name: The endpoint.
        next_state: Where to go on.
        partition: AWS partition, may be a token.
    """

    def delete(integration: str, arguments: object, after: str) -> State:
        return task(integration, arguments, partition=partition, next_state=after, catch=after)

    first, scaling = register_scaling_states(next_state="HasAlarms", partition=partition)
    return "HasPlan", {
        "HasPlan": choose(
            ("$plan = null", next_state),
            # an execution that died may have taken scaling back, whatever else it did
            ("$applied and ($outcome = 'PROMOTED' or $plan.action = 'update') or $exists($request.died)", first),
            default="HasAlarms",
        ),
        **scaling,
        "HasAlarms": choose(
            ("$count($plan.alarm_names) + $count($plan.leftovers.alarms) > 0", "DeleteAlarms"),
            default="IsEndpointUnused",
        ),
        "DeleteAlarms": delete(
            "aws-sdk:cloudwatch:deleteAlarms",
            {"AlarmNames": "{% [$plan.alarm_names, $plan.leftovers.alarms] %}"},
            "IsEndpointUnused",
        ),
        "IsEndpointUnused": choose(
            (
                "$outcome != 'PROMOTED' and $applied and $orphan and $plan.action in ['create', 'discard']",
                "DeleteEndpoint",
            ),
            default="WhatIsUnused",
        ),
        "DeleteEndpoint": delete(f"{_SDK}deleteEndpoint", {"EndpointName": endpoint_name}, "WhatIsUnused"),
        "WhatIsUnused": assign(
            "DeleteVersions",
            unused="{% [$plan.leftovers.versions, $outcome = 'PROMOTED' ? $plan.expired : "
            "($orphan and $plan.config_name != null ? [$plan.config_name] : [])] %}",
        ),
        "DeleteVersions": _each("{% [$unused] %}", "DeleteConfig", _delete_version(partition), "DeleteRehearsals"),
        "DeleteRehearsals": _each(
            "{% [$plan.leftovers.rehearsals] %}", "DeleteRehearsal", _delete_rehearsal(partition), next_state
        ),
    }


def _delete_version(partition: str) -> dict[str, State]:
    """Model and config have one name; neither answer matters, as what is gone is what was wanted."""
    config = task(
        f"{_SDK}deleteEndpointConfig",
        {"EndpointConfigName": "{% $states.input %}"},
        partition=partition,
        next_state="DeleteModel",
        catch="DeleteModel",
        retry=[THRICE_MORE],
    )
    # both states of a round need the name: it is what they hand on
    config["Output"] = config["Catch"][0]["Output"] = "{% $states.input %}"
    model = task(
        f"{_SDK}deleteModel",
        {"ModelName": "{% $states.input %}"},
        partition=partition,
        next_state="Deleted",
        catch="Deleted",
        retry=[THRICE_MORE],
    )
    return {"DeleteConfig": _quiet(config), "DeleteModel": _quiet(model), "Deleted": {"Type": "Succeed"}}


def _delete_rehearsal(partition: str) -> dict[str, State]:
    state = task(
        f"{_SDK}deleteEndpoint",
        {"EndpointName": "{% $states.input %}"},
        partition=partition,
        next_state="RehearsalDeleted",
        catch="RehearsalDeleted",
    )
    return {"DeleteRehearsal": _quiet(state), "RehearsalDeleted": {"Type": "Succeed"}}


def _quiet(state: State) -> State:
    """Inside a Map a variable must not bear the name of one outside, and nobody reads this error."""
    del state["Catch"][0]["Assign"]
    return state


def _each(items: str, start: str, states: dict[str, State], next_state: str) -> State:
    return {
        "Type": "Map",
        "Items": items,
        "MaxConcurrency": 1,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": start, "States": states},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": {}, "Next": next_state}],
        "Output": {},
        "Next": next_state,
    }
