"""How much of a file is in this process's memory, as Linux tells it."""

import mmap
from pathlib import Path

_ENTRY = 8  # bytes that the kernel's table of pages has for each


def resident(file: Path) -> int:
    """Memory that this process's mappings of `file` take. [B]

    Not from `smaps`, for which the kernel walks through all of a large process.
    """
    name = str(file.resolve()).replace("\n", "\\012")
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").split("\n")
    spans = [line.split()[0].split("-") for line in lines if line.endswith(f" {name}")]
    assert spans, f"{file} is not mapped"
    present = 0
    with Path("/proc/self/pagemap").open("rb") as table:
        for start, end in spans:
            first, behind = (int(address, 16) // mmap.PAGESIZE for address in (start, end))
            table.seek(first * _ENTRY)
            entries = table.read((behind - first) * _ENTRY)
            present += sum(top >> 7 for top in entries[_ENTRY - 1 :: _ENTRY])  # the highest bit
    return present * mmap.PAGESIZE
