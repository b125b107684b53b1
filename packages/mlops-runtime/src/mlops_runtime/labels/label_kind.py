"""Kind of a model's labels: a number, 0 or 1, a class, or a number for each output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from mlops_runtime.contracts.monitor import Baseline

_LARGEST = (2 - 2**-23) * 2.0**127  # largest 32-bit float, the precision of monitors
_BITS = {True: "1", False: "0", "true": "1", "false": "0"}
_SHOWN = 10  # maximum classes in a message

Kind = Literal["number", "probability", "classes", "outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelKind:
    """Kind of an endpoint's labels; without ``kind`` the model is unknown.

    Example:
        >>> LabelKind(kind="probability").text([True]), LabelKind(kind="number").text(["2.50"])
        ('1', '2.5')
        >>> LabelKind(kind="classes", classes=("1", "2")).text([2.0])
        '2'
    """

    kind: Kind | None = None  # the kind. Default: unknown
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @classmethod
    def of(cls, baseline: Baseline) -> "LabelKind":
        """Return the kind of labels of a baseline's model."""
        if baseline.classes is not None:
            return cls(kind="classes", classes=baseline.classes)
        if baseline.outputs is not None:
            return cls(kind="outputs", outputs=baseline.outputs)
        return cls(kind="probability" if baseline.target == "classification" else "number")

    @property
    def wanted(self) -> str:
        """Valid values of a label, for messages."""
        if self.kind == "probability":
            return "0 or 1"
        if self.kind == "classes":
            more = ", ..." if len(self.classes) > _SHOWN else ""
            return f"a class of the model ({', '.join(self.classes[:_SHOWN])}{more})"
        return "a finite number that fits a 32-bit float" if self.kind is not None else "a finite number or text"

    def text(self, values: Sequence[object]) -> str:
        """Return a label in the form of ground truth records.

        Args:
            values: The label; for several outputs, one value for each of them.

        Raises:
            ValueError: If it is invalid.
        """
        return ",".join(map(self._text, values))

    def _text(self, value: Any) -> str:
        if self.kind == "probability":
            bit = _BITS.get(value.strip().lower() if isinstance(value, str) else value)
            return _number(value, ("0", "1")) if bit is None else bit
        if self.kind in ("number", "outputs"):
            return _number(value)
        text = value.strip() if isinstance(value, str) else None
        if self.kind == "classes":
            if text in self.classes or text is not None:
                return _among(text, self.classes)
            return _among(_number(value), self.classes)
        return _number(value) if text is None else text


def _among(text: str, allowed: Sequence[str]) -> str:
    if text not in allowed:
        raise ValueError(text)
    return text


def _number(value: Any, allowed: Sequence[str] | None = None) -> str:
    """Return a number as text, integers without a decimal point."""
    if not isinstance(value, int | float | Decimal | str) or isinstance(value, bool) or "_" in str(value):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise ValueError(value)
    text = str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return text if allowed is None else _among(text, allowed)
