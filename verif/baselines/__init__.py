"""Peers of the PAL formats, from their public definitions, for the accuracy study."""
