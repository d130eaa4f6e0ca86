"""How `batchfront analyze` prints each analysis."""
