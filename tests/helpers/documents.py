"""The code blocks of the README and of docs/, as the test of the documents runs them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(
    r"(?:^<!--\s*(?P<mark>[^\n]*?)\s*-->\n)?^```(?P<language>\w*)(?P<header>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PARSE = re.compile(r"parse: \S.*")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    language: str
    text: str
    title: str = ""
    """The file's name, of code that is a whole file."""
    parse_only: bool = False
    """Whether the comment before it says that it cannot run in a test."""

    @property
    def commands(self) -> list[list[str]]:
        """Its command lines, split into words; what a backslash continues is one line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [
            shlex.split(line, comments=True) for line in lines if line.strip() and not line.startswith("#")
        ]


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page. ValueError for a comment before one that is not understood."""
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        mark = match["mark"] or ""
        if mark and not _PARSE.fullmatch(mark):
            raise ValueError(f"{page}: <!-- {mark} --> before a block: write <!-- parse: why -->")
        title = re.search(r'title="([^"]+)"', match["header"])
        found.append(Block(page, match["language"], match["text"], title[1] if title else "", bool(mark)))
    return found
