"""Whether the values in a declaration are of the types that its fields say; Python itself checks none. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a field holds: its type, how that is said, and whether ``None`` stands for left out."""

    type: type
    said: str
    is_optional: bool = False

    def holds(self, value: object) -> bool:
        """Return whether a value is one; ``True`` and ``False`` are no numbers."""
        if value is None:
            return self.is_optional
        return isinstance(value, self.type) and (self.type is bool or not isinstance(value, bool))


TEXT = Kind(type=str, said="a str")
OPTIONAL_TEXT = Kind(type=str, said="a str", is_optional=True)
FLAG = Kind(type=bool, said="True or False")
VERSION = Kind(type=int, said="a whole number, at least 1")
SPAN = Kind(type=timedelta, said="a timedelta such as timedelta(days=14)")
OPTIONAL_SPAN = Kind(type=timedelta, said=SPAN.said, is_optional=True)


def wrong_fields(declared: object, kinds: Mapping[str, Kind]) -> dict[str, str]:
    """Return the problem of each field whose value is of another type, by the field's name.

    Args:
        declared: The object.
        kinds: What each field holds, by its name.

    Example:
        >>> wrong_fields(timedelta(1), {"days": TEXT, "seconds": VERSION})
        {'days': 'days must be a str, got 1'}
    """
    values = {name: getattr(declared, name) for name in kinds}
    return {
        name: f"{name} must be {kind.said}, got {values[name]!r}" + ("; leave it out for none" * kind.is_optional)
        for name, kind in kinds.items()
        if not kind.holds(values[name])
    }


def tuple_problem(name: str, value: object, kind: type) -> str | None:
    """Return the problem of what is no tuple of a kind; the comma of a tuple of one is easily forgotten.

    Args:
        name: Name of the field.
        value: Its value.
        kind: What the tuple holds.

    Example:
        >>> tuple_problem("entities", 5, int), tuple_problem("entities", (5,), int)
        ('entities must be a tuple of int, got one int without a comma; write entities=(int(...),)', None)
    """
    if isinstance(value, kind):
        return (
            f"{name} must be a tuple of {kind.__name__}, got one {kind.__name__} without a comma; "
            f"write {name}=({kind.__name__}(...),)"
        )
    if not isinstance(value, tuple):
        fix = (
            f"; write {name}=({kind.__name__}(...), ...)" if not isinstance(value, list) else "; write (...), not [...]"
        )
        return f"{name} must be a tuple of {kind.__name__}, got {_short(value)}{fix}"
    others = [_short(each) for each in value if not isinstance(each, kind)]
    if others:
        return f"{name} must hold {kind.__name__}(...) each, got {', '.join(others)}"
    return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
