"""The old name of `manifold.results.results`: handles that an earlier version left in XCom name this module."""

from manifold.renamed import renamed

__getattr__ = renamed(__name__, {"Results": "manifold.results.results:Results"})
