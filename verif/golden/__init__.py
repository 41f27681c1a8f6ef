"""Golden model: numpy execution of a decoded bitstream, cycle for cycle."""
