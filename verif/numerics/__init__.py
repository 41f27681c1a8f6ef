"""The accuracy study: PAL formats and their peers on the same data."""
