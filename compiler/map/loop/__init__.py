"""Modulo scheduling, placement and routing of dataflow graphs: one operation a tile and slot."""
