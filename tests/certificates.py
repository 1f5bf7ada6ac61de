"""Certificates for tests, made by openssl: an authority, and who it speaks for."""

import shutil
import subprocess
from pathlib import Path

from conftest import missing

NEW = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(folder: Path, *arguments: str) -> None:
    program = shutil.which("openssl") or missing("openssl")
    subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str = "ca") -> Path:
    """A new one: NAME.pem and NAME.key."""
    folder.mkdir(exist_ok=True)
    openssl(
        folder, *NEW, "-days", "2", "-subj", f"/CN={name}",
        "-keyout", f"{name}.key", "-out", f"{name}.pem",
    )  # fmt: skip
    return folder / f"{name}.pem"


EVERY = "IP:127.0.0.1,DNS:localhost"


def certificate(folder: Path, name: str, ca: str = "ca", hosts: str = EVERY) -> tuple[Path, Path]:
    """The certificate of 127.0.0.1 and localhost, or of these, and its key, by this authority."""
    openssl(
        folder, *NEW, "-days", "2", "-subj", f"/CN={name}", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
        "-addext", f"subjectAltName={hosts}", "-addext", "basicConstraints=CA:FALSE",
        "-keyout", f"{name}.key", "-out", f"{name}.pem",
    )  # fmt: skip
    return folder / f"{name}.pem", folder / f"{name}.key"
