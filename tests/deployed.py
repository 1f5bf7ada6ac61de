"""nginx, HAProxy, Apache and Caddy before the app, by the files in deploy/ with other ports."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from certificates import authority, certificate
from conftest import missing
from proxies import bundled
from servers import ROOT, Event, Process, events_of, free_port, wait_until

NAMES = ("nginx", "HAProxy", "Apache", "Caddy")
NGINX = """daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  gzip on; gzip_proxied any; gzip_types text/css text/javascript application/json;
  {conf}
}}
"""
MODULES = (
    "mpm_event", "authz_core", "proxy", "proxy_http", "proxy_balancer", "lbmethod_bybusyness",
    "slotmem_shm", "headers", "filter", "deflate", "ssl", "http2",
)  # fmt: skip
APACHE = """ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ServerName localhost
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
{modules}
ServerLimit 1
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {threads}
Timeout {idle}
AddOutputFilterByType DEFLATE text/html text/css text/javascript application/json
{secure}
{conf}
"""
PREFIX = "X-Forwarded-Prefix /pulse"


@dataclass(frozen=True)
class Shown:
    """How a proxy shows the app, or two of them."""

    path: str = "/"
    tls: Path | None = None
    """The folder of its certificate (tls_folder), with which it speaks HTTP/2, too."""
    idle: int = 60
    """After so many silent seconds it cuts a stream; Caddy never does."""
    streams: int = 100
    """At most."""


def tls_folder(folder: Path) -> Path:
    """A certificate, its key, both in one file as HAProxy wants them, and who vouches for it."""
    authority(folder)
    own, key = certificate(folder, "server")
    (folder / "both.pem").write_bytes(own.read_bytes() + key.read_bytes())
    return folder


def program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or missing(name)


def changed(text: str, changes: Mapping[str, str]) -> str:
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


class Proxy(Process):
    """One of them, before the apps at these ports.

    changes: what else is another text in its file.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        apps: tuple[int, int],
        shown: Shown = Shown(),
        port: int = 0,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.folder, self.port, self.shown = name, folder, port or free_port(), shown
        scheme = "https" if shown.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}{shown.path.rstrip('/')}"
        self.changes = {"127.0.0.1:8001": f"127.0.0.1:{apps[0]}", **(changes or {})}
        self.changes["127.0.0.1:8002"] = f"127.0.0.1:{apps[1]}"
        self.command: tuple[str, ...] = getattr(self, name.lower())()
        self.start()

    def start(self) -> None:
        env = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        super().__init__(*self.command, cwd=self.folder, env=env)
        wait_until(self.listens, f"{self.name} listens: {self.output}")

    def restart(self) -> None:
        """Kill it, and start it again at its port."""
        self.end()
        self.start()

    def deployed(self, file: str, changes: Mapping[str, str]) -> str:
        """The file in deploy/, and what is another text in it here."""
        return changed((ROOT / "deploy" / file).read_text(), {**changes, **self.changes})

    def nginx(self) -> tuple[str, ...]:
        tls, path = self.shown.tls, self.shown.path
        ours = f"ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key"
        changes = {
            "    listen 8080": f"    listen 127.0.0.1:{self.port}{f' ssl http2; {ours}' if tls else ''}",
            "location / {": f"location {path} {{ proxy_read_timeout {self.shown.idle}s; ",
        }
        if path != "/":
            changes[f"# under a path of its own: proxy_set_header {PREFIX}"] = (
                f"proxy_set_header {PREFIX}"
            )
        conf = NGINX.format(
            conf=self.deployed("nginx.conf", changes), connections=3 * self.shown.streams
        )
        (self.folder / "nginx.conf").write_text(conf)
        return (bundled(), "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "stderr")

    def haproxy(self) -> tuple[str, ...]:
        tls = self.shown.tls
        secure = f" ssl crt {tls}/both.pem alpn h2,http/1.1" if tls else ""
        changes = {
            "maxconn 20000": f"maxconn {2 * self.shown.streams}",  # which wants twice as many files
            "    bind :8080": f"    bind 127.0.0.1:{self.port}{secure}",
            "timeout client 60s": f"timeout client {self.shown.idle}s",
            "timeout server 60s": f"timeout server {self.shown.idle}s",
        }
        (self.folder / "haproxy.cfg").write_text(self.deployed("haproxy.cfg", changes))
        return (program("haproxy"), "-db", "-f", "haproxy.cfg")

    def caddy(self) -> tuple[str, ...]:
        tls = self.shown.tls
        site = f"http://127.0.0.1:{self.port} {{"
        if tls:
            site = f"https://127.0.0.1:{self.port} {{\n\ttls {tls}/server.pem {tls}/server.key"
        changes = {"\n:8080 {": f"\n{site}"}
        if self.shown.path != "/":
            changes["# under a path of its own: header_up"] = "header_up"
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
        (self.folder / "Caddyfile").write_text(options + self.deployed("Caddyfile", changes))
        return (program("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile")

    def apache(self) -> tuple[str, ...]:
        tls, path = self.shown.tls, self.shown.path
        changes = {"\nProxyPass / balancer": f"\nProxyPass {path} balancer"}
        if path != "/":
            changes[f"# with RequestHeader set {PREFIX}"] = f"RequestHeader set {PREFIX}"
        secure = (
            "Protocols h2 http/1.1", "SSLEngine on",
            f"SSLCertificateFile {tls}/server.pem", f"SSLCertificateKeyFile {tls}/server.key",
        )  # fmt: skip
        text = APACHE.format(
            folder=self.folder,
            port=self.port,
            threads=2 * self.shown.streams,
            idle=self.shown.idle,
            secure="\n".join(secure) if tls else "",
            conf=self.deployed("apache.conf", changes),
            modules="\n".join(
                f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
                for name in MODULES
            ),
        )
        (self.folder / "apache.conf").write_text(text)
        return (program("apache2"), "-X", "-f", f"{self.folder}/apache.conf")

    def listens(self) -> bool:
        assert self.running, self.output
        with socket.socket() as opened:
            return opened.connect_ex(("127.0.0.1", self.port)) == 0

    def way(self, version: str) -> "Way":
        return Way(self.url, version, self.shown.tls)


@dataclass(frozen=True)
class Way:
    """How a client reaches the app: with curl, by a version of HTTP, 1.1 or 2."""

    url: str
    version: str = "1.1"
    tls: Path | None = None

    def curl(self, *more: str) -> list[str]:
        trusted = ("--cacert", f"{self.tls}/ca.pem") if self.tls else ()
        return ["curl", "-sN", "--compressed", f"--http{self.version}", *trusted, *more]


VERSIONS: dict[str, tuple[Callable[[], str], str]] = {
    "nginx": (bundled, "-v"),
    "HAProxy": (lambda: program("haproxy"), "-v"),
    "Apache": (lambda: program("apache2"), "-v"),
    "Caddy": (lambda: program("caddy"), "version"),
}


def version_of(name: str) -> str:
    """As "1.31.3"."""
    find, option = VERSIONS[name]
    said = subprocess.run([find(), option], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    assert found, said
    return found[0]


async def fetch(way: Way, path: str) -> tuple[str, str]:
    """The heads, in lower case, and the body of what answers there."""
    process = await asyncio.create_subprocess_exec(
        *way.curl("-i", "-m", "20", way.url + path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    head, _, body = said.partition(b"\r\n\r\n")
    return head.decode().lower(), body.decode(errors="replace")


async def fetch_all(way: Way, paths: Iterable[str]) -> list[str]:
    """Status and version of each answer, as "200 1.1"."""
    files = [part for path in paths for part in ("-o", "/dev/null", way.url + path)]
    process = await asyncio.create_subprocess_exec(
        *way.curl("-w", "%{stderr}%{http_code} %{http_version}\n", *files),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    return said.decode().splitlines()


@asynccontextmanager
async def streaming(
    way: Way, tag: str = "science", last: str = ""
) -> AsyncIterator[AsyncIterator[Event]]:
    """The events that curl gets; it has gone away with the block."""
    more = ("-H", f"Last-Event-ID: {last}") if last else ()
    curl = await asyncio.create_subprocess_exec(
        *way.curl(*more, f"{way.url}/events?tags={tag}"), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert curl.stdout
        yield events_of(curl.stdout)
    finally:
        if curl.returncode is None:
            curl.kill()
        await curl.wait()
