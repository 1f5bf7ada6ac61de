"""Programs that the bench starts: each on loopback, ended by its own handle, its CPU counted."""

import os
import resource
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "bench"
FILES_AN_ENDPOINT = 64
"""Open files that a program needs beside its connections, with room to spare."""


class Cannot(Exception):
    """Something cannot be measured here; the message is one sentence."""


class Program:
    """A child process in a session of its own, its output in a file of the folder."""

    stdout: int | None = None

    def __init__(self, folder: Path, *command: str | Path, **env: str) -> None:
        self.name = " ".join(Path(word).name for word in command[:2])
        self.log = folder / f"{self.name}-{free_port()}.log"
        with self.log.open("wb") as out:
            try:
                self.popen = subprocess.Popen(
                    [str(word) for word in command],
                    cwd=folder,
                    env={**os.environ, **env},
                    stdin=subprocess.PIPE,
                    stdout=self.stdout or out,
                    stderr=out,
                    start_new_session=True,
                    text=True,
                )
            except FileNotFoundError as error:
                raise Cannot(f"{command[0]} is not on this machine.") from error

    @property
    def pid(self) -> int:
        return self.popen.pid

    def ended(self) -> Cannot:
        """What it said last, for one that should not have ended."""
        lines = self.log.read_text(errors="replace").splitlines()
        return Cannot(f"{self.name} ended: {lines[-1] if lines else 'without a word'}")

    def listens(self, port: int, seconds: float = 30, sockets: int = 1) -> None:
        """Wait until it does, itself, with so many sockets: not another program that took the
        port before it."""

        def does() -> bool:
            if self.popen.poll() is not None:
                raise self.ended()
            if not is_taken(port):  # the lists below are long where thousands have just left
                return False
            own = {file for pid in family(self.pid) for file in open_files(pid)}
            return len(listeners(port) & own) >= sockets

        wait_until(does, f"{self.name} listens", seconds)

    def stop(self, seconds: float = 20) -> None:
        """Tell it to end; what does not, and what it started, is killed."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Answering(Program):
    """A program that is asked on its standard input and answers in lines."""

    stdout = subprocess.PIPE

    def ask(self, line: str) -> str:
        """Write a line; the line that answers."""
        self.tell(line)
        return self.answer()

    def tell(self, line: str) -> None:
        assert self.popen.stdin
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def answer(self) -> str:
        """The next line that it says. Raises Cannot when it ends instead."""
        assert self.popen.stdout
        line = self.popen.stdout.readline()
        if not line:
            raise self.ended()
        return line


LISTENS, TIME_WAIT = "0A", "06"
"""States of a socket in /proc/net/tcp; one in the second is nobody's."""


def is_taken(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def listeners(port: int) -> set[str]:
    """The sockets that listen at the port, as the kernel names them."""
    return {f"socket:[{inode}]" for state, inode in sockets_at(port) if state == LISTENS}


def connections(port: int) -> int:
    """How many the server at the port has or has not closed yet."""
    return sum(state not in (LISTENS, TIME_WAIT) for state, _ in sockets_at(port))


def sockets_at(port: int) -> Iterator[tuple[str, str]]:
    """State and inode of each, by proc_pid_net(5)."""
    at = f":{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if local.endswith(at):
            yield state, inode


def open_files(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it has ended
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it is closed already
                found.add(str(file.readlink()))
    return found


def descriptors(pid: int) -> int:
    """How many files the process and its family have open."""
    return sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in family(pid))


def family(pid: int) -> list[int]:
    """The process and all that come from it: an nginx's workers, ours with --workers."""
    children: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return [pid, *(member for child in children for member in family(child))]


def cpu(pid: int) -> float:
    """Seconds of user and system time of the process and its family, to the nanosecond."""
    total = 0.0
    for member in family(pid):
        with suppress(OSError):
            total += time.clock_gettime((~member << 3) | 2)  # its CPU clock, as glibc names it
    return total


def elsewhere() -> float:
    """Seconds of CPU that the machine has spent on anything but the bench and its children."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, *rest = (int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in first)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = cpu(os.getpid()) + ended.ru_utime + ended.ru_stime
    return user + nice + system + sum(rest) - ours


def memory(pid: int) -> float:
    """Bytes of the process and its family, shared pages divided among those that share them."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def kernel_memory() -> float:
    """Bytes that the kernel keeps for itself, sockets' buffers too, by proc_meminfo(5)."""
    found = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            found += 1024 * int(line.split()[1])
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            found += resource.getpagesize() * int(line.split()[-1])
    return found


def allow_files() -> int:
    """Let us and our children open as many as the system allows; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft


def compiled(name: str, folder: Path) -> Path:
    """The program of bench/NAME.c. Raises Cannot without a C compiler."""
    program = folder / Path(name).name
    if not program.exists():
        try:
            subprocess.run(
                ["cc", "-O2", "-Wall", "-Wextra", "-o", program, HERE / f"{name}.c"],
                check=True,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError as error:
            raise Cannot(
                "A C compiler is needed (Debian: apt-get install gcc libc6-dev)."
            ) from error
        except subprocess.CalledProcessError as error:
            raise Cannot(f"{name}.c cannot be compiled: {error.stderr}") from error
    return program


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Cannot(f"Not within {seconds:g} s: {what}.")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def machine() -> dict[str, str]:
    """What it ran on; nothing private."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": models[0] if models else sysconfig.get_platform(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
    }
