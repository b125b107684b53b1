"""The error that constructs raise for invalid arguments."""

from collections.abc import Iterable

from constructs import IConstruct


class ValidationError(ValueError):
    """Invalid arguments of a construct; the message contains the code, every problem and the construct's path.

    Attributes:
        code: Stable name of the rule, such as ``InvalidBusinessUnit``.
        problems: One message per problem: the value got, what is allowed, and the fix.
    """

    def __init__(self, code: str, problems: Iterable[str], scope: IConstruct | None = None) -> None:
        self.code = code
        self.problems = tuple(problems)
        where = "" if scope is None else f" [{scope.node.path}]"
        super().__init__(f"{code}: {'; '.join(self.problems)}{where}")
