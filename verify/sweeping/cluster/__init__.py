"""The work of a sweep on Ray or Slurm."""
