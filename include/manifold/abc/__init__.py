"""The contracts: what an adapter must do, as rules that the contract tests hold it to.

One loop (`manifold.coordinator.loop`) is the only code that knows them all.
"""

from manifold.abc.clock import Clock
from manifold.abc.engine import Engine
from manifold.abc.monitor import Monitor
from manifold.abc.source import Source
from manifold.abc.store import Store
from manifold.abc.transport import MailboxFull, Place, Transport, TransportError

__all__ = ["Clock", "Engine", "MailboxFull", "Monitor", "Place", "Source", "Store", "Transport", "TransportError"]
