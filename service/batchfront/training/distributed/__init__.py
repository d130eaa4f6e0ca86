"""One trial on several devices: a process for each, which take shares of every batch."""
