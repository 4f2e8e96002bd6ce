"""How the child says that a target cannot be used as it was given."""

from __future__ import annotations


class CannotLoad(Exception):
    """The target cannot be used as it was given: what, where, and what to do."""

    def __init__(self, what: str, where: str, todo: str) -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo
