"""What the demo tells the person in front of it: lasting lines, and one line that says what is being waited for."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status


class Screen:
    """Lines on a console. Where that is not a terminal, what is being waited for is a plain line, once."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._status: Status | None = None
        self._last = ""

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)

    def waiting(self, text: str) -> None:
        """Say what is being waited for, in place of what was said last."""
        if text == self._last:
            return
        self._last = text
        if not self.console.is_terminal:
            self.console.print(text, markup=False, soft_wrap=True)
        elif self._status:
            self._status.update(text)
        else:
            self._status = self.console.status(text)
            self._status.start()

    def done(self) -> None:
        """Nothing is being waited for any more."""
        self._last = ""
        if self._status:
            self._status.stop()
            self._status = None
