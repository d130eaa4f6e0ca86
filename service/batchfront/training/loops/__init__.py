"""Trials that are Python functions of the user's, which hand over control where they evaluate."""
