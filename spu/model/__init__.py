"""Golden model of the array: executes program images, bit for bit and cycle for cycle."""
