"""Studies of mapping, models and simulation: what `make mapping`, `models`, `performance` run."""
