"""The contract tests, for adapters of this project and of others; they need pytest.

`docs/adapters.md` shows how an adapter from elsewhere is held to them.
"""

from __future__ import annotations

import sys

# Workers import `calls` from here, and have no pytest. Where there is one, it shows the values in a failed assertion
# only for modules that are registered before their import.
if "pytest" in sys.modules:
    import pytest

    pytest.register_assert_rewrite("manifold.testing.engines", "manifold.testing.stores")
