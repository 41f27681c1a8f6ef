"""Strategies: pipelines of chains, products and kernels in steps, loops."""
