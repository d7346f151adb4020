"""How good landmarks are: against themselves in a changed image, and against annotated points."""
