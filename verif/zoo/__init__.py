"""Models that people have, inside packages, through the compiler: ``make zoo``."""
