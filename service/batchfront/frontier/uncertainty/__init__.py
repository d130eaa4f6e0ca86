"""How uncertain a best trial is: what fewer trials would have found, and another search.

A race ends when some trials have passed the goal, the lowest order statistics of all its trials'
steps; the others are only known to be no better. Everything here is computed from those, and says
how much hangs on the trials that nobody has followed to their end.
"""
