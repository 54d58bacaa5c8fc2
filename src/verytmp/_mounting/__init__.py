"""From a root's options to its descriptors. The only package that may be privileged."""
