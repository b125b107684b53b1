"""Static analysis of regular expressions for more than linear matching time.

Python's matcher backtracks. It takes more than linear time if two loops of an expression can divide the same characters between
them in many ways and the rest of the expression can still fail; a search itself is such a loop: it restarts at each character.
Both cases show in the expression's Glushkov automaton. Time is exponential if a word leads from a state to itself on two paths. It
is polynomial if a word leads from each of two states to itself and from one to the other.

See: https://doi.org/10.1016/0304-3975(91)90381-B
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from re import _compiler, _parser  # type: ignore[attr-defined]
from re import _constants as ops  # type: ignore[attr-defined]
from typing import Any

_ONCE = 2  # copies of a part with a counted repetition: more copies add no ways of dividing the characters
_SAMPLES = "aZ09_ \t\n\r./:-@\0\x7f\xa0é٣漢"
_SEARCHES = {"search", "sub", "subn", "split", "findall", "finditer"}
_ASSERTIONS = {ops.AT, ops.ASSERT, ops.ASSERT_NOT}


class UnknownPatternError(ValueError):
    """The expression has a back-reference, a loop in a lookaround, or several branches that can be empty."""


@dataclass
class _Part:
    """First and last positions of a part, whether it can be empty, and the last positions after which no assertion can fail."""

    empty: bool
    first: set[int]
    last: set[int]
    free: bool = True  # empty with no assertion
    free_last: set[int] = field(default_factory=set)


class _Automaton:
    def __init__(self, pattern: str, flags: int) -> None:
        tree = _parser.parse(pattern, flags)
        self.flags = tree.state.flags
        self.alphabet = sorted(set(_alphabet(tree)) | set(_SAMPLES))
        self.sets: list[frozenset[str]] = []
        self.follow: dict[int, list[int]] = {}
        self.whole = self._sequence(tree)

    def position(self, letters: frozenset[str]) -> int:
        self.sets.append(letters)
        self.follow[len(self.sets) - 1] = []
        return len(self.sets) - 1

    def _sequence(self, items: Iterable[Any]) -> _Part:
        whole = _Part(empty=True, first=set(), last=set())
        for item in items:
            whole = self._joined(whole, self._part(*item))
        return whole

    def _joined(self, one: _Part, two: _Part) -> _Part:
        self._link(one.last, two.first)
        return _Part(
            empty=one.empty and two.empty,
            first=one.first | (two.first if one.empty else set()),
            last=two.last | (one.last if two.empty else set()),
            free=one.free and two.free,
            free_last=two.free_last | (one.free_last if two.free else set()),
        )

    def _link(self, ends: set[int], begins: set[int]) -> None:
        for end in ends:
            self.follow[end] += begins

    def _part(self, op: Any, argument: Any) -> _Part:
        if op in _ASSERTIONS:
            if op is not ops.AT and _loops(argument[1]):
                raise UnknownPatternError("a loop in a lookahead or lookbehind")
            return _Part(empty=True, first=set(), last=set(), free=False)
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            return self._repeat(*argument)
        if op is ops.SUBPATTERN:
            return self._sequence(argument[-1])
        if op is ops.ATOMIC_GROUP:
            return self._sequence(argument)
        if op is ops.BRANCH:
            parts = [self._sequence(each) for each in argument[1]]
            if sum(part.free for part in parts) > 1:
                raise UnknownPatternError("several branches that can be empty")
            return _Part(
                empty=any(part.empty for part in parts),
                first=set().union(*(part.first for part in parts)),
                last=set().union(*(part.last for part in parts)),
                free=any(part.free for part in parts),
                free_last=set().union(*(part.free_last for part in parts)),
            )
        if op in (ops.GROUPREF, ops.GROUPREF_EXISTS):
            raise UnknownPatternError("a reference to a group")
        here = {self.position(frozenset(c for c in self.alphabet if self._matches(op, argument, c)))}
        return _Part(empty=False, first=here, last=here, free=False, free_last=here)

    def _repeat(self, least: int, most: int, items: Any) -> _Part:
        whole = _Part(empty=True, first=set(), last=set())
        for number in range(_ONCE if most is not ops.MAXREPEAT else max(1, min(least, _ONCE))):
            if number == most:
                break
            part = self._sequence(items)
            if most is ops.MAXREPEAT and number + 1 >= least:
                self._link(part.last, part.first)
            if number >= least:
                part.empty = part.free = True
            whole = self._joined(whole, part)
        return whole

    def _matches(self, op: Any, argument: Any, letter: str) -> bool:
        items = argument if op is ops.IN else [(op, argument)]
        source = _parser.SubPattern(_parser.State(), [(ops.IN, items) if op is ops.IN else (op, argument)])
        source.state.flags = self.flags
        return _compiler.compile(source, self.flags).fullmatch(letter) is not None


def _alphabet(tree: Any) -> Iterator[str]:
    """Yield a letter on each side of each boundary of the expression's character sets."""
    for op, argument in tree:
        if op in (ops.LITERAL, ops.NOT_LITERAL):
            yield from (chr(code) for code in (argument - 1, argument, argument + 1) if 0 <= code <= 0x10FFFF)
        elif op is ops.RANGE:
            yield from (chr(code + by) for code in argument for by in (-1, 0, 1) if 0 <= code + by <= 0x10FFFF)
        elif isinstance(argument, tuple | list | _parser.SubPattern):
            yield from _alphabet(_below(op, argument))


