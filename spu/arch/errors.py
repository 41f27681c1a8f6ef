"""What goes wrong for reasons that a user can see to, by what the command makes of it."""


class UserError(ValueError):
    """A file, a model or a request is at fault; the message names the thing and the rule."""


class InputError(UserError):
    """Inputs that a model cannot take."""


class PackageError(UserError):
    """A directory that holds no compiled model, or one that is damaged or not of this array."""


class CheckFailed(RuntimeError):
    """A result is not what it must be."""
