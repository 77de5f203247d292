"""Text: bytes and strings to values, and nothing else."""
