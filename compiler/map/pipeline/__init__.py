"""Chains of dense layers as one pipelined program."""
