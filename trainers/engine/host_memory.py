"""How the C library gives memory back, which decides what a run on the CPU takes beyond its tensors."""

from __future__ import annotations

import ctypes
import logging
import platform

logger = logging.getLogger(__name__)

# Weights, gradients and the optimiser's two moments in float32.
BYTES_A_PARAMETER = 16
# From this share of the machine's memory on, what they take is worth a few tenths of the speed to save.
SCARCE = 0.25
# Blocks of at least this size are mapped one by one, and go back to the system when they are freed.
MAPPED_BYTES = 1 << 18
_MMAP_THRESHOLD = -3  # of mallopt, in glibc's malloc.h


def memory_is_scarce(parameters: int, host: int) -> bool:
    """Whether training so many parameters takes a quarter of the memory or more, before there are any activations.

    Args:
        parameters: Of the model.
        host: Bytes of memory that the process may take (`hardware.host_bytes`).
    """
    return parameters * BYTES_A_PARAMETER >= SCARCE * host


def give_freed_blocks_back() -> bool:
    """Make every larger block one of its own, for the rest of the process; whether that could be done.

    Left alone, glibc raises that size to up to 32 MiB as larger blocks are freed, and keeps tensors on a heap in which
    activations, freed, and gradients, kept, come to lie in turns: what is freed between them cannot be used for larger
    ones. Results are the same bit for bit. The price is speed: every activation comes as new pages, which the kernel
    clears first, and a pass that only reads takes up to 1.4 times as long.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        return bool(ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, MAPPED_BYTES))
    except (OSError, AttributeError) as error:
        logger.info("freed memory stays with the process: %s", error)
        return False
