"""Libraries on network file systems: recognised, kept without shared memory, and read as they are.

The system's list of mounts is replaced by one that calls a folder NFS; all else is real.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import (
    LibraryBusyError,
    LibraryError,
    LibraryReadOnlyError,
    NetworkLibraryWarning,
)
from crosslens.maintenance.backup_and_compact import backup, compact
from crosslens.maintenance.integrity_check import verify
from crosslens.store import network_filesystem
from crosslens.store.locks import writer_lock
from crosslens.store.network_filesystem import file_system_of
from crosslens.store.schema import DATABASE

once = pytest.mark.filterwarnings("ignore::crosslens.errors.NetworkLibraryWarning")

MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:25 / /home rw,relatime shared:7 - autofs systemd-1 rw,fd=29
31 30 0:27 / /home rw,relatime shared:9 - nfs4 server:/export/home rw,vers=4.2
32 31 0:28 / /home/eva/disk rw - ext4 /dev/sdb1 rw
33 27 0:29 / /srv/two\\040words rw - cifs //nas/photos rw
34 27 0:30 / /mnt/far rw - fuse.sshfs eva@far:/ rw
35 27 0:31 / /mnt/near rw - fuse.gocryptfs /home/eva/.safe rw
36 27 0:32 / /mnt/usb rw - fuseblk /dev/sdc1 rw
37 27 0:33 / /mnt/guest rw - virtiofs host rw
38 27 0:34 / /mnt/new rw - somethingfs /dev/x rw
nonsense
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the system's list of mounts."""

    def replace(text: str) -> None:
        (tmp_path / "mountinfo").write_text(text)
        monkeypatch.setattr(network_filesystem, "_MOUNTS", tmp_path / "mountinfo")

    return replace


@pytest.fixture
def nfs(tmp_path: Path, mounts: Callable[[str], None]) -> Path:
    """A folder that is called NFS; the rest is local."""
    folder = tmp_path / "nfs"
    folder.mkdir()
    mounts(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {folder} rw - nfs4 server:/export rw\n")
    return folder


@pytest.fixture
def folder(nfs: Path) -> Path:
    return nfs / "library"


# -- which file system ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/var/lib/x", "ext4", False),
        ("/home", "nfs4", True),
        ("/home/eva/.local/share/crosslens", "nfs4", True),
        ("/homely", "ext4", False),
        ("/home/eva/disk/library", "ext4", False),
        ("/srv/two words/library", "cifs", True),
        ("/mnt/far/x", "fuse.sshfs", True),
        ("/mnt/near/x", "fuse.gocryptfs", False),
        ("/mnt/usb/x", "fuseblk", False),
        ("/mnt/guest/x", "virtiofs", True),
        ("/mnt/new/x", "somethingfs", False),
    ],
)
def test_the_innermost_mount_says_what_a_folder_lies_on(
    path: str, kind: str, network: bool, mounts: Callable[[str], None]
) -> None:
    mounts(MOUNTS)
    found = file_system_of(Path(path))
    assert (found.kind, found.is_network) == (kind, network)


def test_a_link_is_followed(nfs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(nfs)
    assert str(file_system_of(tmp_path / "link" / "library")) == f"nfs4 at {nfs}"


def test_what_the_system_does_not_say_counts_as_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_filesystem, "_MOUNTS", Path("/nowhere"))
    found = file_system_of(Path("/home"))
    assert (str(found), found.is_network) == ("unknown", False)


def test_this_machine_names_the_file_system_of_a_folder(tmp_path: Path) -> None:
    found = file_system_of(tmp_path)
    assert found.kind
    assert os.path.ismount(found.mount)


# -- made there -----------------------------------------------------------------------------------


def files(folder: Path) -> set[str]:
    return {path.name.removeprefix(DATABASE) for path in folder.glob(f"{DATABASE}*")}


def index(folder: Path, matcher: Matcher, pictures: Path) -> None:
    with Library.open(folder, matcher) as library:
        library.index(pictures)


