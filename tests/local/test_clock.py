"""The clock by itself: scaled, moved, waited for, and never set back while something depends on it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mlops_local import clock, stamps
from mlops_local.cloud import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_local.cloud import Cloud


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin each test with a clock on real time and no sources."""
    monkeypatch.setattr(clock, "_SEGMENTS", [clock._Segment(time.time(), time.time(), 1.0)])
    monkeypatch.setattr(clock, "_SOURCES", [])
    monkeypatch.setattr(clock, "_GUARDS", [])
    monkeypatch.setattr(clock, "_SETTLERS", [])
    monkeypatch.setattr(clock, "_factor", 1.0)
    monkeypatch.setattr(clock, "_working", 0)
    monkeypatch.setattr(clock, "_ran", time.time())
    return


class Real:
    """A real-time clock that stands still until the test moves it, independent of the machine's load."""

    def __init__(self) -> None:
        self.at = 1_500_000_000.0

    def time(self) -> float:
        """Return the time, like the module ``time``."""
        return self.at


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Real:
    """Put the clock on a stopped real-time clock."""
    stopped = Real()
    monkeypatch.setattr(clock, "time", stopped)
    monkeypatch.setattr(clock, "_SEGMENTS", [clock._Segment(stopped.at, stopped.at, 1.0)])
    monkeypatch.setattr(clock, "_ran", stopped.at)
    return stopped


class Every:
    """A source due at each multiple of some seconds that records its times and the clock's time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.times: list[float] = []
        self.clock: list[float] = []

    def due(self, after: float) -> float:
        """Return the next multiple."""
        return (after // self.seconds + 1) * self.seconds

    def run(self, at: float) -> bool:
        """Record the times."""
        self.times.append(at)
        self.clock.append(clock.now())
        return True


def test_scale_makes_time_pass_faster_from_now_on(real: Real) -> None:
    """The clock continues from the present time, a hundred times as fast."""
    before = clock.now()
    clock.set_scale(100)
    assert clock.now() == before
    real.at += 0.05
    assert clock.now() - before == pytest.approx(5)


@pytest.mark.parametrize("factor", [0, -1, 100_001])
def test_fails_on_a_scale_out_of_bounds(factor: float) -> None:
    """A scale of zero, a negative one and one beyond the machine's speed are rejected."""
    with pytest.raises(clock.ClockError, match=f"scale must be between 0.001 and 100000, got {factor}"):
        clock.set_scale(factor)


