"""`python -m manifold.deploy.health URL [PART]`: exit status 0 if that address says that it is well.

With a PART, the answer is JSON as Airflow's health pages give it, and that part of it must be healthy.
"""

from __future__ import annotations

import json
import sys
from urllib.request import ProxyHandler, build_opener


def well(url: str, part: str = "") -> str | None:
    """What is wrong; None if nothing is."""
    try:
        # A service of this deployment is not behind anybody's proxy.
        with build_opener(ProxyHandler({})).open(url, timeout=15) as answer:
            said = json.load(answer) if part else {}
    except (OSError, ValueError) as exc:
        return f"{url}: {exc}"
    status = said.get(part, {}).get("status", "not mentioned") if part else "healthy"
    return None if status == "healthy" else f"{url}: {part} is {status}"


if __name__ == "__main__":
    sys.exit(well(*sys.argv[1:]))
