"""Mistakes, and above each what mypy, pyright, ty and pyrefly call it: their codes, or ``-`` from who does not see it.

ty 0.0.105 lets an unknown key of an unpacked TypedDict pass, which the typing specification calls an error.
"""

from pathlib import Path

from verytmp import VeryTmpPath, VeryTmpRoot

root = VeryTmpRoot()
path = root / "f"

# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
VeryTmpPath("x")
# call-arg | reportCallIssue | missing-argument | bad-argument-count
VeryTmpPath()
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
VeryTmpRoot(size=[])
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
VeryTmpRoot(size=1.5)
# call-arg | reportCallIssue | - | unexpected-keyword
VeryTmpRoot(sise="64m")
# call-arg | reportCallIssue | too-many-positional-arguments | bad-argument-count
VeryTmpRoot("64m")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
VeryTmpRoot(noexec="yes")
# operator | reportOperatorIssue | unsupported-operator | unsupported-operation
print(root / 1)
# operator | reportOperatorIssue | unsupported-operator | unsupported-operation
print(root / b"x")
# operator | reportOperatorIssue | unsupported-operator | unsupported-operation
print(path / b"x")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
path.symlink_to(b"x")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
path.hardlink_to(b"x")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
path.open("rb").write("x")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
path.write_text(b"x")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
path.write_bytes("x")
# call-overload | reportArgumentType+reportCallIssue | no-matching-overload | no-matching-overload
path.copy(1)
# attr-defined | reportAttributeAccessIssue | missing-attribute | missing-attribute
path.copy(Path("/x")).fileno()
# assignment | reportAssignmentType | invalid-assignment | bad-assignment
plain: VeryTmpPath = path.copy(Path("/x"))
# assignment | reportAssignmentType | invalid-assignment | bad-assignment
inside: VeryTmpPath = path.relative_to(root.path)
# attr-defined | reportAttributeAccessIssue | missing-attribute | missing-attribute
path.readlink().read_text()
# attr-defined | reportAttributeAccessIssue | missing-attribute | missing-attribute
path.relative_to(root.path).exists()
# attr-defined | reportAttributeAccessIssue | missing-attribute | missing-attribute
print(root.size)
# misc | reportAttributeAccessIssue | invalid-assignment | read-only
root.path = path
# misc | reportAttributeAccessIssue | invalid-assignment | read-only
root.closed = True
# attr-defined | reportAttributeAccessIssue | missing-attribute | missing-attribute
path.nope()
# call-arg | reportCallIssue | unknown-argument | unexpected-keyword
path.glob("*", recurse=True)
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
VeryTmpRoot(host="no")
# arg-type | reportArgumentType | invalid-argument-type | bad-argument-type
root.wrap(["true"], cwd=1.5)
