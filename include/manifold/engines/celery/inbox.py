"""Turns what comes back from Celery workers into the ends of futures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from manifold.engines.celery import messages as ms
from manifold.engines.celery.calls import InFlight, Loss, Sent, Sign
from manifold.engines.celery.consumer import rarely
from manifold.engines.celery.nodes import Nodes
from manifold.errors import VersionMismatch, WireError

log = logging.getLogger(__name__)


class Inbox:
    """Each call in flight ends here, once: answered, refused, lost or cancelled. For any thread.

    Args:
        me: names this process alone, so that nobody's echo but its own counts.
        unheard: the queues in which something may wait from before; each is taken out when all of that was heard.
        over: is called after each end, with whether the call was cancelled.
    """

    def __init__(
        self, me: str, flight: InFlight, nodes: Nodes, over: Callable[[Sent, bool], None], unheard: set[str]
    ) -> None:
        self._me = me
        self._flight = flight
        self._nodes = nodes
        self._over = over
        self._turn = threading.Lock()
        self.refused = 0  # answers that nobody of this deployment had signed
        self.beats = 0
        self._unheard = unheard

    def heard(self, message: ms.Message) -> None:
        """Act on one message; the listener's thread calls it, in the order of the queue."""
        match message:
            case ms.Echo(by, beat, queue):
                if by == self._me:
                    self._echoed(queue, beat=beat)
            case ms.Answered():
                self._answered(message)
            case ms.Refused(call, why, "versions"):
                self.end(call, lambda future: future.set_exception(VersionMismatch(why)))
            case ms.Overdue(_, worker):
                self._ended(message, f"{worker} was ended over an item that ran past its timeout", overdue=True)
            case ms.Died(_, worker):
                self._ended(message, f"{worker} has died")
            case _:
                self._flight.heard(message)
                self._note(message)

    def _echoed(self, queue: str, *, beat: bool) -> None:
        self._unheard.discard(queue)
        if beat:
            self.beats += 1
            for loss in self._flight.tick():
                self.lose(loss)

    def lose(self, loss: Loss) -> None:
        """Fail a call whose worker or message is gone."""
        self.end(loss.call.id, lambda future: future.set_exception(loss.error()))

    def end(self, call_id: str, settle: Callable[[Future[Any]], None]) -> None:
        """Let `settle` give the call's future its result or exception, unless the call has ended already."""
        call = self._flight.get(call_id)
        if call is not None and self._begin(call) and self._flight.remove(call_id) is not None:
            settle(call.future)
            self._over(call, False)

    def watch(self, call: Sent) -> None:
        """See to it that a cancelled future ends its call."""
        call.future.add_done_callback(lambda future: self._cancelled(call) if future.cancelled() else None)

    def _note(self, message: Sign) -> None:
        if isinstance(message, ms.Serving):
            self._nodes.heard(message, self._flight.now)
        elif isinstance(message, ms.Started) and (call := self._flight.get(message.call)) is not None:
            self._begin(call)

    def _ended(self, message: ms.Overdue | ms.Died, why: str, *, overdue: bool = False) -> None:
        call = self._flight.get(message.call)
        if call is not None:
            call.worker, call.position = message.worker, message.position
            call.excused &= not call.adopted  # what silence would not prove, this does
            self.lose(Loss(call, why, overdue=overdue, witnessed=True))  # the main process of the worker says so

    def _answered(self, answered: ms.Answered) -> None:
        call = self._flight.get(answered.call)
        if call is None:
            return  # late, or a copy's: the call has ended
        try:
            ok, value = ms.open_answer(call.name, answered)
        except WireError as exc:
            self.refused += 1
            if rarely(self.refused):
                log.warning("ignored answer %s that is not signed: %s", f"{self.refused:,}", exc)
            return
        settle = Future.set_result if ok else Future.set_exception
        self.end(answered.call, lambda future: settle(future, value))

    def _begin(self, call: Sent) -> bool:
        """From here on its future cannot be cancelled; False where it was."""
        # One at a time: a future may be told only once that it runs, or that its cancellation was noted.
        with self._turn:
            if call.future.running():
                return True
            if self._flight.get(call.id) is None:
                return False
            if call.future.set_running_or_notify_cancel():
                return True
            self._flight.remove(call.id)
        self._over(call, True)
        return False

    def _cancelled(self, call: Sent) -> None:
        with self._turn:
            if self._flight.remove(call.id) is None:
                return
            call.future.set_running_or_notify_cancel()
        self._over(call, True)
