"""How it learns: rollouts, formulas, the trainer and its command line.

Importing this package loads no torch.
"""

from sdar_envs.ownership import require_own_package

PACKAGE_MARKER = "sdar-gym"

require_own_package("agents")
