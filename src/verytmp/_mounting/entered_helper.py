"""The helper of a process that has entered a mount namespace: it is in that too, and may mount there.

Each request brings a socket, over which it is answered. That is a root's lease as well: when all who have the root have
closed theirs, the root is unmounted. The helper ends when nobody can ask any more, and the last lease has ended.
"""

from __future__ import annotations

import _socket
import errno
import os
import resource
import select
from posix import geteuid
from stat import S_ISDIR

from .. import _syscalls
from . import namespaces, protocol
from .child_process import answer, enter_namespaces, own
from .tmpfs import Steps

CREDENTIALS_BYTES = 12  # sizeof(struct ucred): a process, its user and group


def settle(connection: _socket.socket, steps: Steps) -> tuple[list[int], str]:
    """Leave a helper behind in a new mount namespace: the namespace's descriptor, and the helper's process number."""
    enter_namespaces(steps)
    namespaces.cut_off(False, steps)
    namespaces.private_root(namespaces.DIRECTORY, steps)
    root = namespaces.writable_root(steps)
    steps(namespaces.NAMESPACE)
    namespace = os.open(namespaces.NAMESPACE, os.O_RDONLY)
    steps("fork")
    child = os.fork()
    if child == 0:
        try:
            os.setsid()  # what ends all processes of a terminal, or of a process group, is not for it
            Helper(connection, root).serve()
        finally:
            os._exit(0)
    return [namespace], str(child)


class Helper:
    """Mounts and unmounts roots in its namespace.

    Args:
        connection: where requests come from.
        root: the namespace's ``/``, to be written to.
    """

    def __init__(self, connection: _socket.socket, root: int) -> None:
        own(connection.fileno(), None, root)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a root takes one of its own
        self._connection = connection
        self._root = root
        self._leases: dict[int, tuple[_socket.socket, str, bool]] = {}  # and whether its directory was made for it
        self._poll = select.epoll()
        self._poll.register(connection, select.EPOLLIN)

    def serve(self) -> None:
        connected = True
        while connected or self._leases:
            for fd, _ in self._poll.poll():
                if fd == self._connection.fileno():
                    self._unmount_ended()
                    connected = self._take_request()
                elif fd in self._leases:
                    self._unmount(fd)

    def _take_request(self) -> bool:
        """Answer one request. False if there will be none any more."""
        room = _socket.CMSG_SPACE(protocol.INT_BYTES)
        message, ancillary, _, _ = self._connection.recvmsg(protocol.MESSAGE_BYTES, room, _socket.MSG_CMSG_CLOEXEC)
        if not message:
            self._poll.unregister(self._connection)
            return False
        [fd] = [fd for _, _, data in ancillary for fd in protocol.unpack(data)] or [-1]
        if fd >= 0:  # else there was no room for it; who asked sees its end closed
            reply = _socket.socket(fileno=fd)
            operation, options = protocol.decode(message)
            if operation == protocol.SYNC:
                answer(reply, Steps(), lambda: ([], ""))
            else:
                answer(reply, steps := Steps(), self._mount, options, reply, steps)
        return True

    def _mount(self, options: list[str], reply: _socket.socket, steps: Steps) -> tuple[list[int], str]:
        at = next(option[3:] for option in options if option.startswith("at="))
        steps("enter")
        credentials = reply.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, CREDENTIALS_BYTES)
        if protocol.unpack(credentials)[1] != geteuid():
            raise OSError(errno.EPERM, "this process has become another user since verytmp.enter()")
        steps("at")
        if at in {at for _, at, _ in self._leases.values()}:
            raise OSError(errno.EBUSY, "another root has this name")
        made = self._make_directory(at)
        try:
            mounted = namespaces.mount_named(options, steps)
        except BaseException:
            if made:
                self._remove_directory(at)
            raise
        self._leases[reply.fileno()] = reply, at, made
        self._poll.register(reply, 0)  # its other end's closing is always reported
        return mounted

    def _make_directory(self, at: str) -> bool:
        """See that there is a directory to mount a root at: whether it was made."""
        try:
            if not S_ISDIR(os.stat(at).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except FileNotFoundError:
            if not namespaces.may_be_made(at):
                raise OSError(errno.ENOENT, namespaces.NO_PARENT) from None
            os.makedirs(f"/proc/self/fd/{self._root}{at}", 0o755, exist_ok=True)
            return True
        return False

    def _unmount_ended(self) -> None:
        for fd, _ in self._poll.poll(0):
            if fd in self._leases:
                self._unmount(fd)

    def _unmount(self, fd: int) -> None:
        reply, at, made = self._leases.pop(fd)
        reply.close()
        try:
            _syscalls.umount2(at, _syscalls.MNT_DETACH)
        except OSError:  # root has done it
            pass
        if made:
            self._remove_directory(at)

    def _remove_directory(self, at: str) -> None:
        try:
            os.rmdir(f"/proc/self/fd/{self._root}{at}")
        except OSError:  # another process may be looking at it: it stays, empty, until the namespace goes
            pass
