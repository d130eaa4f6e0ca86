"""What workers compute trials with, one module for each kind of workload."""
