"""What a process gives up for good before it runs a student's code: memory, files, the network, other processes.

    resources   setrlimit: address space, seconds of CPU, no file grows, few open files                  every POSIX system
    files       Landlock (Linux 5.13): the library and Python may be read, nothing written               from version 4 also no TCP, from 6 no signals
    calls       seccomp-BPF (Linux, x86-64 and AArch64): no sockets, no new processes, no signals,       fails with EPERM or EACCES
                no looking into other processes
    rights      capset: root has no more rights than others

All four hold also for what the code starts, and none needs a right to set up.  What a system lacks is left out and said: see ``confine``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

FULL = ("resources", "files", "network", "processes")  # what Linux can give


def confine(readable: Sequence[Path], seconds: float, megabytes: int) -> list[str]:
    """Give up all that an answer does not need; what of FULL holds from now on."""
    _refuse_sockets()
    held = ["resources"] if _limit_resources(seconds, megabytes) else []
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            _drop_capabilities(libc)
            held += ["files"] if _landlock(libc, readable) else []
            held += ["network", "processes"] if _seccomp(libc) else []
    return held


def _refuse_sockets() -> None:
    """Say why there is no network, where Python's own module is asked; the system refuses the rest."""

    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise PermissionError("there is no network while an answer is graded")

    socket.socket.__init__ = refused  # type: ignore[method-assign]
    socket.create_connection = socket.getaddrinfo = refused


def _limit_resources(seconds: float, megabytes: int) -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    limits = {
        "RLIMIT_AS": megabytes * 2**20, "RLIMIT_CPU": int(seconds) + 1, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 64,
        "RLIMIT_NPROC": 0 if sys.platform != "linux" else None,  # Linux: seccomp tells threads from processes
    }  # fmt: skip
    for name, limit in limits.items():
        if limit is not None and hasattr(resource, name):
            with contextlib.suppress(ValueError, OSError):  # macOS refuses some
                resource.setrlimit(getattr(resource, name), (limit, limit))
    return True


# Linux -------------------------------------------------------------------------------------------------------------------

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def _drop_capabilities(libc: Any) -> None:
    """capset(2) with none: the superuser keeps only what it owns."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    libc.capset(header, ctypes.create_string_buffer(24))


_READ = 1 << 2 | 1 << 3  # read a file, list a folder
_EVERY_FILE_RIGHT = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights a version of Landlock knows


def _landlock(libc: Any, readable: Sequence[Path]) -> bool:
    """Nothing but reading, and only below these paths (landlock(7)); False where the kernel cannot."""
    create, add, restrict = 444, 445, 446  # the same numbers on every architecture
    version = libc.syscall(create, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << _EVERY_FILE_RIGHT.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = libc.syscall(create, ctypes.create_string_buffer(attributes, 24), ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    for path in {*readable, Path("/dev/null"), Path("/dev/urandom")}:
        with contextlib.suppress(OSError):
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = _READ if path.is_dir() else 1 << 2
            rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, folder))
            libc.syscall(add, rules, 1, rule, 0)
            os.close(folder)
    held = libc.syscall(restrict, rules, 0) == 0
    os.close(rules)
    return bool(held)


_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS: dict[int, list[tuple[int | None, int | None]]] = {  # (x86-64, AArch64; None where it does not exist), error
    _EACCES: [(41, 198), (53, 199)],  # socket, socketpair
    _ENOSYS: [(435, 435)],  # clone3, whose flags a filter cannot see: the C library then takes clone
    _EPERM: [
        (57, None), (58, None), (59, 221), (322, 281),  # fork, vfork, execve, execveat
        (62, 129), (200, 130), (234, 131), (129, 138), (297, 240), (424, 424), (434, 434), (438, 438),  # kill and its kind; pidfd_*
        (101, 117), (310, 270), (311, 271), (312, 272),  # ptrace, process_vm_readv, process_vm_writev, kcmp
        (272, 97), (308, 268), (165, 40), (155, 41), (161, 51), (425, 425), (321, 280), (298, 241),  # namespaces, mounts, io_uring, bpf, perf
        (248, 217), (249, 218), (250, 219),  # keys
        (90, None), (91, 52), (268, 53), (452, 452), (92, None), (93, 55), (94, None), (260, 54),  # chmod, chown: Landlock leaves them
        (132, None), (235, None), (261, None), (280, 88), (188, 5), (189, 6), (190, 7),  # times and attributes of files
    ],
}  # fmt: skip
_CLONE, _CLONE_THREAD = (56, 220), 0x10000


def _seccomp(libc: Any) -> bool:
    """A filter of system calls (seccomp(2)), in the machine language of BPF; False where the kernel cannot."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES or sys.maxsize < 2**32:
        return False
    column = list(_ARCHITECTURES).index(machine)
    allow, kill, error = 0x7FFF0000, 0x80000000, 0x00050000

    def load(offset: int) -> tuple[int, int, int, int]:
        return 0x20, 0, 0, offset

    def give(value: int) -> tuple[int, int, int, int]:
        return 0x06, 0, 0, value

    def unless_equal(value: int, skip: int) -> tuple[int, int, int, int]:
        return 0x15, 0, skip, value

    program = [load(4), (0x15, 1, 0, _ARCHITECTURES[machine]), give(kill), load(0)]
    if machine == "x86_64":
        program += [(0x35, 0, 1, 0x40000000), give(kill)]  # the x32 table of the same calls
    for reason, calls in _CALLS.items():
        for call in calls:
            if (number := call[column]) is not None:
                program += [unless_equal(number, 1), give(error | reason)]
    program += [
        unless_equal(_CLONE[column], 4),
        load(16),
        (0x45, 1, 0, _CLONE_THREAD),
        give(error | _EPERM),
        give(allow),
        give(allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", len(program), ctypes.addressof(code)))
    return bool(libc.prctl(22, 2, header, 0, 0) == 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def python_paths() -> list[Path]:
    """Where Python, its packages and the system's libraries are: what an answer may read besides the library of the course."""
    import sysconfig

    import numpy as np

    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    paths |= {str(Path(np.__file__).parent.parent), "/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache"}
    return [path for path in map(Path, filter(None, paths)) if path.exists()]
