"""Asks whether a known vulnerability is in what a gateway installs.

    python -m tests.house.dependencies [requirements/server.txt]

pip-audit asks the package index about each pinned version. Where nobody can answer, that is said
and nothing fails: a check that passes without having looked would be worse than none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass

WITHIN_S = 60.0
UNREACHABLE = re.compile(r"connect|timed? ?out|requests\.exceptions|ServiceError|Proxy|SSL", re.I)
AUDIT = (
    *(sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip"),
    *("--format", "json", "--desc", "off", "--progress-spinner", "off", "--timeout", "10"),
)
NOT_CHECKED = "dependencies: not checked: no advisory data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to print, and with which status to end."""

    text: str
    status: int


def judge(output: str, complaint: str) -> Verdict:
    """Read what pip-audit printed as JSON, or complained of.

    Raises:
        ValueError: it could not do its work, and the network is not why.
    """
    try:
        dependencies = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = complaint.strip().rpartition("\n")[2]
        if not UNREACHABLE.search(complaint):
            raise ValueError(f"dependencies: pip-audit has failed: {last}") from None
        return Verdict(text=f"{NOT_CHECKED} ({last[:200]})", status=0)
    audited = [each for each in dependencies if "skip_reason" not in each]
    found = [
        f"  {each['name']} {each['version']}: {flaw['id']}"
        f" (mended in {', '.join(flaw['fix_versions']) or 'no version yet'})"
        for each in audited
        for flaw in each["vulns"]
    ]
    if found:
        return Verdict(text="\n".join(("dependencies: known vulnerabilities", *found)), status=1)
    if not audited:
        return Verdict(text=NOT_CHECKED, status=0)
    text = "dependencies: no known vulnerability"
    if skipped := [each["name"] for each in dependencies if "skip_reason" in each]:
        text += f"; not checked, for there is no advisory data: {', '.join(skipped)}"
    return Verdict(text=text, status=0)


def audit(path: str) -> Verdict:
    """Ask about every version that a file pins.

    Raises:
        ValueError: pip-audit could not do its work.
    """
    try:
        asked = subprocess.run(
            [*AUDIT, "--requirement", path],
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(text=f"{NOT_CHECKED} (no answer within {WITHIN_S:g} s)", status=0)
    return judge(asked.stdout, asked.stderr)


def main(path: str = "requirements/server.txt") -> int:
    try:
        verdict = audit(path)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{verdict.text}\n")
    return verdict.status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
