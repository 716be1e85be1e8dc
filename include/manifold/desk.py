"""What an adapter of another package writes an engine with whose cluster tells of the end of its workers."""

from manifold.engines._desk import Desk, Node, Sent, worker_name

__all__ = ["Desk", "Node", "Sent", "worker_name"]
