"""Trials that frameworks train: a thin callback for each, and a loop made of what users have.

Each of them asks the framework for an evaluation where the trial's study has one, reports what it
was, and stops training where the trial is over.
"""
