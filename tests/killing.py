"""Commands that are killed: a process that has imported everything forks each, so that it starts at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crosslens.store.connection import connect_to_read

T = TypeVar("T")

# Reads an order to a line. The child runs the command line as its own process would, with some names patched.
_NURSERY = """
import importlib, json, os, signal, sys, time
import faiss, filelock, numpy, pyarrow.parquet
import crosslens.cli.app, crosslens.maintenance.tagging, crosslens.maintenance.import_export
import crosslens.maintenance.backup_and_compact, crosslens.towers.fake_model

def run(order):
    for stream in (0, 1, 2):
        os.dup2(os.open(order["log"] if stream else os.devnull, os.O_RDWR | os.O_CREAT | os.O_APPEND), stream)
    for place, value in order["patches"].items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    sys.argv = ["crosslens", *order["arguments"]]
    crosslens.cli.app.run()

def ended(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            run(order)
        finally:
            os._exit(99)
    while order["begins"] and not os.path.exists(order["begins"]) and not ended(child):
        time.sleep(0.0002)
    began = time.perf_counter()
    if order["after"] is None:
        _, status = os.waitpid(child, 0)
        print(json.dumps([status, time.perf_counter() - began]), flush=True)
        continue
    time.sleep(order["after"])
    os.kill(child, signal.SIGSTOP)  # so that there is time to look
    print("now", flush=True)
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)
    print(json.dumps([os.waitpid(child, 0)[1], 0]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """A command that stands still, and is to be killed."""

    nursery: Nursery

    def kill(self) -> bool:
        """Kill it now; False: it had ended by itself."""
        status, _ = self.nursery.ask("kill")
        assert status in (0, 9), self.nursery.log.read_text()
        return bool(status == 9)


@contextmanager
def reading(path: Path, patience: float) -> Iterator[sqlite3.Connection]:
    """A database for queries, for any process; waits so many seconds for one that has it for itself."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=patience)
    try:
        database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        database.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        database = connect_to_read(path)  # killed before it was in WAL mode: who comes next undoes it
    with closing(database):
        yield database


def unless_locked(look: Callable[[], T], otherwise: T) -> T:
    """What can be seen while a command stands still, which may have the database for itself."""
    try:
        return look()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN):
            raise
        return otherwise


class Nursery:
    """Runs commands to their end, or to a moment."""

    def __init__(self, folder: Path, patches: dict[str, Any] | None = None) -> None:
        self.log = folder / "commands.log"
        self._patches = patches or {}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def run(self, *arguments: object, begins: Path | None = None) -> float:
        """Run a command to its end; seconds, from when a file appears."""
        status, seconds = self.ask(self._order(arguments, begins, None))
        assert status == 0, self.log.read_text()
        return float(seconds)

    def start(self, *arguments: object, after: float, begins: Path | None = None) -> Trial:
        """Run a command for some seconds after a file has appeared, and stop it there."""
        assert self.ask(self._order(arguments, begins, after)) == "now"
        return Trial(self)

    def ask(self, line: str) -> Any:
        """Write a line; what it answers with."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        return answer if answer == "now" else json.loads(answer)

    def _order(self, arguments: tuple[object, ...], begins: Path | None, after: float | None) -> str:
        return json.dumps(
            {
                "arguments": [str(argument) for argument in arguments],
                "begins": begins and str(begins),
                "after": after,
                "log": str(self.log),
                "patches": self._patches,
            }
        )
