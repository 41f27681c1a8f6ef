"""Discrete events: programs, streams and banks of a chip, by words and cycles."""
