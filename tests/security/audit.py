"""`make audit`: the pinned packages against the advisories that pip-audit knows.

Exit code 0 where none has a known vulnerability, 1 where one has. Where no advisory database can be reached it says so
and ends with 0: an audit that could not be made is not a finding.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_LOCKS = ("requirements.txt", "requirements-dev.txt")


def main() -> int:
    """The exit code; prints what was found."""
    worst = 0
    for lock in _LOCKS:
        # The locks pin everything, so nothing is resolved or installed.
        options = [
            "--requirement",
            str(_ROOT / lock),
            "--disable-pip",
            "--no-deps",
            "--format",
            "json",
            "--timeout",
            "10",
        ]
        told = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", *options],
            capture_output=True,
            text=True,
            check=False,
        )
        worst = max(worst, report(lock, told.stdout, told.stderr))
    return worst


def report(lock: str, stdout: str, stderr: str) -> int:
    """Say what pip-audit said of one lock; the exit code."""
    try:
        packages = json.loads(stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{lock}: not audited, for no advisory database could be asked: {last}")
        return 0
    found = [(one, bug) for one in packages for bug in one.get("vulns", ())]
    for one, bug in found:
        fixed = ", ".join(bug.get("fix_versions") or ["no version yet"])
        print(f"{lock}: {one['name']} {one['version']}: {bug['id']}, fixed in {fixed}")
    skipped = [one["skip_reason"] for one in packages if "skip_reason" in one]
    print(f"{lock}: {len(packages) - len(skipped)} packages audited, {len(found)} known vulnerabilities")
    if skipped:
        print(f"{lock}: {len(skipped)} packages not audited: {skipped[0]}" + (", …" if len(skipped) > 1 else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
