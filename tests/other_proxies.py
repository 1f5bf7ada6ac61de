"""HAProxy, Apache and Caddy before the app, by the files in deploy/ with other ports."""

import shutil
import socket
from pathlib import Path

from conftest import missing
from servers import ROOT, Process, free_port, wait_until

MODULES = (
    "mpm_event", "authz_core", "proxy", "proxy_http", "proxy_balancer", "lbmethod_bybusyness",
    "slotmem_shm", "headers",
)  # fmt: skip
APACHE = """ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ServerName localhost
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
{modules}
{conf}
"""


def deployed(name: str, port: int, apps: tuple[int, int]) -> str:
    """The file, listening on this port of loopback, before these two apps."""
    text = (ROOT / "deploy" / name).read_text()
    for before, after in (
        ("maxconn 20000", "maxconn 200"),  # which wants twice as many descriptors
        ("bind :8080", f"bind 127.0.0.1:{port}"),
        ("\n:8080 {", f"\nhttp://127.0.0.1:{port} {{"),
        ("127.0.0.1:8001", f"127.0.0.1:{apps[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{apps[1]}"),
    ):
        text = text.replace(before, after)
    return text


def program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or missing(name)


class Proxy(Process):
    """One of them, before the app at `app_port`, which it shows under `path`."""

    def __init__(self, name: str, folder: Path, app_port: int, path: str = "/") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path.rstrip('/')}"
        command = getattr(self, name.lower())(folder, (app_port, app_port), path)
        super().__init__(*command, cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
        wait_until(self.listens, f"{name} listens: {self.output}")

    def haproxy(self, folder: Path, apps: tuple[int, int], path: str) -> tuple[str, ...]:
        (folder / "haproxy.cfg").write_text(deployed("haproxy.cfg", self.port, apps))
        return (program("haproxy"), "-db", "-f", "haproxy.cfg")

    def caddy(self, folder: Path, apps: tuple[int, int], path: str) -> tuple[str, ...]:
        text = deployed("Caddyfile", self.port, apps)
        (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
        return (program("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile")

    def apache(self, folder: Path, apps: tuple[int, int], path: str) -> tuple[str, ...]:
        conf = deployed("apache.conf", self.port, apps)
        conf = conf.replace("ProxyPass / balancer", f"ProxyPass {path} balancer")
        modules = "\n".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES
        )
        text = APACHE.format(folder=folder, port=self.port, modules=modules, conf=conf)
        (folder / "apache.conf").write_text(text)
        return (program("apache2"), "-X", "-f", f"{folder}/apache.conf")

    def listens(self) -> bool:
        assert self.running, self.output
        with socket.socket() as opened:
            return opened.connect_ex(("127.0.0.1", self.port)) == 0
