"""Studies from elsewhere, and studies to take elsewhere: imports and exports."""
