"""The documentation as a site: what `make site` adds to MkDocs, and what checks it.

``pages``: which pages there are, and their order.  ``links``: where links lead, in the checkout and
in the site.  ``hook``: both, told to MkDocs (``mkdocs.yml``).  ``docstrings``: docstrings as
Markdown.  ``browse``: faults of a built site, from its files and in a browser.
"""
