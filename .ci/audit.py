"""What is known against the packages that are installed, by pip-audit and npm audit.

`make audit` runs it with the path of pip-audit. It ends with 0 when nothing is known, with 1 when
something is, and else with 2 when not all could be asked: pip-audit passes over packages that its
service does not have, and then says that nothing was found, as npm does without the network.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LONGEST_SECONDS = 600
"""Of one tool's run."""
NPM = ("npm", "audit", "--json", "--package-lock-only", "--offline=false")


def main(pip_audit: str) -> int:
    known, asked, unasked = [], 0, []
    for file in sorted(ROOT.glob("requirements*.txt")):
        options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json")
        found = told(pip_audit, "-r", str(file), *options).get("dependencies", [{}])
        known += [line for one in found for line in of_python(one)]
        asked += sum("vulns" in one for one in found)
        if not all("vulns" in one for one in found):
            unasked.append(file.name)
    npm = told(*NPM)
    known += [line for one in npm.get("vulnerabilities", {}).values() for line in of_npm(one)]
    if "vulnerabilities" in npm:
        asked += npm["metadata"]["dependencies"]["total"]
    else:
        unasked.append("package-lock.json")
    for line in dict.fromkeys(known):
        say(f"KNOWN  {line}")
    if unasked:
        names = ", ".join(unasked)
        say(f"WARN   Nobody could be asked from here about all that these name: {names}.")
    elif not known:
        say(f"ok     Nothing is known against the {asked} packages.")
    return 1 if known else 2 if unasked else 0


def told(*command: str) -> dict[str, Any]:
    """The JSON that a tool writes; nothing where it writes none, whatever it says of that: a
    registry's address is no concern of who reads this."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_SECONDS
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def of_python(package: dict[str, Any]) -> Iterator[str]:
    for each in package.get("vulns", ()):
        fixed = ", ".join(each["fix_versions"])
        yield f"{package['name']} {package['version']}: {each['id']}, {mended(fixed)}."


def of_npm(package: dict[str, Any]) -> Iterator[str]:
    for each in package["via"]:
        if isinstance(each, dict):  # else the name of a package that has a line of its own
            yield f"{package['name']} {package['range']}: {each['url']}, {package['severity']}."


def mended(versions: str) -> str:
    return f"mended in {versions}" if versions else "not mended yet"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
