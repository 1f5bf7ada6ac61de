"""A wall clock that a test sets, for real processes: they ask the C library for the time, and get
another one's answer (ld.so(8), LD_PRELOAD). Clocks that only go forward are as they are."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

from conftest import missing

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(void) {
  static volatile long *seconds;
  if (!seconds) {
    int file = open(getenv("WALL_CLOCK"), O_RDONLY);
    seconds = mmap(0, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
    close(file);
  }
  return *seconds;
}

int clock_gettime(clockid_t id, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, id, now);
  if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  now->tv_sec = at.tv_sec;
  now->tv_usec = at.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (now) *now = at.tv_sec;
  return at.tv_sec;
}
"""


class WallClock:
    """The wall clock of the processes that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or missing("a C compiler")
        folder.mkdir(parents=True)
        library, self.file = folder / "clock.so", folder / "seconds"
        assert not {" ", ":"} & {*str(library)}, "they would end its name"
        self.set(0)
        command = (compiler, "-shared", "-fPIC", "-O1", "-o", str(library), "-x", "c", "-")
        subprocess.run(command, input=SOURCE.encode(), check=True)
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self.file)}

    def set(self, hours: float) -> None:
        """So far ahead of what it is, from now on."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            os.pwrite(file.fileno(), struct.pack("=q", int(hours * 3600)), 0)
