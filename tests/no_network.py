"""Run a command in a process that dies when any of its threads, Python or not, opens an internet socket.

    python tests/no_network.py crosslens search …

A seccomp filter (Linux, x86-64 and arm64) kills the process at `socket(AF_INET | AF_INET6, …)`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import runpy
import struct
import sys

# (AUDIT_ARCH, number of the system call `socket`)
ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


def forbid_internet() -> None:
    architecture, socket_call = ARCHITECTURES[platform.machine()]
    # struct seccomp_data: nr at 0, arch at 4, low half of the first argument at 16.
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 5, architecture),
        (_LOAD, 0, 0, 0),
        (_EQUAL, 0, 3, socket_call),
        (_LOAD, 0, 0, 16),
        (_EQUAL, 2, 0, 2),  # AF_INET
        (_EQUAL, 1, 0, 10),  # AF_INET6
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    header = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, None, None, None) or libc.prctl(
        _SET_SECCOMP, _FILTER, ctypes.addressof(header), None, None
    ):
        raise OSError(ctypes.get_errno(), "seccomp is not available")


if __name__ == "__main__":
    forbid_internet()
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "crosslens":
        runpy.run_module("crosslens", run_name="__main__")
    else:
        exec(sys.argv[1])  # noqa: S102
    os._exit(0)
