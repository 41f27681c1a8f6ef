"""What engines raise."""


class InputError(ValueError):
    """Inputs that a program cannot take."""


class RunError(RuntimeError):
    """A run that is not as it was predicted."""
