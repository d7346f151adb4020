"""What every room needs: errors, settings, seeds, whole-or-nothing files, metric loggers, launching."""
