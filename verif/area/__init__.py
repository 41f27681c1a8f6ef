"""Area, delay and energy of dot-product units of PAL and its peers, side by side."""
