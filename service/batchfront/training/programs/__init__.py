"""Trials that are programs: started, read, paused and ended."""
