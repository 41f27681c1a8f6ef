"""Programs over processors of many kinds: plans of task graphs, and what runs them."""
