"""The one exception that a user of the compiler sees."""


class CompileError(ValueError):
    """The model or its mapping is at fault; the message names the thing and the rule."""
