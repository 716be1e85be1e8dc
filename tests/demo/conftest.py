"""Some of these tests are about what root has to do, and only root can try it."""

from __future__ import annotations

import os

collect_ignore = [] if os.geteuid() == 0 else ["test_reach.py"]
