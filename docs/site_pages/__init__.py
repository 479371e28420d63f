"""Pages of the site that are made from the code: worlds, methods, commands, the API, and the repository's own pages.

Nothing here is imported by the packages. What a page says of a world or a command is read where the program reads it,
so that no fact is written twice; measured numbers come from the files in ``docs/data``.
"""
