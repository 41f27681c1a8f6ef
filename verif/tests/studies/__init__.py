"""Studies, their peers, and what pages claim of them."""
