"""The helper of a process that has entered a mount namespace: it is in that too, and may mount there.

Each request brings a socket, over which it is answered. That is a root's lease as well: when all who have the root have
closed theirs, the root is unmounted. Programs that were started in the namespace may connect to it, at `named.SOCKET`.
The helper ends when nobody is connected any more, and the last lease has ended.
"""

from __future__ import annotations

import _socket
import errno
import os
import resource
import select
import time
from functools import partial
from posix import geteuid
from stat import S_ISDIR

from .. import _syscalls
from . import named, protocol
from .answering import close_all_but, reply
from .namespaces import enter_namespaces
from .protocol import CallLog, Request
from .spec import MountSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CREDENTIALS_BYTES = 12  # sizeof(struct ucred): a process, its user and group
WAITING_MAX = 128  # connections that have not been accepted yet: a run of tests may start so many workers at once
FULL_PAUSE = 0.01  # seconds, where the descriptor table is full


def daemonize(request: Request, log: CallLog, connection: _socket.socket) -> tuple[bytes, list[int]]:
    """Leave a helper behind in a new mount namespace: the reply has its process number, and that one's descriptor.

    And that of the user namespace, if it is a new one.
    """
    new = enter_namespaces(log, request.fds)
    named.cut_off(False, log)
    named.private_root(named.DIRECTORY, log)
    root = named.kept_writable(log)
    named.protect_root(log)
    log("bind")
    listener = listening(f"/proc/self/fd/{root}{named.SOCKET}")
    log(named.NAMESPACE)
    namespace = os.open(named.NAMESPACE, os.O_RDONLY)
    log("setsid")
    os.setsid()  # what ends all processes of a terminal, or of a process group, is not for the helper
    log("fork")
    child = os.fork()
    if child == 0:
        try:
            Helper(connection, root, listener).serve()
        finally:
            os._exit(0)
    listener.close()
    fds = [namespace, *new]
    return protocol.encode_done(str(child), fds), fds


def listening(path: str) -> _socket.socket:
    """A socket that listens at a path. Nobody but this user may connect."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(WAITING_MAX)
    except BaseException:
        listener.close()
        raise
    return listener


class Helper:
    """Mounts and unmounts roots in its namespace.

    Args:
        connection: where requests come from.
        root: the namespace's ``/``, to be written to.
        listener: where other processes connect, who have requests too.
    """

    def __init__(self, connection: _socket.socket, root: int, listener: _socket.socket) -> None:
        close_all_but(connection.fileno(), root, listener.fileno())
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a root takes one of its own
        self._connections = {connection.fileno(): connection}
        self._listener = listener
        self._root = root
        self._made: set[str] = set()  # the entries of "/" that are this helper's
        self._leases: dict[int, tuple[_socket.socket, str, bool]] = {}  # and whether its directory was made for it
        self._poll = select.epoll()
        self._poll.register(connection, select.EPOLLIN)
        self._poll.register(listener, select.EPOLLIN)

    def serve(self) -> None:
        while self._connections or self._leases:
            ready = self._poll.poll()
            self._unmount_ended(ready)
            asking = [self._connections[fd] for fd, _ in ready if fd in self._connections]
            if asking:
                # What was closed before this was asked for goes first. No event is looked at after it: its socket may
                # have the number of one that ended.
                self._unmount_ended(self._poll.poll(0))
            for connection in asking:
                self._take_request(connection)
            if self._listener.fileno() in dict(ready):
                self._accept()

    def _accept(self) -> None:
        """Let another process ask as well."""
        try:
            listener: Any = self._listener  # checkers do not know its method
            connection = _socket.socket(fileno=listener._accept()[0])
        except OSError:  # the descriptor table is full, until some root is closed; or it waits no more
            time.sleep(FULL_PAUSE)
            return
        self._connections[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)

    def _take_request(self, asking: _socket.socket) -> None:
        """Answer one request."""
        try:
            request = protocol.receive(asking)
        except ConnectionResetError:  # it is closed, and a reply had not been read
            request = None
        except (OSError, ValueError):  # the descriptor table is full; the caller sees its end closed
            return
        if request is None:
            del self._connections[asking.fileno()]
            asking.close()
            return
        for fd in request.fds[:1]:
            connection = _socket.socket(fileno=fd)
            request.fds = request.fds[1:]
            perform = OPERATIONS.get(request.operation) or partial(self._perform, connection)
            try:
                reply(connection, CallLog(), request, perform)
            except (BrokenPipeError, ConnectionResetError):  # who asked does not wait any more: so the lease has ended
                pass

    def _perform(self, connection: _socket.socket, request: Request, log: CallLog) -> tuple[bytes, list[int]]:
        log("enter")
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, CREDENTIALS_BYTES)
        if protocol.unpack(credentials)[1] != geteuid():
            raise OSError(errno.EPERM, "this process has become another user since verytmp.enter()")
        if request.operation == protocol.NAMED:
            fds, how = self._mount(connection, MountSpec.decode(request.fields), (), log)
        elif request.operation == protocol.CLONE and (spec := MountSpec.decode(request.fields[1:])).at:
            fds, how = self._mount(connection, spec, request.fds, log)
        else:
            from . import changes

            fds, how = changes.perform(request, log)
        return protocol.encode_done(how, fds), fds

    def _mount(
        self, lease: _socket.socket, spec: MountSpec, layers: Sequence[int], log: CallLog
    ) -> tuple[list[int], str]:
        log("at")
        if spec.at in {at for _, at, _ in self._leases.values()}:
            raise OSError(errno.EBUSY, "another root has this name")
        made = self._make_directory(spec.at)
        try:
            fds, how = named.mount_named(spec, layers, log)
        except BaseException:
            if made:
                self._remove_directory(spec.at)
            raise
        self._leases[lease.fileno()] = lease, spec.at, made
        self._poll.register(lease, 0)  # its other end's closing is always reported
        return fds, how

    def _make_directory(self, at: str) -> bool:
        """See that there is a directory to mount a root at: whether it was made."""
        try:
            if not S_ISDIR(os.stat(at).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except FileNotFoundError:
            top = at.split("/")[1]
            if not (top in self._made or named.may_be_made(at)):
                raise OSError(errno.ENOENT, named.NO_PARENT) from None
            self._made.add(top)
            os.makedirs(f"/proc/self/fd/{self._root}{at}", 0o755, exist_ok=True)
            return True
        return False

    def _unmount_ended(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            if fd in self._leases:
                lease, at, made = self._leases.pop(fd)
                lease.close()
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


def sync(request: Request, log: CallLog) -> tuple[bytes, list[int]]:
    """All that ended has been unmounted by now."""
    return protocol.encode_done("", []), []


def join(request: Request, log: CallLog) -> tuple[bytes, list[int]]:
    """Tell who connects which process this is, and in which namespace."""
    log(named.NAMESPACE)
    fds = [os.open(named.NAMESPACE, os.O_RDONLY)]
    return protocol.encode_done(str(os.getpid()), fds), fds


OPERATIONS = {protocol.SYNC: sync, protocol.JOIN: join}
