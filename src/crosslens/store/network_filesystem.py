"""File system detection: whether a library lies on a local disk or on a network file system.

SQLite's WAL mode needs memory that all its processes share, so they must be on one machine. A file that is
mapped into memory kills its reader when another machine deletes it. Hence the store asks here first.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# What the system says of itself; where there is no such file, everything counts as local.
_MOUNTS = Path("/proc/self/mountinfo")
# Served by another machine, by many, or by the host of a virtual one.
_NETWORK = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fhgfs", "gfs2", "glusterfs", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb2", "smb3",
    "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs",
})  # fmt: skip
# The same behind FUSE: "fuse.sshfs". Others there, such as fuse.gocryptfs and fuseblk, are of this machine.
_BEHIND_FUSE = frozenset({
    "alluxio-fuse", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "curlftpfs", "davfs", "davfs2", "gcsfuse",
    "glusterfs", "goofys", "google-drive-ocamlfuse", "grpcfuse", "gvfsd-fuse", "hdfs", "juicefs", "kio-fuse",
    "mfs", "moosefs", "mount-s3", "mountpoint-s3", "nfs", "onedriver", "osxfs", "rclone", "s3fs", "seaweedfs",
    "smb", "smbnetfs", "sshfs", "vmhgfs-fuse",
})  # fmt: skip

OVER_NETWORK = "searches wait while a batch is written, and only one machine may write to it at a time"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """kind: as the system calls it, "ext4", "nfs4"; "" where that is not known. mount: where it begins."""

    kind: str
    mount: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may change what is in it; what is not known counts as local."""
        head, _, behind = self.kind.partition(".")
        return head in _NETWORK or (head == "fuse" and behind in _BEHIND_FUSE)

    def __str__(self) -> str:
        return f"{self.kind} at {self.mount}" if self.kind else "unknown"

    @property
    def consequence(self) -> str:
        """What it means for a library, in words."""
        return OVER_NETWORK if self.is_network else "local: searched while it is written"


def file_system_of(path: Path) -> FileSystem:
    """The file system that holds a path, or would hold it."""
    place = os.path.realpath(path)
    try:
        # Names of places are bytes; those that are no text come out as paths do.
        lines = _MOUNTS.read_bytes().decode(errors="surrogateescape").split("\n")
    except OSError:
        return FileSystem("", "")
    found = FileSystem("", "")
    for line in lines:
        mounted = _mounted(line)
        # Of two at one place the later covers the earlier.
        if mounted and _holds(mounted.mount, place) and len(mounted.mount) >= len(found.mount):
            found = mounted
    return found


def _mounted(line: str) -> FileSystem | None:
    """A line of mountinfo: numbers, the place as the fifth word, and the kind after a lonely dash."""
    words, _, rest = line.partition(" - ")
    fields = words.split(" ")
    if len(fields) < 5 or not rest:
        return None
    place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
    return FileSystem(rest.split(" ")[0], place)


def _holds(mount: str, place: str) -> bool:
    return mount in ("/", place) or place.startswith(f"{mount}/")


def size_of(path: str | Path) -> int:
    """Bytes of a file; 0 for one that another process has deleted."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
