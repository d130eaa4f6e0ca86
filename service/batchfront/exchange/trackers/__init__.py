"""Trials to where people track their experiments, and finished runs from there."""
