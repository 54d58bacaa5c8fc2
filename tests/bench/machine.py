"""What was measured on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from verytmp import VeryTmpRoot


def python() -> str:
    """This Python's version, and how its roots are made, where that takes a child."""
    way = "" if "directly" in repr(VeryTmpRoot()) else ", by a child"
    return f"{sys.version_info.major}.{sys.version_info.minor}{way}"


def described() -> dict[str, str]:
    return {
        "processor": f"{field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) >> 20} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
