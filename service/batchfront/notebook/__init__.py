"""A search from Python: from a notebook's cell, or from a script."""
