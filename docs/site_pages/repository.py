"""Pages of the repository outside docs/: the README, which is the site's home, changelog and the like, examples."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from . import links

ROOT = Path(__file__).resolve().parents[2]
_HOME = "---\nhide: [navigation]\n---\n\n"
_WIDE = "---\nhide: [toc]\n---\n\n"  # room for lines of code


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
        made[f"examples/{path.stem}.md"] = program_page(path)
    for path in EXAMPLES.glob("*.ipynb"):
        made[f"examples/{path.stem}.md"] = notebook_page(path)
    return made


def files() -> dict[str, bytes]:
    """Path below the site -> content of the files that are served as they are."""
    examples = sorted((*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")))
    paths = [*(ROOT / name for name in links.FILES), *examples]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}


def program_page(path: Path) -> str:
    """A program as a page: what it is for, where to get it, and the whole of it."""
    code = path.read_text(encoding="utf-8")
    summary = (ast.get_docstring(ast.parse(code)) or "").partition("\n\n")[0]
    return f'{_WIDE}# {path.name}\n\n{summary}\n\n{_download(path)}\n\n```python title="{path.name}"\n{code}```\n'


def _download(path: Path) -> str:
    """The link that saves an example's file."""
    return f'[Download {path.name}]({path.name}){{ .md-button download="{path.name}" }}'


def notebook_page(path: Path) -> str:
    """A notebook's cells as a page, without what they printed."""
    parts = [_download(path)]
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        prose = cell["cell_type"] == "markdown"
        parts.append(text.replace("](../docs/", "](../") if prose else f"```python\n{text}\n```")
    if parts[1:] and parts[1].startswith("# "):
        parts[0], parts[1] = parts[1], parts[0]
    else:
        parts.insert(0, f"# {path.name}")
    return _WIDE + "\n\n".join(parts) + "\n"
