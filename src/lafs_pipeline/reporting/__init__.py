"""What people look at: every plot, the report page."""
