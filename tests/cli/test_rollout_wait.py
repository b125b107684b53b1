"""Following a rollout prints each change once."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cli.running_rollout import BAKING, NOW, REPLAY, STARTING, VERDICT

from mlops_cli import rollout_wait
from mlops_cli.rollout_wait import RolloutWait
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress

EXECUTION = STARTING.execution


class Cloud:
    """An account or the embedded cloud."""

    def __init__(self, *, is_embedded: bool) -> None:
        self.has_movable_clock = lambda: is_embedded

    def client(self, service: str) -> str:
        """Return a client by its name."""
        return service

    def caller(self) -> tuple[str, datetime]:
        """Return caller and time."""
        return "arn:aws:iam::123456789012:user/ann", NOW


class Followed:
    """A followed rollout with its state at each poll."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_embedded: bool = False) -> None:
        self.messages: list[str] = []
        self.slept: list[float] = []
        self.found: RolloutProgress | ClientError = STARTING
        cloud: Any = Cloud(is_embedded=is_embedded)
        monkeypatch.setattr(rollout_wait, "RolloutReader", lambda **_: self)
        self.wait = RolloutWait(
            aws=cloud, endpoint="demand-forecast", echo=self.messages.append, sleep=self.slept.append
        )

    def read(self, execution: str, now: datetime) -> RolloutProgress:
        """Return the state of this poll."""
        assert (execution, now) == (EXECUTION, NOW)
        if isinstance(self.found, ClientError):
            raise self.found
        return self.found

    def look(self, found: RolloutProgress | ClientError) -> list[str]:
        """Poll twice; return the new lines."""
        before, self.found = len(self.messages), found
        self.wait(EXECUTION)
        self.wait(EXECUTION)
        return self.messages[before:]


def test_each_change_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the plan to the record; repeats nothing, and prints the remaining time only when it changed."""
    followed = Followed(monkeypatch)
    assert followed.look(replace(STARTING, phase=Phase.PLANNING, steps=0, at_least=0, is_watched=False)) == [
        "12:00 plans the rollout"
    ]
    assert followed.look(replace(STARTING, phase=Phase.REHEARSING)) == [
        "12:00 the candidate answers golden requests on an endpoint of its own; it has no traffic yet; "
        "20 minutes in all (2 steps of 10 minutes) at least",
        f"      needs 20 more answers without an error while it has traffic, else it is rolled back; send calls: {REPLAY}",
    ]
    assert followed.look(STARTING) == ["12:00 the new fleet starts; it has no traffic yet"]
    assert followed.look(replace(BAKING, verdict=None)) == [
        "12:00 step 1 of 2: 50 % of the traffic; 7 minutes more of this step, 17 minutes in all at least; 52 minutes at most",
        f"      needs 20 more answers without an error before its last step ends, else it is rolled back; send calls: {REPLAY}",
        "12:00 none of the new fleet counted yet",
    ]
    assert followed.look(BAKING) == [f"12:00 {VERDICT.sentence}"]
    assert followed.look(replace(BAKING, at_least=900)) == []
    stopped = replace(
        BAKING, phase=Phase.ROLLING_BACK, step=0, at_least=0, until=None, verdict=replace(VERDICT, action="stop")
    )
    assert followed.look(stopped) == [
        "12:00 is rolled back: the old fleet gets the traffic",
        f"12:00 stopped {VERDICT.sentence}",
    ]
    assert len(followed.slept) == 14


def test_why_a_bake_is_as_long_as_it_is_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed before it begins."""
    followed, reason = Followed(monkeypatch), "bakes 29 minutes a step: calls are few"
    assert f"      {reason}" in followed.look(replace(STARTING, bake_reason=reason))
    assert f"      {reason}" not in followed.look(replace(BAKING, bake_reason=reason))


def test_answers_are_said_each_minute_at_first_and_then_every_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour's bake does not print sixty lines."""
    followed = Followed(monkeypatch)
    reported = [
        followed.look(replace(BAKING, verdict=replace(VERDICT, calls=20, minutes=minute, sentence=f"after {minute}")))
        for minute in range(1, 21)
    ]
    assert [line[-1] for line in reported if line] == [f"12:00 after {n}" for n in (1, 2, 3, 4, 5, 10, 15, 20)]


def test_the_embedded_cloud_says_how_its_clock_reaches_the_end_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls come first, as a jump counts none; an account's clock cannot be moved."""
    embedded, account = Followed(monkeypatch, is_embedded=True), []
    assert embedded.look(STARTING)[-1].startswith("      needs 20")
    lines = embedded.look(BAKING)
    assert "      it waits by the embedded cloud's clock; once calls are sent: mlops local clock --jump 7m" in lines
    enough = replace(BAKING, step=2, verdict=replace(VERDICT, calls=20))
    assert "      it waits by the embedded cloud's clock; mlops local clock --jump 7m" in embedded.look(enough)
    account = Followed(monkeypatch).look(BAKING)
    assert not any("clock" in line for line in account)


def test_who_may_not_read_the_history_is_told_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rollout is still followed; other errors end the command."""
    followed = Followed(monkeypatch)
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetExecutionHistory")
    assert followed.look(denied) == [
        "its steps are not shown: the caller has no read access to the execution's history"
    ]
    assert followed.look(STARTING) == []
    other = ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "GetExecutionHistory")
    with pytest.raises(ClientError, match="Throttling"):
        Followed(monkeypatch).look(other)


def test_nothing_is_said_before_an_execution_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls every second."""
    followed = Followed(monkeypatch)
    followed.wait(None)
    assert (followed.messages, len(followed.slept)) == ([], 1)
