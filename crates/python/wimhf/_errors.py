"""What can go wrong. The texts are those of the command, with options as keywords."""

from __future__ import annotations


class WimhfError(Exception):
    """Something went wrong in wimhf; by itself a defect of ours.

    ``field`` names the keyword that the text is about, ``hint`` says what to do; either may be ``None``.
    """

    field: str | None
    hint: str | None

    def __init__(self, message: str, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.hint = hint or message.partition("\nhint: ")[2] or None


class InputError(WimhfError, ValueError):
    """Data or settings that cannot be used as they are."""


class RunError(WimhfError):
    """A run directory that is not there, not finished, damaged, or of other data."""


class ModelError(WimhfError):
    """A language model or an embedder's server."""


class BudgetError(WimhfError):
    """A limit on calls or dollars that was set is reached."""


class Cancelled(WimhfError):
    """Somebody asked to stop; the same call goes on from there."""


for _class in (WimhfError, InputError, RunError, ModelError, BudgetError, Cancelled):
    _class.__module__ = "wimhf"
