"""Two small units with IAM enforced: a sample of calls by one's roles on the other's resources is denied; a campaign makes all.

The units are `pilot` with a model `two` and `pilot-two` with a model `first`, in one network: name patterns of the first, such
as `pilot-two-*`, match resources of the second.
"""

from collections import defaultdict
from collections.abc import Iterator

import pytest
from tests.security import running, units
from tests.security.attack import DENIED, MADE
from tests.security.cross_unit import Pair, Score, is_open, unknown_types
from tests.security.escalations import WAYS, controls, escalate

from mlops_local import cloud as local_cloud

pytestmark = pytest.mark.cloud

MODELS = (
    "first",
    "golden-one",
    "rollout-one",
    "scaling-one",
)  # kinds of the second unit, including names that the first's patterns continue with
STEP = 2  # every second operation on each kind of resource, by one role, chosen by a seed; the campaign covers all


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Deploy both."""
    folder = tmp_path_factory.mktemp("units")
    assembly = units.synthesize_small(folder / "assembly")
    cloud = local_cloud.up(folder / "cloud")
    try:
        units.deploy(cloud, assembly)
        yield Pair(cloud, assembly, units.SMALL)
    finally:
        cloud.down()


def test_no_role_reaches_the_other_unit(pair: Pair) -> None:
    """Each attempt is denied; an administrator makes the same call, or gets another error than a denial."""
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    for attempt, answer in pair.make(pair.sample("Pilot", 1)[::STEP]):
        score = scores[attempt.call.target.kind, attempt.call.key]
        score.answers[answer] += 1
        score.roles |= {attempt.role} if answer != DENIED else set()
    for key, answer in pair.controls("PilotTwo", scores.keys()).items():
        scores[key].control = answer

    valid = {key: score for key, score in scores.items() if score.is_valid}
    through = {key: (score.answers, score.roles) for key, score in valid.items() if score.through and not is_open(key)}
    assert through == {}
    assert sum(score.attempts for score in valid.values()) >= 170
    assert sum(score.control == MADE for score in valid.values()) >= 100
    # a key's own policy limits everyone; calls that it denies an administrator are not counted
    assert {key[1].partition(":")[0] for key, score in scores.items() if score.control == DENIED} <= {"kms"}


def test_names_that_look_alike_open_nothing(pair: Pair) -> None:
    """Calls that name patterns allow on the other unit's resources are denied by the boundary, which checks the tag."""
    role = next(name for logical, name in pair.roles["PilotTwo"].items() if logical.startswith("EndpointRole"))
    arn = f"arn:aws:iam::{units.ACCOUNT}:role/{role}"
    alike = running.make(pair.cloud, stack="PilotTwo", unit="pilot-two", role=arn, models=MODELS)
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    for attempt, answer in pair.make(pair.met("Pilot", alike)):
        score = scores[attempt.call.target.logical_id, attempt.call.key]
        score.answers[answer] += 1
        score.roles |= {attempt.role} if answer != DENIED else set()

    assert {key: (score.answers, score.roles) for key, score in scores.items() if score.through} == {}
    assert {target.partition("/")[0] for target, _ in scores} == set(MODELS)
    assert sum(score.attempts for score in scores.values()) >= 120


def test_no_role_gets_more_rights(pair: Pair) -> None:
    """Each way of `escalations.yaml` is denied to each role of a unit, and open to an administrator."""
    answers = list(escalate(pair, "Pilot"))
    through = [each for each in answers if each[2] != DENIED]
    control = dict(controls(pair, "Pilot"))

    assert through == []
    assert len(answers) == len(WAYS) * len(pair.roles["Pilot"]) >= 250
    assert {way: answer for way, answer in control.items() if answer == DENIED} == {}
    assert sum(answer == MADE for answer in control.values()) >= 15


def test_every_resource_is_attacked(pair: Pair) -> None:
    """Types that `targets.yaml` does not list must be added, with their calls or a reason."""
    assert unknown_types(pair.targets["PilotTwo"]) == set()
    assert len(pair.roles["Pilot"]) >= 9
