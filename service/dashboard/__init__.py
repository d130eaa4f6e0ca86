"""The Optuna dashboard on batchfront's studies: what it shows of ours, and for reading alone."""
