"""Pages of the repository outside docs/: the README, which is the site's home, changelog and the like, examples."""

from __future__ import annotations

import json
import re
from pathlib import Path

from . import links

ROOT = Path(__file__).resolve().parents[2]
_HOME = "---\nhide: [navigation]\n---\n\n"


EXAMPLES = ROOT / "examples"


def example_pages() -> list[str]:
    """Paths of the examples' pages below docs/, the list of them first."""
    programs = sorted(path.stem for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")))
    return ["examples/index.md", *(f"examples/{name}.md" for name in programs)]


def pages() -> dict[str, str]:
    """Path below docs/ -> text."""
    made = {}
    for name, page in links.PAGES_OF.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.startswith("examples/"):
            made[page] = re.sub(r"\]\((\w+)\.(?:py|ipynb)\)", r"](\1.md)", text.replace("](../docs/", "](../"))
        else:
            text = links.from_the_root(text)
            made[page] = _HOME + text if page == "index.md" else text
    for path in EXAMPLES.glob("*.py"):
        made[f"examples/{path.stem}.md"] = f"# {path.name}\n\n```python\n{path.read_text(encoding='utf-8')}```\n"
    for path in EXAMPLES.glob("*.ipynb"):
        made[f"examples/{path.stem}.md"] = notebook_page(path)
    return made


def files() -> dict[str, bytes]:
    """Path below the site -> content of the files that are served as they are."""
    return {name: (ROOT / name).read_bytes() for name in links.FILES}


def notebook_page(path: Path) -> str:
    """A notebook's cells as a page, without what they printed."""
    parts = [f"*The notebook `examples/{path.name}`.*"]
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        prose = cell["cell_type"] == "markdown"
        parts.append(text.replace("](../docs/", "](../") if prose else f"```python\n{text}\n```")
    if parts[1:] and parts[1].startswith("# "):
        parts[0], parts[1] = parts[1], parts[0]
    else:
        parts.insert(0, f"# {path.name}")
    return "\n\n".join(parts) + "\n"
