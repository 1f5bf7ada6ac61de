"""The pure parts of the page, by node's own test runner; and the types of all of it."""

import shutil
import subprocess

from conftest import missing
from servers import ROOT


def test_pure_parts_of_the_page() -> None:
    """Rates, gaps, clock, colours, scale, the stream's lifetime: `node --test tests/js/`."""
    node = shutil.which("node") or missing("node")
    files = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.js"))
    assert files
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
