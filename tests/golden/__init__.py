"""Searches whose results were recorded, and have to come out the same to the bit."""
