"""A model's state is its worst problem, in the words of the component that found it."""

from dataclasses import replace

import pytest
from tests.cli.running_rollout import BAKING
from tests.runtime.business_unit.unit_samples import EMPTY, ENDPOINT, LIVE, RECORD

from mlops_runtime.business_unit.unit_overview import EndpointOverview, MonitorOverview
from mlops_runtime.console.model_state import ORDER, ModelState, state_of, state_of_registry
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.promotion.promotion_history import ReleasedVersion
from mlops_runtime.registry.registry_overview import ApprovedVersion, RegistryOverview

SERVING = replace(EMPTY, state="InService", live=LIVE)
VIOLATED = MonitorOverview(states={"drift": "VIOLATION", "quality": "OK"}, verdict="display_share drifted")
FINE = MonitorOverview(states={"drift": "OK"}, verdict="all is as in training")
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3"


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        (EMPTY, ModelState.NOT_YET_DEPLOYED, "no model serves yet"),
        (SERVING, ModelState.UNKNOWN, "no monitor has decided on this model yet"),
        (replace(SERVING, is_monitored=True), ModelState.UNKNOWN, "no monitor has decided on this model yet"),
        (replace(SERVING, is_monitored=False), ModelState.NOT_MONITORED, "no monitor is deployed for it"),
        (replace(SERVING, monitor=FINE), ModelState.SERVES, "all is as in training"),
        (replace(SERVING, state="DELETED"), ModelState.DELETED, "deleted outside of the platform"),
        (replace(SERVING, state="Failed"), ModelState.BROKEN, "Failed"),
        (replace(SERVING, monitor=VIOLATED), ModelState.VIOLATED, "display_share drifted"),
        (
            replace(SERVING, rollout=replace(RECORD, outcome=Outcome.ROLLED_BACK, reason="errors")),
            ModelState.ROLLED_BACK,
            "record 4: ROLLED_BACK: errors",
        ),
        (
            replace(SERVING, monitor=MonitorOverview(states={}, unread="AccessDenied")),
            ModelState.NOT_MONITORED,
            "AccessDenied",
        ),
        (
            replace(SERVING, monitor=MonitorOverview(states={"drift": "NO_CAPTURE"}, verdict="nothing came")),
            ModelState.NOT_MONITORED,
            "nothing came",
        ),
        (replace(EMPTY, waiting=(PACKAGE,)), ModelState.WAITING, "demand-forecast/3 waits for an approval"),
        (replace(ENDPOINT, progress=BAKING), ModelState.ROLLING_OUT, "1 of 2: 50 % of the traffic"),
        (replace(SERVING, probation_until="2017-08-10T12:30:00Z"), ModelState.PROBATION, "2017-08-10T12:30:00Z"),
        (
            replace(SERVING, monitor=MonitorOverview(states={"drift": "NO_TRAFFIC"})),
            ModelState.UNKNOWN,
            "nothing to decide",
        ),
    ],
)
def test_each_state_has_its_sentence(found: EndpointOverview, state: ModelState, message: str) -> None:
    """One that is unknown is never said to serve well."""
    assert state_of(found)[0] is state
    assert message in state_of(found)[1]


def test_a_window_of_the_version_before_says_nothing_of_this_one() -> None:
    """After a rollback for drift the version that serves again is not blamed for it."""
    old = replace(VIOLATED, window_until="2017-08-08T10:00:00Z")

    assert state_of(replace(SERVING, monitor=old)) == (
        ModelState.UNKNOWN,
        "no monitor window has ended since version 2 went live",
    )
    assert (
        state_of(replace(SERVING, monitor=replace(old, window_until="2017-08-08T12:00:00Z")))[0] is ModelState.VIOLATED
    )


def test_the_worst_comes_first() -> None:
    """A violated limit goes before a rollout that runs, and a lost endpoint before both."""
    both = replace(ENDPOINT, progress=BAKING, monitor=VIOLATED)

    assert state_of(both)[0] is ModelState.VIOLATED
    assert state_of(replace(both, state="DELETED"))[0] is ORDER[0]


REGISTRY = RegistryOverview(group="demand-forecast", is_releasing=True)
APPROVED = ApprovedVersion(version="demand-forecast/3", approved_at="2017-08-08T11:00:00Z", model_sha256="b" * 64)
RELEASED = ReleasedVersion(
    version="demand-forecast/3", released_at="2017-08-08T11:00:01Z", approved_by="ann", approval="better",
    model_sha256="b" * 64,
    record_uri="s3://a/releases/one.json", chain="demand-forecast.releases", sequence=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        (REGISTRY, ModelState.NOT_YET_APPROVED, "no version is approved yet"),
        (replace(REGISTRY, approved=APPROVED), ModelState.APPROVED, "see: mlops promotions demand-forecast"),
        (
            replace(REGISTRY, approved=APPROVED, is_releasing=False),
            ModelState.APPROVED,
            "its unit has no endpoint for it here",
        ),
        (replace(REGISTRY, approved=APPROVED, released=RELEASED), ModelState.RELEASED, "other environments may take"),
        (replace(REGISTRY, released=RELEASED), ModelState.RELEASED, "other environments may take"),
        (
            replace(REGISTRY, approved=replace(APPROVED, version="demand-forecast/4"), released=RELEASED),
            ModelState.APPROVED,
            "demand-forecast/4 is approved but not released; demand-forecast/3 is released",
        ),
        (
            replace(REGISTRY, approved=APPROVED, released=RELEASED, waiting=(PACKAGE,)),
            ModelState.WAITING,
            "demand-forecast/3 waits for an approval",
        ),
        (replace(REGISTRY, approved=APPROVED, unread="AccessDenied"), ModelState.APPROVED, "has no endpoint for it"),
    ],
)
def test_a_registry_without_an_endpoint_has_a_state(found: RegistryOverview, state: ModelState, message: str) -> None:
    """What is approved is not said to be released, and the other way round."""
    assert state_of_registry(found)[0] is state
    assert message in state_of_registry(found)[1]
