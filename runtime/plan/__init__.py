"""Plans of task graphs on nodes of different speeds: heuristics, annealing, bounds, a checker."""
