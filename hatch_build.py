"""The long description, on the package index: README.md, without links and pictures that only the repository has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class LongDescription(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text()
        text = re.sub(r"<img [^>]*>\n+", "", text)
        text = re.sub(r"\s\(\[more\]\([^)]*\)\)", "", text)
        text = re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text)
        text = text.replace("\nMore: ", "\nPages in the folder docs of the source distribution: ")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
