"""Programs that run in the mount namespace of a root with a name."""
