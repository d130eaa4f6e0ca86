"""The `batchfront` command."""
