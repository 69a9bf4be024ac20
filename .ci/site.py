"""What makes the pages of the repository a site: a hook of mkdocs, see `hooks` in mkdocs.yml.

Pages are written for those who read the repository, so their links are paths in it. Some of what they link to lies
outside of docs/, where mkdocs finds no pages: PAGES brings those in. A link to anything else (a folder, a tape) would
lead nowhere on a site, which has no copy of the repository beside it: there only its words stay.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "cassettes/README.md": "recordings.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Path in the repository -> path on the site."""
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_FENCES = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside of docs/."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Give the links of a page the places that their targets have on the site."""
    here = page.file.src_uri
    home = next((source for source, target in PAGES.items() if target == here), f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        words, path, anchor = link[1], link[2], link[3] or ""
        source = normpath(join(Path(home).parent.as_posix(), path))
        target = PAGES.get(source, source.removeprefix("docs/"))
        if source not in PAGES and (not source.startswith("docs/") or files.get_file_from_path(target) is None):
            if not (ROOT / source).exists():
                return link[0]  # it leads nowhere in the repository either, which mkdocs says
            return words
        return f"[{words}]({relpath(target, Path(here).parent.as_posix())}{anchor})"

    parts = _FENCES.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in parts)
