"""What the process that runs a learner's answer may not do.

On Linux the process is put into namespaces of its own (`unshare` of util-linux): the disk is read-only but for a
scratch folder in memory, other programs are neither seen nor ended, there is no network, and the submissions, the
devices and the system's sockets are out of sight. Where the system does not permit that, limits are what is left.
Linux' manual pages: user_namespaces(7), mount_setattr(2), capabilities(7), getrlimit(2).
"""

import contextlib
import ctypes
import os
import shutil
import struct
import sys

RECURSIVE, HERE = 0x8000, -100  # AT_RECURSIVE, AT_FDCWD
READ_ONLY, NO_SETUID = 1, 2  # MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID
MOUNT_SETATTR = 442  # the same number on every processor but alpha
BIND = 4096  # MS_BIND
NO_NEW_PRIVILEGES, DROP_FROM_BOUNDING_SET, SET_SECUREBITS = 38, 24, 28  # prctl
NO_ROOT_LOCKED = 0b11  # SECBIT_NOROOT and its lock
DEVICES = ("null", "zero", "urandom", "random", "full")


def command():
    """What to put before a command for `enter` to work in it; [] where there is no such program."""
    unshare = shutil.which("unshare") if sys.platform == "linux" else None
    if not unshare:
        return []
    apart = ["--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
    return [unshare, *apart, "--mount-proc", "--"]


def namespaces():
    """The namespaces of this process: {"mnt": text, ...}. Raises OSError where the system has none."""
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "mnt", "pid", "net", "ipc")}


def refuse_outside(own, outside):
    """Raise OSError unless all namespaces in `own` differ from those of the program that grades, `outside`.

    Without this, a teacher who works as root would close the cage around the whole machine.
    """
    shared = [kind for kind in outside if own.get(kind, outside[kind]) == outside[kind]]
    if shared or not outside:
        raise OSError(f"no namespace of its own: {', '.join(shared) or 'none is known'}")


def enter(scratch, hidden, outside):
    """Close the cage around this process, for good. It must have been started by `command()`.

    scratch: the one folder that can be written then, empty and in memory. hidden: folders to show as empty. outside:
    `namespaces()` of the program that grades. Raises OSError, before anything is changed, if this process shares one
    of them, and where the system does not permit the cage.
    """
    refuse_outside(namespaces(), outside)
    libc = ctypes.CDLL(None, use_errno=True)

    def do(result):
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def mount(source, target, kind, flags, options):
        options = options.encode() if options else None
        do(libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, options))

    mount("dev", scratch, "tmpfs", 0, "size=64k")  # made here, moved to /dev: only the harmless devices
    os.mkdir(os.path.join(scratch, "shm"))
    for name in DEVICES:
        place = os.path.join(scratch, name)
        with open(place, "w"):
            mount(f"/dev/{name}", place, None, BIND, None)
    mount(scratch, "/dev", None, BIND | 16384, None)  # MS_REC
    do(libc.umount2(scratch.encode(), 2))  # MNT_DETACH
    for folder in {*map(os.path.realpath, hidden), "/run"}:
        if os.path.isdir(folder):
            mount("hidden", folder, "tmpfs", 0, "size=4k")
    attributes = struct.pack("4Q", READ_ONLY | NO_SETUID, 0, 0, 0)
    do(libc.syscall(MOUNT_SETATTR, HERE, b"/", RECURSIVE, attributes, len(attributes)))
    mount("scratch", scratch, "tmpfs", 0, "size=256m,mode=700")
    mount("shm", "/dev/shm", "tmpfs", 0, "size=64m")
    # now the right to undo this is given up, also for what is started later
    do(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    do(libc.prctl(SET_SECUREBITS, NO_ROOT_LOCKED, 0, 0, 0))
    for capability in range(64):
        libc.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)  # those that the kernel does not know fail
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)  # _LINUX_CAPABILITY_VERSION_3, this process
    do(libc.capset(header, nothing))


def limit(seconds, megabytes):
    """Limit this process and what it starts: processor time, memory of its own, size of files, no core dumps.

    Does nothing where the system knows no such limits (Windows); macOS knows only some.
    """
    try:
        import resource
    except ImportError:
        return
    limits = {"CPU": seconds, "DATA": megabytes * 1_000_000, "FSIZE": 200_000_000, "CORE": 0}
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
