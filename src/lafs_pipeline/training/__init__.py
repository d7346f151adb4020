"""How models are trained: one loop, schedules, parameter groups, checkpoints, probes."""
