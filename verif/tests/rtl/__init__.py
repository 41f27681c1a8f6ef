"""Emission, synthesis, simulators."""
