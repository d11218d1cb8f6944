"""The rendered site, whichever program made it: data beside the pages, links that hold.

The article and the captions in the notebooks write links as seen from the site's root
(``data/results/dvb/models.csv``, ``notebooks/03_deep_values-preview.html#cell-fig-x``). A caption
is shown on two pages, one folder apart, so links are set right on each page after rendering.
"""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deepvalues.core.errors import UserError
from deepvalues.paper import manifest

#: What is copied into the site and where; answer browser and cards are built beforehand.
RESOURCES = {
    "data/published": "data/published",
    "data/results": "data/results",
    "figures": "figures",
    "paper/fonts": "fonts",
    "build/answers": "answers",
    "build/cards": "cards",
}

_FOLDERS = "|".join(RESOURCES.values())
_LINK = re.compile(
    rf"(?P<head>\b(?:(?:href|src)\s*=\s*|url\()\")(?:\.\./)*(?P<path>(?:{_FOLDERS}|notebooks)/)"
)


def copy_resources(root: Path, site: Path) -> None:
    """Copy data, figures, fonts, answers and cards into the site (Quarto copies nothing from outside)."""
    for source, target in RESOURCES.items():
        if (root / source).is_dir():
            shutil.copytree(root / source, site / target, dirs_exist_ok=True)


def name_commit(root: Path, site: Path) -> None:
    """Name the commit that is checked out in the site's manifest, and at the end of the article's page.

    Outside a git repository there is none to name.
    """
    found = manifest.commit(root)
    if found is None:
        return
    listing = site / manifest.MANIFEST
    if listing.is_file():
        content = manifest.read(root) | {"commit": found._asdict()}
        shown = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        listing.write_text(shown + "\n", encoding="utf-8")
    page = site / "index.html"
    before, end, after = page.read_text(encoding="utf-8").rpartition("</main>")
    changed = "" if found.clean else ", with changes that are not committed"
    line = (
        f'<p class="built">Built from commit <code>{found.id}</code>{changed}. What was made by which cell '
        f'from what: <a href="{manifest.MANIFEST}">manifest</a>.</p>\n'
    )
    page.write_text(before + line + end + after, encoding="utf-8")


def mend_links(site: Path) -> None:
    """Make the links to data, figures, fonts and notebooks right on every page of the site."""
    for page in sorted(site.rglob("*.html")):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text(encoding="utf-8")
        mended = _LINK.sub(rf"\g<head>{up}\g<path>", text)
        if mended != text:
            page.write_text(mended, encoding="utf-8")


def check_links(site: Path) -> None:
    """Follow every link within the site.

    Raises
    ------
    UserError
        If a link leads to a file or an anchor that is not there; all such links are listed.
    """
    pages = {page.resolve(): _read(page) for page in sorted(site.rglob("*.html"))}
    faults = [
        f"{page.relative_to(site.resolve())}: the link to {link} leads nowhere."
        for page, parsed in pages.items()
        for link in parsed.links
        if not _leads_somewhere(page, link, pages)
    ]
    if faults:
        raise UserError("\n".join(faults))


def anchors(site: Path, page: str) -> set[str]:
    """The ids on a page of the site; none if there is no such page."""
    file = site / page
    return _read(file).anchors if file.is_file() else set()


class _Page(HTMLParser):
    """Collects the anchors and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag's id and what it links to."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def _read(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def _leads_somewhere(page: Path, link: str, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return False
    if "=" in parts.fragment and target.parent.name == RESOURCES["build/answers"]:
        return True  # filters of the answer browser, which are no anchor
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors
