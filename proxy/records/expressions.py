"""JMESPath over records, at a bounded cost: an expression comes from the configuration, what it looks at from clients.

JMESPath has no loops, but a short expression can be dear all the same. ``join('', [@, @]) | join('', [@, @]) | …``
doubles a text with every step, ``[@, @] | [@, @] | … | to_string(@)`` a tree whose branches are all the same object and
take no memory until somebody writes them down. So each step is paid for, out of a budget that a record has anew:

    * a step of the interpreter costs ``STEP``, whatever it does;
    * what a function is given, or is compared, costs its characters and its values, all branches counted, before it is
      looked at;
    * what comes out costs the same, if a text or a list was made.

So whatever an expression says, the time it takes and the memory of its values are bounded by ``BUDGET``. The library's
interpreter does the work; here it is only counted.

Sources: the JMESPath specification (jmespath.org); jmespath.py 1.0, ``visitor.TreeInterpreter``.
"""

from collections.abc import Mapping
from typing import Any, Final

import jmespath
from jmespath.visitor import TreeInterpreter

__all__ = ["BUDGET", "STEP", "BoundedExpression", "DearError"]

BUDGET: Final = 8 << 20
"""Of one expression over one record, in characters."""

STEP: Final = 64
"""What a step costs: it takes as long as looking through as many characters, at the least."""


class DearError(ValueError):
    """An expression would cost more than it may."""


class BoundedExpression:
    """A compiled expression.

    Args:
        text: JMESPath.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, text: str) -> None:
        self._tree: Mapping[str, Any] = jmespath.compile(text).parsed

    def search(self, value: Any) -> Any:
        """Return what it says of ``value``.

        Raises:
            DearError: it would cost too much.
            ValueError: it cannot be evaluated; others of the library's come as they are.
        """
        return _Meter().visit(self._tree, value)


class _Meter(TreeInterpreter):  # type: ignore[misc]  # the library has no types
    """An interpreter that pays for what it does."""

    def __init__(self) -> None:
        super().__init__()
        self._left = BUDGET

    def visit(self, node: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Evaluate a node of the tree."""
        self._pay(STEP)
        result = super().visit(node, *args, **kwargs)
        is_made = node["type"] == "function_expression" or type(result) is not str
        if is_made and isinstance(result, str | list | dict):
            self._pay(len(result))
        return result

    def visit_function_expression(self, node: Mapping[str, Any], value: Any) -> Any:
        """Call a function, once what it is given is paid for."""
        given = [self.visit(child, value) for child in node["children"]]
        for each in given:
            self._weigh(each)
        return self._functions.call_function(node["value"], given)

    def visit_comparator(self, node: Mapping[str, Any], value: Any) -> Any:
        """Compare, once what is compared is paid for."""
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            self._weigh(side)
        literals = [{"type": "literal", "value": side, "children": []} for side in sides]
        return super().visit_comparator({**node, "children": literals}, value)

    def _weigh(self, value: Any) -> None:
        """Pay for all that is in ``value``, each branch as often as it is there."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if type(each) is str:
                self._pay(1 + len(each))
            elif type(each) is list:
                self._pay(1 + len(each))
                waiting += each
            elif type(each) is dict:
                self._pay(1 + len(each) + sum(map(len, each)))
                waiting += each.values()
            else:
                self._pay(1)

    def _pay(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise DearError("an expression of log.keep costs too much")
