"""Testbenches in cocotb, one module each: what runs inside a simulator."""
