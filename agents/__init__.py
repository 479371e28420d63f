"""Who acts: agents that read what a student may read, and the teacher's reading beside them.

Importing this package loads no torch. Another distribution may install a package of this name; the marker tells them
apart (`sdar_envs.ownership`).
"""

PACKAGE_MARKER = "sdar-gym"
