"""What ``python -m verytmp`` does."""
