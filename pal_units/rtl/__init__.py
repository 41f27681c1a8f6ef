"""Amaranth units of PAL arithmetic; each is checked against ``pal_units.model``."""

try:
    import amaranth  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: pip install 'pal-units[rtl]', or 'pal-spu[sim]' if this "
        "is pal-spu's",
        name=error.name,
    ) from None
