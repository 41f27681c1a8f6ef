"""Engines that run programs: golden model or RTL, with the host's part."""
