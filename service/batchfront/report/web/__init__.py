"""Serving pages over HTTP: who is answered, what may be asked, and how a server ends."""
