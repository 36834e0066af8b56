"""The site has the layout of the repository, so that a link between files is right in both.

`mkdocs.yml` runs this as its hook. Pages are README.md, which is the front page, and the Markdown
below. A source file is the page `name.py.md`, which holds its code, and a folder of sources the
page `index.md`, which lists them.
"""

import ast
import re
from pathlib import Path

from griffe import Extension
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "benchmarks/*.md", "docs/**/*.md", "examples/*.md")
ASSETS = ("docs/images/*", "docs/site.css")
SOURCES = ("benchmarks/*.py", "examples/*.py", "taichi_softras/**/*.py")
LINK_TO_SOURCE = re.compile(r"(\]\((?!\w+:)[^)#\s]*)(\.py|/)(?=[)#])")
PAGE_OF_SOURCE = {".py": ".py.md", "/": "/index.md"}
# What has names is found in the reference
SOURCE_META = "---\nsearch: {exclude: true}\nhide: [navigation, toc]\n---\n"


def on_files(files, config):
    """Puts the repository's files in the place of those of `docs_dir`."""
    site = Files([file for file in files if file.src_dir != config.docs_dir])
    for pattern in (*PAGES, *ASSETS):
        for path in sorted(ROOT.glob(pattern)):
            site.append(File(_name(path), str(ROOT), config.site_dir, config.use_directory_urls))
    folders: dict = {}  # of lists of sources
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            code = path.read_text(encoding="utf-8")
            site.append(File.generated(config, f"{_name(path)}.md", content=_listing(path, code)))
            folders.setdefault(path.parent, []).append((path, code))
    for folder, sources in folders.items():
        if not (folder / "README.md").exists():
            page = _contents(folder, sources)
            site.append(File.generated(config, f"{_name(folder)}/index.md", content=page))
    return site


def on_page_markdown(markdown, page, config, files):
    """Links to sources and folders lead to their pages."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    return LINK_TO_SOURCE.sub(lambda link: link[1] + PAGE_OF_SOURCE[link[2]], markdown)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _listing(path: Path, code: str) -> str:
    return f"{SOURCE_META}# {_name(path)}\n\n~~~~python\n{code}~~~~\n"


def _contents(folder: Path, sources: list) -> str:
    """A row for each file: its name, and the first line of what it says of itself."""
    rows = []
    for path, code in sources:
        said = ast.get_docstring(ast.parse(code)) or ""
        rows.append(f"- [`{path.name}`]({path.name}): {said.partition(chr(10))[0]}\n")
    return f"{SOURCE_META}# {_name(folder)}\n\n{''.join(rows)}"


class NamesOfOneLine(Extension):
    """`eye, target, up: ...` in a docstring is three names; Google's form knows one and its type.

    With spaces of another kind between them it takes them for one name.
    """

    NAMES = re.compile(r"(?m)^ +\w+(?:, \w+)+(?=:)")
    SPACE = "\N{EN SPACE}"

    def on_object(self, *, obj, **_):
        """Of whatever was read."""
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = self.NAMES.sub(
                lambda m: m[0].replace(", ", f",{self.SPACE}"), text
            )
