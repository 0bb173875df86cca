"""How much memory is left where a model lies, so that what cannot fit is refused beforehand."""

from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None where that is not known.

    On a CPU this is what Linux calls available: pages of cached files count, since they give way.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu" or not MEMINFO.exists():
        return None
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
    found = lines.get("MemAvailable", "").split()
    return int(found[0]) * 1024 if found else None