def test_jump_runs_what_is_due_in_order_at_its_own_time(real: Real) -> None:
    """Sources are interleaved; the clock stops at each due time while a source runs."""
    start = clock.now()
    minutes, hours = Every(60), Every(3600)
    clock.add_source(minutes)
    clock.add_source(hours)
    assert clock.jump(start + 7200) == 120
    assert minutes.times == [(start // 60 + 1 + index) * 60 for index in range(120)]
    assert len(hours.times) == 2
    assert minutes.clock == minutes.times  # it stops
    assert clock.now() == start + 7200
    real.at += 1
    assert clock.now() == start + 7201


def test_jump_waits_for_what_was_set_off() -> None:
    """The clock stops at each due time until everything triggered there is done."""
    clock.add_source(Every(3600))
    seen: list[float] = []

    def settle() -> None:
        time.sleep(0.02)
        seen.append(clock.now() % 3600)

    clock.add_settler(settle)
    clock.set_scale(1000)
    clock.jump(clock.now() + 3 * 3600)
    assert seen == [0.0, 0.0, 0.0]


def test_fails_to_skip_silently_when_too_much_is_due(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A jump runs a bounded number of due times and logs that the rest is skipped."""
    monkeypatch.setattr(clock, "JUMP_LIMIT", 10)
    clock.add_source(Every(60))
    assert clock.jump(clock.now() + 3600) == 10
    assert "more than 10 times are due before" in caplog.text


def test_jump_wakes_who_waits() -> None:
    """An hour's wait ends with the jump past its end, not before."""
    ends: list[bool] = []
    thread = threading.Thread(target=lambda: ends.append(clock.wait(3600)))
    thread.start()
    while not clock.state()["waiting"]:
        time.sleep(0.01)
    clock.jump(clock.now() + 3000)
    thread.join(0.2)
    assert ends == []
    clock.jump(clock.now() + 700)
    thread.join(5)
    assert ends == [True]


def test_wait_ends_early_when_stopped() -> None:
    """Returns whether the time passed."""
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert clock.wait(3600, stop) is False
    assert clock.wait(-1, stop) is True


def test_tells_what_it_said_at_a_moment_of_real_time(real: Real) -> None:
    """MiniStack's real timestamps are converted to the embedded time of that instant, across scales and jumps."""
    first, embedded = real.at, clock.now()
    real.at += 1
    clock.jump(embedded + 1000)
    clock.set_scale(10)
    real.at += 1
    second, later = real.at, clock.now()
    assert later == embedded + 1010
    real.at += 1
    clock.jump(later + 1000)
    assert clock.at_real(first) == embedded
    assert clock.at_real(first + 0.5) == embedded + 0.5
    assert clock.at_real(second) == later
    assert clock.at_real(real.at) == clock.now() == later + 1000


def test_may_begin_in_a_past_year() -> None:
    """It may be set back while nothing depends on it; due times then run from there."""
    source = Every(3600)
    past = datetime(2017, 1, 2, tzinfo=UTC).timestamp()
    assert clock.jump(past) == 0
    clock.add_source(source)
    clock.jump(past + 7200)
    assert source.times == [past + 3600, past + 7200]


def test_fails_to_go_back_under_what_counts_on_it() -> None:
    """The error names everything that depends on the clock."""
    clock.add_guard(lambda: "2 schedules exist")
    clock.add_guard(lambda: None)
    clock.add_guard(lambda: "1 alarms exist")
    with pytest.raises(
        clock.ClockError,
        match=r"cannot be set back to 2017-01-02T00:00:00\.000Z: 2 schedules exist; 1 alarms exist; set it back before",
    ):
        clock.jump(datetime(2017, 1, 2, tzinfo=UTC).timestamp())


def test_is_set_over_http(own_cloud: Callable[..., Cloud]) -> None:
    """Starts with a scale, jumps to and by, and rejects invalid requests in one line."""
    cloud = own_cloud(clock_scale=60)
    assert cloud.clock()["scale"] == 60
    assert cloud.clock_scale(1)["scale"] == 1
    assert cloud.clock_jump(to=datetime(2017, 1, 2))["now"].startswith("2017-01-02T00:00:0")
    assert cloud.clock_jump(by=timedelta(days=1))["now"].startswith("2017-01-03T00:00:0")
    with pytest.raises(CloudError, match=r"scale must be between 0\.001 and 100000, got 0"):
        cloud.clock_scale(0)
    with pytest.raises(CloudError, match="a jump takes one of by and to, got by=None and to=None"):
        cloud.clock_jump()
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="a", Namespace="n", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    with pytest.raises(CloudError, match=r"the clock cannot be set back to 2016-01-01T00:00:00\.000Z: 1 alarms exist"):
        cloud.clock_jump(to=datetime(2016, 1, 1, tzinfo=UTC))


def test_what_holds_the_clock_lets_it_run_no_faster_than_real_time() -> None:
    """Servers take real time to start; two that start share one hold, and each ends once."""
    clock.set_scale(1000)
    first, second = clock.Hold(60), clock.Hold(60)
    assert (clock.pace(), clock.scale()) == (1, 1000)
    first.release()
    first.release()
    began = time.time()
    time.sleep(0.05)
    ended = time.time()
    assert clock.at_real(ended) - clock.at_real(began) == pytest.approx(ended - began, abs=1e-4)

    second.release()

    assert clock.pace() == 1000
    before = clock.now()
    time.sleep(0.05)
    assert clock.now() - before >= 50


def test_a_hold_ends_by_itself() -> None:
    """A server that never starts does not stop time; a wait then continues."""
    clock.set_scale(1000)
    clock.Hold(0.05)

    assert clock.wait(200)

    assert clock.pace() == 1000


def test_a_hold_does_not_let_a_jump_run_on() -> None:
    """The clock stops at each due time of a jump, whatever holds are added or released meanwhile."""
    seen: list[float] = []

    class Starts(Every):
        def run(self, at: float) -> bool:
            held = clock.Hold(60)
            time.sleep(0.02)
            seen.append(clock.now() - at)
            held.release()
            return super().run(at)

    clock.add_source(Starts(1000))
    clock.set_scale(1000)
    clock.jump(clock.now() + 3000)

    assert seen == [0.0] * len(seen)
    assert len(seen) == 3


def test_a_message_of_a_jump_is_not_of_before_the_time_that_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timestamp has whole milliseconds, and a jump reaches a due time within one."""
    before, due = clock._Segment(1000.0, 5000.0, 0.0), clock._Segment(1000.0004, 8600.0, 0.0)
    monkeypatch.setattr(clock, "_SEGMENTS", [before, due])

    assert stamps.embedded_stamp("1000000") == "8600000"
