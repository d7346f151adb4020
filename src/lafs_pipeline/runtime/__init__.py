"""What every room needs: errors, settings, seeds, atomic files, metric loggers, launching."""
