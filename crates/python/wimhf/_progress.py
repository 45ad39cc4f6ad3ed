"""Who watches: nobody, a bar, a function, or something like tqdm."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any, Callable, Protocol

log = logging.getLogger("wimhf")


class Event(Protocol):
    """Something like `threading.Event`."""

    def is_set(self) -> bool: ...


class Watcher:
    """Hears what the native module says, ten times a second, in the thread that called."""

    def __init__(self, progress: Any, cancel: Event | None = None) -> None:
        self.cancel = cancel
        self.show = _shown(progress)

    def __call__(self, events: list[tuple[Any, ...]]) -> bool:
        """Passes events on; whether the work should stop."""
        for kind, *rest in events:
            if kind == "note":
                log.info(rest[0])
            elif kind == "metrics":
                log.debug("step %d: %s", *rest)
            elif kind == "stage":
                self.show.stage(*rest)
            elif kind == "advance":
                self.show.advance(*rest)
            elif kind == "finished":
                log.debug("stage %s: %s", rest[0], "reused" if rest[2] else f"{rest[1]:.1f} s")
                self.show.finished(*rest)
        return self.cancel is not None and self.cancel.is_set()

    def close(self) -> None:
        self.show.close()


class Nothing:
    """Shows nothing."""

    def stage(self, name: str, total: int) -> None: ...
    def advance(self, done: int) -> None: ...
    def finished(self, name: str, seconds: float, reused: bool) -> None: ...
    def close(self) -> None: ...


class Call(Nothing):
    """Calls a function with a stage's name, the units done and all of them (0 where unknown)."""

    def __init__(self, function: Callable[[str, int, int], object]) -> None:
        self.function = function
        self.name, self.total = "", 0

    def stage(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.function(name, 0, total)

    def advance(self, done: int) -> None:
        self.function(self.name, done, self.total)

    def finished(self, name: str, seconds: float, reused: bool) -> None:
        self.function(name, self.total, self.total)


class Bars(Nothing):
    """A bar a stage, made by something like tqdm."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.bar: Any = None
        self.done = 0

    def stage(self, name: str, total: int) -> None:
        self.close()
        self.bar, self.done = self.make(total=total or None, desc=name, leave=False), 0

    def advance(self, done: int) -> None:
        if self.bar is not None:
            self.bar.update(done - self.done)
            self.done = done

    def finished(self, name: str, seconds: float, reused: bool) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Line(Nothing):
    """One line that is written over, on a terminal."""

    def __init__(self) -> None:
        self.name, self.total = "", 0

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<60}")
        sys.stderr.flush()

    def stage(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self._write(name)

    def advance(self, done: int) -> None:
        self._write(f"{self.name} {done:,} / {self.total:,}" if self.total else self.name)

    def finished(self, name: str, seconds: float, reused: bool) -> None:
        self._write(f"{name}: reused" if reused else f"{name}: {seconds:.1f} s")

    def close(self) -> None:
        if self.name:
            sys.stderr.write("\r" + " " * 60 + "\r")
            sys.stderr.flush()
            self.name = ""


def in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _shown(progress: Any) -> Nothing:
    if progress is None or progress is False:
        return Nothing()
    if progress is True:
        notebook = in_notebook()
        if not notebook and not sys.stderr.isatty():
            return Nothing()
        try:
            with warnings.catch_warnings():
                # Without ipywidgets it is a bar of text, which is good enough.
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm
        except ImportError:
            return Line()
        return Bars(tqdm)
    if hasattr(progress, "update") and callable(progress):
        return Bars(progress)
    if callable(progress):
        return Call(progress)
    from wimhf._errors import InputError

    raise InputError(
        f"`progress` cannot be {progress!r}\nhint: True, False, a function of (stage, done, total), or tqdm", "progress"
    )
