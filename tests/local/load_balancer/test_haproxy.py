"""haproxy's configuration and commands as text; test_balancers shows their effect."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.load_balancer import haproxy
from mlops_local.load_balancer.routing import Address, Listener, Routing, Rule

GROUPS = ("targetgroup/blue/1", "targetgroup/green/2")


def _routing(first: int, second: int, **targets: tuple[Address, ...]) -> Routing:
    weighted = ((GROUPS[0], first), (GROUPS[1], second))
    rules = (
        Rule(
            paths=("/invocations", "/v2/*"),
            hosts=("*.Example.com",),
            groups=weighted,
            rewrite=("^/v2/(.*)$", "/100%/$1"),
        ),
        Rule(fixed=(404, "text/plain", 'it\'s a "quoted" $HOME \\ text')),
    )
    found = {group: targets.get(group.split("/")[1], ()) for group in GROUPS}
    return Routing((Listener(80, rules),), found)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed; apt-get install haproxy")
def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    """Strings of templates cannot escape their quotes."""
    routing = _routing(90, 10)
    text = haproxy.configuration(routing, descriptors={80: 3}, admin=4, log_port=5)
    text = text.replace("bind fd@3", "bind 127.0.0.1:65000").replace("stats socket fd@4 level admin", "maxconn 10")
    (tmp_path / "shares.map").write_text(
        "".join(f"{name} {value}\n" for name, value in haproxy.shares(routing).items())
    )
    (tmp_path / "haproxy.cfg").write_text(text)

    checked = subprocess.run(
        ["haproxy", "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


def test_shares_follow_the_weights() -> None:
    """Upper bounds among a million numbers at which a group is chosen."""
    assert haproxy.shares(_routing(90, 10)) == {"l0r0g0": 900_000, "l0r0g1": 1_000_000}
    assert haproxy.shares(_routing(0, 0)) == {"l0r0g0": 0, "l0r0g1": 0}


def test_only_what_changed_is_told() -> None:
    """Weights by the map; a new target gets a free slot, and a removed one is put into maintenance."""
    slots: dict[str, dict[Address, int]] = {}
    one, two = ("127.0.0.1", 1), ("127.0.0.1", 2)
    first, second = _routing(100, 0, blue=(one,)), _routing(50, 50, blue=(two,))

    assert haproxy.commands(slots, first, first) == [
        "set server targetgroup:blue:1/t1 addr 127.0.0.1 port 1", "set server targetgroup:blue:1/t1 state ready"
    ]  # fmt: skip
    assert haproxy.commands(slots, first, second) == [
        "set server targetgroup:blue:1/t2 addr 127.0.0.1 port 2", "set server targetgroup:blue:1/t2 state ready",
        "set server targetgroup:blue:1/t1 state maint", "set map shares.map l0r0g0 500000",
    ]  # fmt: skip
    assert haproxy.commands(slots, second, second) == []


@given(st.lists(st.sets(st.integers(1, 40), max_size=32), max_size=8))
def test_every_target_has_a_slot_of_its_own(steps: list[set[int]]) -> None:
    """After any changes the ready slots are those of the targets, and none is shared."""
    slots: dict[str, dict[Address, int]] = {}
    ready: dict[str, int] = {}
    old = _routing(1, 0)
    for ports in steps:
        new = _routing(1, 0, blue=tuple(("127.0.0.1", port) for port in sorted(ports)))
        for command in haproxy.commands(slots, old, new):
            words = command.split()
            if "addr" in words:
                ready[words[2]] = int(words[-1])
            elif words[-1] == "maint":
                del ready[words[2]]
        old = new
        assert sorted(ready.values()) == sorted(ports)


def test_more_targets_than_there_is_room_for_are_refused() -> None:
    """By name, instead of leaving some out."""
    many = tuple(("127.0.0.1", port) for port in range(1, 40))

    with pytest.raises(haproxy.ProxyError, match="more than 32 targets"):
        haproxy.commands({}, _routing(1, 0), _routing(1, 0, blue=many))
