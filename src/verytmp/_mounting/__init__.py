"""From a root's options to its descriptors. Only here and in `_programs` is anything privileged."""
