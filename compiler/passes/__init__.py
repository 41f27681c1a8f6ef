"""Passes over tensor programs and dataflow graphs, before anything is mapped."""
