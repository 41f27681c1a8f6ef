"""Language models by their published shapes: what a prompt and a token of them cost."""
