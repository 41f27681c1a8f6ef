"""Mapping of neutral dataflow graphs: one operation a tile and slot, words on links."""
