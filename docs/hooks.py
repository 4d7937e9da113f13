"""What mkdocs does beside its plugins when it builds the site: links out of docs/, the API's pages, formulas.

A page may link to any file of the project, as it does on a forge. Each file that a page links to becomes part of the
site: Markdown as a page, code as a page of code, all else as it is. A link to code may name a function or a class,
``../rodflow/flows/rod.py#RodFlow.velocity``, and then leads to its line.
"""

from __future__ import annotations

import ast
import inspect
import posixpath
import re
from functools import cache
from html import unescape
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import rodflow

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s#:]+)(?:#([^)\s]*))?(?=\))")
"""A link of a page to a file, and what behind # it names there."""
CODE = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".smk": "python", ".toml": "toml", ".sh": "sh", "": "text"}
"""Files that are shown as a page of code, by their suffix, and their language."""


def linked(page: str, target: str) -> str | None:
    """The file of the project, relative to its root, that ``page`` means by a link to ``target``; None if none is."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    return path if (ROOT / path).is_file() else None


def place(path: str) -> str:
    """Where a file of the project lies in the site's sources."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"code/{path}.md" if Path(path).suffix in CODE else path


@cache
def line(path: str, symbol: str) -> int:
    """The line of a file on which a function, class or constant begins, such as ``RodFlow.velocity``.

    Raises: ``PluginError`` where there is none of that name.
    """
    body, number = ast.parse((ROOT / path).read_text(encoding="utf-8")).body, 0
    for name in symbol.split("."):
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
            if name in [getattr(target, "name", getattr(target, "id", None)) for target in targets]:
                body, number = getattr(node, "body", []), node.lineno
                break
        else:
            raise PluginError(f"{path} has no {symbol}, to which a page links")
    return number


def reached(pages: list[str]) -> list[str]:
    """The files that the pages link to, directly or by pages that are not their own, without docs/ itself."""
    found, left = dict.fromkeys(pages), list(pages)
    while left:
        page = left.pop()
        if page.endswith(".md"):
            for _, target, _ in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
                path = linked(page, target)
                if path is not None and path not in found:
                    found[path] = None
                    left.append(path)
    return [path for path in found if not path.startswith("docs/")]


def settings(name: str) -> str:
    """How an optimizer or a flow is made, as a section of its page: a class that it extends may hold its settings."""
    made = getattr(rodflow, name)
    if not (isinstance(made, type) and issubclass(made, rodflow.StepMap | rodflow.Flow)):
        return ""
    rows = str(inspect.signature(made))[1:-1].replace("'", "").replace(", ", ",\n    ")
    return f"\n## Settings\n\n```python\nrf.{name}(\n    {rows},\n)\n```\n" if rows else ""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.nav.append({"API": ["api/index.md", *({name: f"api/{name}.md"} for name in rodflow.__all__)]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    def add(uri: str, **source: str) -> None:
        files.append(File.generated(config, uri, **source))

    own = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.src_uri.endswith(".md")]
    for path in reached(["README.md", "REPLICATION.md", "CONTRIBUTING.md", "CHANGELOG.md", *own]):
        if Path(path).suffix in CODE:
            code = (ROOT / path).read_text(encoding="utf-8")
            add(place(path), content=f'# {path}\n\n````{CODE[Path(path).suffix]} linenums="1"\n{code}\n````\n')
        else:
            add(place(path), abs_src_path=str(ROOT / path))
    rows = []
    for name in rodflow.__all__:
        home = f"{rodflow._HOME_OF[name]}.{name}" if name in rodflow._HOME_OF else rodflow._MODULES[name]
        add(f"api/{name}.md", content=f"::: {home}\n{settings(name)}")
        rows.append(f"| [`rf.{name}`]({name}.md) | `{home}` |")
    add("api/index.md", content="# API\n\n| name | where its code is |\n|---|---|\n" + "\n".join(rows) + "\n")
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    source = f"docs/{here}"
    if page.file.generated_by:
        if not page.file.abs_src_path:
            return markdown
        source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()

    def moved(link: re.Match[str]) -> str:
        path = linked(source, link[2])
        if path is None:  # for mkdocs to complain of
            return link[0]
        target, name = place(path), link[3]
        if target.startswith("code/") and name:
            name = f"__codelineno-0-{line(path, name)}"
        return link[1] + posixpath.relpath(target, posixpath.dirname(here)) + (f"#{name}" if name else "")

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    if here.startswith("code/"):  # for mkdocs' check of links, which does not see a line's anchor
        page.present_anchor_ids |= set(re.findall(r'id="(__codelineno-[\d-]+)"', html))
    if here.startswith("notebooks/"):
        html = with_links(html, page.file, files)
    if here.startswith("api/"):
        html = with_names(html)
    return with_formulas(html)


def with_links(html: str, page: File, files: Files) -> str:
    """A notebook's links to other sources of the site, which mkdocs leaves as they are, made links to their pages."""

    def moved(link: re.Match[str]) -> str:
        file = files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(page.src_uri), link[1])))
        return link[0] if file is None else f'href="{file.url_relative_to(page)}"'

    return re.sub(r'href="([^":#]+)"', moved, html)


def with_names(html: str) -> str:
    """Docstrings' ``:class:`` and the like made links where they name something public."""

    def role(found: re.Match[str]) -> str:
        name = found[1].rpartition(".")[2]
        code = f"<code>{found[1]}</code>"
        return f'<a href="{name}.html">{code}</a>' if name in rodflow.__all__ else code

    return re.sub(r":(?:class|meth|func):<code>~?(.*?)</code>", role, html)


def with_formulas(html: str) -> str:
    """LaTeX made MathML, which browsers show by themselves."""

    def formula(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        latex = unescape(found[2]).replace("{aligned}", "{align*}")  # which it knows, and forges do not
        return latex2mathml.converter.convert(latex, display=display)

    return re.sub(r'<(span|div) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', formula, html, flags=re.DOTALL)
