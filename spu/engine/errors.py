"""What engines raise beside errors of their inputs."""

from spu.arch.errors import CheckFailed


class RunError(CheckFailed):
    """A run that is not as it was predicted."""
