"""Deletion of files and trees, by descriptors, so that no link leads elsewhere."""

from __future__ import annotations

import errno
import os
from functools import partial
from stat import S_ISDIR

from . import whole_files
from .dir_stack import DirStack
from .last_step import ends_above
from .owned_fd import opened
from .procfs import self_fd
from .resolver import DIRECTORY
from .whole_files import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .owned_fd import OwnedFd
    from .tree import Tree

LISTED = DIRECTORY & ~getattr(os, "O_PATH", 0)
ALL_OF_THE_OWNERS = 0o700

NOT_REMOVABLE = "It could be copied, but not removed. So nothing was done."


def delete(tree: Tree, relative: str) -> None:
    """Remove a file, a symlink, or a directory with all below it.

    Raises:
        OSError: with the path that it is about. What came before it in the traversal has been removed.
    """
    if S_ISDIR(tree.stat(relative, False).st_mode):
        delete_contents(tree, relative)
        tree.rmdir(relative)
    else:
        tree.unlink(relative)


def delete_contents(tree: Tree, relative: str, override_permissions: bool = False) -> None:
    """Remove all that is in a directory, as `delete`; with *override_permissions* as for `empty`."""
    with open_directory(tree, relative, DIRECTORY) as top:
        try:
            empty(top, os.fstat(top.fileno()).st_dev, override_permissions)
        except OSError as error:
            error.filename = tree.string(below(relative, error.filename))
            raise


def remove_tree(parent: str, name: str) -> None:
    """Remove a directory with all below it, whatever their permissions are.

    Args:
        parent: the directory that it is in.
        name: its name there. What is no directory, but a file or a link, is removed as well; nothing is no error.

    Raises:
        OSError: something cannot be removed, or is on another file system than *parent*.
    """
    with opened(parent, DIRECTORY, None) as above:
        device = os.fstat(above.fileno()).st_dev
        try:
            with open_listable(name, above, device, True) as top:
                empty(top, device, True)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            pass
        remove_directory(name, above.fileno())


def open_directory(tree: Tree, relative: str, flags: int) -> OwnedFd:
    """Open a directory, and no link to one. (For a root that may not be searched, O_NOFOLLOW would mean ENOTDIR.)"""
    return tree.open(relative, flags if relative else flags & ~os.O_NOFOLLOW)


def empty(top: OwnedFd, device: int, override_permissions: bool = False) -> None:
    """Remove all that is in a directory.

    Args:
        top: the directory.
        device: nothing is touched that is on another one. A program may have closed descriptors that are not its own,
            and then the same fd may be another directory's, even the host's root.
        override_permissions: whether directories below are removed whose permissions forbid it.

    Raises:
        OSError: its `filename` is relative to the directory.
    """
    with DirStack(opened(".", LISTED, top.fileno()), DIRECTORY) as stack:
        try:
            check_device(stack.here, device)
            traversal = stack.traverse(
                partial(unlink_entries, stack), partial(enter, stack, device, override_permissions)
            )
            for name, _ in traversal:
                remove_directory(name, stack.fd)
        except OSError as error:
            error.filename = stack.path(error)
            raise


def unlink_entries(stack: DirStack) -> list[str]:
    """Remove all files and links in the current directory. Returns the names of the directories in it."""
    directories, others = whole_files.list_dirs_and_files(stack.fd)
    for name in others:
        try:
            os.unlink(name, dir_fd=stack.fd)
        except FileNotFoundError:
            continue
        except IsADirectoryError:  # it has been replaced by a directory
            directories.append(name)
    return directories


def enter(stack: DirStack, device: int, override_permissions: bool, name: str) -> bool:
    """Enter a directory to remove all that is in it. Returns False if it is no directory any more, and was removed."""
    try:
        directory = open_listable(name, stack.here, device, override_permissions)
    except FileNotFoundError:
        return False
    except NotADirectoryError:  # it has been replaced by a file or a link
        os.unlink(name, dir_fd=stack.fd)
        return False
    stack.push(name, directory)
    return True


def open_listable(name: str, here: OwnedFd, device: int, override_permissions: bool) -> OwnedFd:
    """Open a directory to list it; with *override_permissions*, give it all the permissions that its removal takes."""
    try:
        found = opened(name, LISTED, here.fileno())
    except PermissionError:
        if not override_permissions:
            raise
        with opened(name, DIRECTORY, here.fileno()) as closed:
            check_device(closed, device, name)
            os.chmod(self_fd(closed.fileno()), ALL_OF_THE_OWNERS)
        found = opened(name, LISTED, here.fileno())
    try:
        mode = check_device(found, device, name).st_mode
        if override_permissions and mode & ALL_OF_THE_OWNERS != ALL_OF_THE_OWNERS:
            os.chmod(found.fileno(), ALL_OF_THE_OWNERS)  # this call needs no /proc
    except BaseException:
        found.close()
        raise
    return found


def below(relative: str, name: str) -> str:
    return joined(relative, name) if name else relative


def check_device(directory: OwnedFd, device: int, name: str | None = None) -> os.stat_result:
    status = os.fstat(directory.fileno())
    if status.st_dev != device:
        raise OSError(errno.EXDEV, "it is on another file system, and nothing is removed there", name)
    return status


def remove_directory(name: str, directory: int) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except NotADirectoryError:  # it has been replaced by a file or a link
        os.unlink(name, dir_fd=directory)


# -- before anything is removed ----------------------------------------------------------------------------------------


def check_removable(tree: Tree, relative: str) -> None:
    """Check that `delete` may remove all this, before `move` copies it.

    Its parent directory, and each directory below it that is not empty, has to be writable and searchable, and all on
    one file system. Of a root, only its contents are checked.

    Raises:
        OSError: EACCES, or EROFS, with the directory's path; EBUSY for a path that ends in ``..``.
    """
    status = tree.stat(relative, False)
    if ends_above(relative):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), tree.string(relative))
    if relative:
        above = relative.rpartition("/")[0]
        with tree.open(above, os.O_PATH | os.O_DIRECTORY) as parent:
            check_writable(parent.fileno(), tree.string(above))
    if not S_ISDIR(status.st_mode):
        return
    with DirStack(open_directory(tree, relative, LISTED), DIRECTORY) as stack:

        def names_here() -> list[str]:
            directories, others = whole_files.list_dirs_and_files(stack.fd)
            if directories or others:
                check_writable(stack.fd, ".")
            return directories

        def enter(name: str) -> bool:
            stack.push(name, open_listable(name, stack.here, status.st_dev, False))
            return True

        try:
            for _ in stack.traverse(names_here, enter):
                pass
        except OSError as error:
            error.filename = tree.string(below(relative, stack.path(error)))
            raise


def check_writable(directory: int, name: str) -> None:
    """Raise the error that the removal of something from this directory would: EACCES or EROFS, with *name*."""
    wanted = os.W_OK | os.X_OK
    # By faccessat2(2). Old container runtimes refuse that call with EPERM, and allow the second one, access(2).
    if not (os.access(".", wanted, dir_fd=directory, effective_ids=True) or os.access(self_fd(directory), wanted)):
        number = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
        error = OSError(number, os.strerror(number), name)
        error.add_note(NOT_REMOVABLE)
        raise error
