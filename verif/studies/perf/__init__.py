"""What the performance model says beside what was measured or published: ``make perf``.

A section is a module of this folder with a function ``rows()``; ``__main__`` writes the sections
that there are into one file.
"""