def test_a_library_made_there_does_without_shared_memory_and_says_so_once(
    folder: Path, fake: Matcher, pictures: Path
) -> None:
    with pytest.warns(NetworkLibraryWarning) as said:
        index(folder, fake, pictures)
    said_what = str(said[0].message)
    assert f"(nfs4 at {folder.parent}): searches wait" in said_what
    assert "only one machine may write" in said_what
    assert len(said) == 1
    assert said[0].filename == __file__
    assert files(folder) == {"", "-journal"}
    with Library.open(folder, fake) as library:
        assert len(library.search("red")) == 4
        library.add(texts="a red wall")  # a second warning would be an error
        assert len(library.search("red", kind="text")) == 1
    assert compact(folder).vectors == 0
    assert files(folder) == {"", "-journal"}
    assert verify(folder).clean


@pytest.mark.filterwarnings("always")
def test_the_command_line_shows_it(
    folder: Path, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    arguments = ["index", "-L", str(folder), str(pictures), "--model", "fake"]
    assert main(arguments) == 0
    assert "lies on a network file system (nfs4" in capsys.readouterr().err
    assert main(arguments) == 0
    assert "network" not in capsys.readouterr().err


# Run by processes of their own, which are told the same about the folder.
_PREPARE = """
import sys
from pathlib import Path
from crosslens import Library
from crosslens.store import network_filesystem
from crosslens.maintenance.backup_and_compact import backup
from crosslens.maintenance.integrity_check import verify
network_filesystem._MOUNTS, folder = Path(sys.argv[1]), Path(sys.argv[2])
"""
_ADD = """
with Library.open(folder, "fake") as library:
    for line in sys.stdin:
        library.add(texts=[f"{line} {number}" for number in range(50)])
        print("added", flush=True)
"""
_READ = """
sizes = []
with Library.open(folder) as library:
    print("ready", flush=True)
    while not sizes or sizes[-1] < 600:
        found = verify(folder)
        assert found.clean, found.findings
        hits = library.search("red", k=10_000, kind="text")
        assert len({hit.id for hit in hits}) == len(hits)
        sizes.append(len(hits))
print(sizes == sorted(sizes), all(size % 50 == 0 for size in sizes))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", _PREPARE + code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(code: str, *arguments: object) -> tuple[int, str]:
    """What a process ends with, and what it prints."""
    with start(code, *arguments) as process:
        printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


def tell(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to a process; the line that it answers with."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(line, file=process.stdin, flush=True)
    return process.stdout.readline()


@once
def test_a_writer_and_two_readers_in_processes_of_their_own_wait_for_each_other(
    folder: Path, tmp_path: Path, fake: Matcher
) -> None:
    with Library.open(folder, fake) as library:
        library.add(texts=[f"blue {number}" for number in range(50)])
    mountinfo = tmp_path / "mountinfo"
    with (
        start(_READ, mountinfo, folder) as one,
        start(_READ, mountinfo, folder) as two,
        start(_ADD, mountinfo, folder) as writer,
    ):
        for reader in (one, two):
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for number in range(12):
            assert tell(writer, f"red {number}") == "added\n"
        assert [reader.communicate(timeout=60)[0] for reader in (one, two)] == ["True True\n"] * 2
        writer.communicate()
    assert writer.returncode == 0
    assert files(folder) == {"", "-journal"}


_DIE_IN_A_COMMIT = """
import os, signal, sqlite3
database = sqlite3.connect(folder / "library.sqlite3", isolation_level=None)
database.execute("PRAGMA journal_mode = TRUNCATE")
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN")
database.execute("UPDATE items SET size = 77")
database.executemany("INSERT INTO contents VALUES (randomblob(32), 1, 1, NULL)", [()] * 5000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def half_a_commit(folder: Path, mountinfo: Path) -> None:
    """What a kill leaves that comes while a commit is being written into the database."""
    assert run(_DIE_IN_A_COMMIT, mountinfo, folder) == (-signal.SIGKILL, "")
    assert (folder / f"{DATABASE}-journal").stat().st_size > 0


@once
def test_half_a_commit_is_undone_by_whoever_comes_next_and_by_who_was_there(
    folder: Path, tmp_path: Path, fake: Matcher, pictures: Path
) -> None:
    with Library.open(folder, fake) as library:
        library.index(pictures)
        sizes = {hit.path: hit.size for hit in library.items()}
    with Library.open(folder, fake) as library:
        half_a_commit(folder, tmp_path / "mountinfo")
        assert {hit.path: hit.size for hit in library.items()} == sizes
    half_a_commit(folder, tmp_path / "mountinfo")
    assert verify(folder).clean
    half_a_commit(folder, tmp_path / "mountinfo")
    with Library.open(folder, fake) as library:
        assert {hit.path: hit.size for hit in library.search("red")} == sizes
        assert library.index().unchanged == 4


@once
def test_half_a_commit_is_undone_on_a_local_disk_too(
    nfs: Path, tmp_path: Path, fake: Matcher, pictures: Path
) -> None:
    with Library.open(nfs / "library", fake) as library:
        library.index(pictures)
    half_a_commit(nfs / "library", tmp_path / "mountinfo")
    shutil.move(nfs / "library", tmp_path / "library")
    assert len(verify(tmp_path / "library").findings) == 0
    with Library.open(tmp_path / "library", fake) as library:
        assert len(library.search("red")) == 4


# -- made elsewhere -------------------------------------------------------------------------------


@pytest.fixture
def moved(tmp_path: Path, folder: Path, fake: Matcher, pictures: Path) -> Path:
    """A library that was made on a local disk, and then moved."""
    with Library.open(tmp_path / "local", fake) as library:
        library.index(pictures)
        library.search("red")
    shutil.move(tmp_path / "local", folder)
    return folder


def test_a_library_moved_there_is_read_as_it_is_and_changed_by_the_first_write(
    moved: Path, fake: Matcher
) -> None:
    before = (moved / DATABASE).read_bytes()
    with Library.open(moved, fake) as library:
        assert len(library.search("red")) == 4
        assert verify(moved).clean
        assert "-shm" not in files(moved)
        assert (moved / DATABASE).read_bytes() == before
        with pytest.warns(NetworkLibraryWarning), Library.open(moved, fake) as other:
            other.add(texts="a red wall")
        assert library.search("red", kind="text")[0].text == "a red wall"
    assert files(moved) <= {"", "-journal", "-wal"}


def test_a_library_moved_to_a_local_disk_is_searched_while_it_is_written_again(
    tmp_path: Path, folder: Path, fake: Matcher, pictures: Path
) -> None:
    with pytest.warns(NetworkLibraryWarning):
        index(folder, fake, pictures)
    shutil.move(folder, tmp_path / "local")
    with Library.open(tmp_path / "local", fake) as reader, Library.open(tmp_path / "local", fake) as writer:
        assert len(reader.search("red")) == 4
        writer.add(texts="a red wall")
        assert "-wal" in files(tmp_path / "local")
        assert reader.search("red", kind="text")[0].text == "a red wall"


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_reader_of_a_library_in_another_journal_mode_notices_what_is_written(
    mode: str, tmp_path: Path, fake: Matcher, pictures: Path
) -> None:
    index(tmp_path / "local", fake, pictures)
    database = sqlite3.connect(tmp_path / "local" / DATABASE, isolation_level=None)
    assert database.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode.lower(),)
    with Library.open(tmp_path / "local", fake) as library:
        assert len(library.search("red")) == 4
        database.execute("BEGIN")
        database.execute("DELETE FROM items WHERE id = 1")
        assert len(list(library.items())) == 4
        database.execute("COMMIT")
        assert len(list(library.items())) == 3
        assert library.database._frozen is None  # SQLite itself tells it
    database.close()


_ADD_AND_WAIT = """
with Library.open(folder, "fake") as library:
    library.add(texts="a red wall")
    print("added", flush=True)
    sys.stdin.read()
"""


def test_what_a_process_writes_to_which_the_disk_is_local_is_not_read_before_it_has_ended(
    moved: Path, fake: Matcher, tmp_path: Path
) -> None:
    """The machine that serves the disk may take it for a local one."""
    with Library.open(moved, fake) as library, start(_ADD_AND_WAIT, "/nowhere", moved) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "added\n"
        for read in (lambda: library.search("red"), lambda: Library.open(moved), lambda: verify(moved)):
            with pytest.raises(LibraryBusyError, match=r"to which it is local.*crosslens compact -L"):
                read()
        with pytest.raises(LibraryBusyError):
            compact(moved)
        process.communicate()
        assert library.search("red", kind="text")[0].text == "a red wall"
    assert verify(moved).clean


def test_what_such_a_process_left_when_it_was_killed_is_taken_over_by_compact(
    moved: Path, fake: Matcher
) -> None:
    with start(_ADD_AND_WAIT, "/nowhere", moved) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "added\n"
        process.kill()
    with pytest.raises(LibraryBusyError, match="crosslens compact"):
        Library.open(moved)
    with pytest.warns(NetworkLibraryWarning):
        compact(moved)
    with Library.open(moved, fake) as library:
        assert library.search("red", kind="text")[0].text == "a red wall"
    assert verify(moved).clean


# -- what else differs there ----------------------------------------------------------------------


_SEARCH_WITHOUT_FILES = """
with Library.open(folder, "fake") as library:
    library.search("red")
with Library.open(folder, "fake") as library:
    library.search("red")  # from the files
    for path in (folder / "derived").rglob("*.*"):
        with path.open("r+b") as file:
            file.truncate()
    print(len(library.search("green")))
"""


@once
def test_derived_files_that_another_machine_deletes_kill_nobody(
    folder: Path, tmp_path: Path, fake: Matcher
) -> None:
    """A page that is mapped and gone is a signal that ends the process."""
    with Library.open(folder, fake) as library:
        library.add(texts=[f"red {number}" for number in range(5000)])
    assert run(_SEARCH_WITHOUT_FILES, tmp_path / "mountinfo", folder) == (0, "10\n")
    shutil.rmtree(folder / "derived")
    # Where they are mapped, or this test would prove nothing.
    assert run(_SEARCH_WITHOUT_FILES, "/nowhere", folder) == (-signal.SIGBUS, "")


def test_who_writes_on_another_machine_is_named_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    with writer_lock(folder):
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        with pytest.raises(LibraryBusyError, match=rf"\(pid {os.getpid()} on .+\)"), writer_lock(folder):
            pass


def test_a_disk_without_locks_is_refused(
    folder: Path, fake: Matcher, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with (
        Library.open(folder, fake) as library,
        pytest.raises(LibraryError, match=r"cannot lock files.*Mount"),
    ):
        library.index(pictures)


def test_a_backup_there_is_one_whole_file(moved: Path, nfs: Path, tmp_path: Path, fake: Matcher) -> None:
    shutil.move(moved, tmp_path / "local")
    assert backup(tmp_path / "local", nfs / "backup").items == 4
    assert files(nfs / "backup") == {""}
    database = sqlite3.connect(nfs / "backup" / DATABASE)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()
    with Library.open(nfs / "backup", fake) as library:
        assert len(library.search("red")) == 4
    assert backup(nfs / "backup", tmp_path / "again").items == 4
    assert verify(tmp_path / "again").clean


def test_a_read_only_library_there_is_searched(moved: Path, fake: Matcher, monkeypatch: Any) -> None:
    """As a user who may not write: SQLite is refused what it tries to make."""
    moved.chmod(0o555)
    (moved / DATABASE).chmod(0o444)
    try:
        with Library.open(moved, fake) as library:
            assert len(library.search("red")) == 4
            if not os.access(moved, os.W_OK):
                with pytest.raises(LibraryReadOnlyError):
                    library.add(texts="a red wall")
    finally:
        moved.chmod(0o755)


def test_doctor_says_what_the_library_lies_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    main(["doctor", "-L", str(folder)])
    assert f"nfs4 at {folder.parent}; searches wait while a batch is written" in " ".join(
        capsys.readouterr().out.split()
    )
    assert file_system_of(tmp_path).consequence == "local: searched while it is written"
