"""What keeps a search from going on, looked for before somebody has to: the database and the rights
on it, its workers, what is stuck, and this machine."""
