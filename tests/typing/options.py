"""Functions that pass a root's options on."""

from typing import TYPE_CHECKING, assert_type

from typing_extensions import Unpack

from verytmp import VeryTmpFactory, VeryTmpRoot

if TYPE_CHECKING:
    from verytmp import VeryTmpOptions


def small(**options: "Unpack[VeryTmpOptions]") -> VeryTmpRoot:
    options.setdefault("size", "8m")
    return VeryTmpRoot(**options)


settings: "VeryTmpOptions" = {"size": 4096, "nr_inodes": "10k", "uid": None}

assert_type(small(), VeryTmpRoot)
assert_type(small(mode=0o755, noexec=True, huge="never"), VeryTmpRoot)
assert_type(small(**settings), VeryTmpRoot)
assert_type(VeryTmpRoot(nr_blocks="1k", gid=0, mpol="local", inode64=True, noswap=False), VeryTmpRoot)

with VeryTmpFactory(size="8m") as factory:
    assert_type(factory(), VeryTmpRoot)
    assert_type(factory.root(mode=0o755), VeryTmpRoot)
    assert_type(factory(**settings), VeryTmpRoot)
    assert_type(factory.closed, bool)

with VeryTmpRoot(fstype="ramfs") as template:
    template.freeze()
    assert_type(template.frozen, bool)
    with template.clone(**settings) as clone, clone.read_only() as view:
        assert_type(clone, VeryTmpRoot)
        assert_type(view, VeryTmpRoot)
        clone.resize(size="1m", nr_inodes=100)
