"""The repository as a whole: commands, installation, pages, layout."""
