"""What `VeryTmpPath` is made of. All that touches files goes through `_confined`."""
