"""The array: golden model, RTL, driver, packages, runs."""
