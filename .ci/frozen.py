"""Lets the reference show what events are made of: griffe has to be told that `frozen` makes dataclasses of them."""

from __future__ import annotations

from typing import Any

from griffe import Class, Decorator, ExprName, Extension


class Frozen(Extension):
    """Give each class that `frozen` decorates the decorator `dataclasses.dataclass` beside it."""

    def on_class_instance(self, *, node: Any, cls: Class, **_: Any) -> None:
        """Look at the decorators of a class that was read."""
        if any(decorator.callable_path == "fakellm.script.fields.frozen" for decorator in cls.decorators):
            dataclass = ExprName("dataclass", parent=ExprName("dataclasses"))
            cls.decorators.append(Decorator(dataclass, lineno=node.lineno, endlineno=node.lineno))