def _below(op: Any, argument: Any) -> Iterator[Any]:
    if op is ops.IN:
        yield from argument
    elif op is ops.BRANCH:
        for each in argument[1]:
            yield from each
    elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT, ops.SUBPATTERN):
        yield from argument[-1]
    elif op in (ops.ASSERT, ops.ASSERT_NOT):
        yield from argument[1]
    elif op is ops.ATOMIC_GROUP:
        yield from argument


def _loops(tree: Any) -> bool:
    return any(
        (op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT) and argument[1] is ops.MAXREPEAT)
        or _loops(list(_below(op, argument)))
        for op, argument in tree
    )


def slow(pattern: str, flags: int = 0, *, method: str) -> str | None:
    """Return the reason why an expression may take more than linear time; None if it cannot.

    Args:
        pattern: The expression.
        flags: Flags of ``re``.
        method: The method of ``re`` that uses it: ``fullmatch``, ``match``, or a searching one.

    Raises:
        UnknownPatternError: If the expression cannot be analysed.

    Example:
        >>> slow("a+b", method="fullmatch"), slow("a+b", method="search")
        (None, 'a search begins anew in a+')
    """
    automaton = _Automaton(pattern, flags)
    steps = {state: set(after) for state, after in automaton.follow.items()}
    twice = [state for state, after in automaton.follow.items() if len(after) != len(set(after))]
    if any(state in _reached(steps, state) for state in twice):
        return "a loop repeats a loop"
    accepting = automaton.whole.free_last if method != "fullmatch" else set()
    start = None
    begins = _parser.parse(pattern, flags)
    anchored = bool(begins) and begins[0] in ((ops.AT, ops.AT_BEGINNING), (ops.AT, ops.AT_BEGINNING_STRING))
    if method in _SEARCHES and not (anchored and not automaton.flags & re.MULTILINE):
        start = automaton.position(frozenset(automaton.alphabet))
        steps[start] = {start, *automaton.whole.first}
    loops = {state: _reached(steps, state) for state in steps}
    loops = {state: after for state, after in loops.items() if state in after}
    for one in loops:
        if _divides(automaton, steps, one, one, loops):
            return "a loop can be passed in two ways"
        for two in (loops[one] & set(loops)) - {one}:
            if two not in accepting and _divides(automaton, steps, one, two, loops):
                return "a search begins anew in a loop" if one == start else "two loops divide the same characters"
    return None


def _reached(steps: dict[int, set[int]], state: int) -> set[int]:
    found: set[int] = set()
    left = list(steps[state])
    while left:
        here = left.pop()
        if here not in found:
            found.add(here)
            left += steps[here]
    return found


def _divides(automaton: _Automaton, steps: dict[int, set[int]], one: int, two: int, loops: dict[int, set[int]]) -> bool:
    """Return whether a word leads from one to one, from one to two, and from two to two; for one state, on two different paths."""
    around = {each: {state for state in loops[each] if each in loops.get(state, ())} for each in (one, two)}
    begin, end = (one, one, two, False), (one, two, two, True)
    seen, left = {begin}, [begin]
    while left:
        a, b, c, apart = left.pop()
        for x in steps[a] & around[one]:
            for y in steps[b]:
                common = automaton.sets[x] & automaton.sets[y]
                if not common:
                    continue
                for z in steps[c] & around[two]:
                    if not common & automaton.sets[z]:
                        continue
                    differs = apart or one != two or x != y
                    there = (x, y, z, differs)
                    if there == end:
                        return True
                    if there not in seen:
                        seen.add(there)
                        left.append(there)
    return False
