"""What is to be there before a wheel is built: smoothie, which the repository does not have.

`make setup` puts it in its place. Where that was not run, it is fetched here in the same way, if
npm is on the machine; else the wheel is built without it, with a warning.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LONGEST_SECONDS = 300


class Smoothie(BuildHookInterface):  # type: ignore[misc,unused-ignore]
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if not (root / "static" / "smoothie.js").exists() and not fetched(root):
            self.app.display_warning(
                "static/smoothie.js is missing, and npm cannot bring it: the page of this wheel "
                "will have no chart. Run `make setup` first."
            )


def fetched(root: Path) -> bool:
    """Have npm install what package-lock.json pins, elsewhere, and take the one file."""
    npm, lock = shutil.which("npm"), root / "package-lock.json"
    if not (npm and lock.exists()):
        return False
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(root / name, folder)
        command = (npm, "ci", "--silent", "--ignore-scripts")
        try:
            subprocess.run(command, cwd=folder, check=True, timeout=LONGEST_SECONDS)
            shutil.copy(Path(folder, "node_modules", "smoothie", "smoothie.js"), root / "static")
        except (OSError, subprocess.SubprocessError):
            return False
    return True
