"""Pages of the documentation site that are written from the code, and links that lead out of it.

MkDocs calls the functions that begin with `on_`.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import llmbench
from llmbench.cli.main import cli
from llmbench.metrics.facts import FACTS
from llmbench.plan.registry import build_card_schema
from llmbench.plan.suite import schema

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "reports" / "example"
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./((?:examples|llmbench|reports|tests)/[^)#]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference and the example board."""
    pages = {
        "reference/cli.md": write_cli(),
        "reference/api.md": write_api(),
        "reference/suite-keys.md": write_schema(
            "The keys of a suite", "A suite is a YAML file with these keys.", schema()
        ),
        "reference/card-keys.md": write_schema(
            "The keys of a card",
            "A card is a YAML file that describes one model.",
            build_card_schema(),
        ),
        "reference/metric-table.md": write_metrics(),
        "decisions/index.md": write_decisions(),
    }
    for address, text in pages.items():
        files.append(File.generated(config, address, content=text))
    for name in ("leaderboard.html", "leaderboard.csv", "run.json"):
        content = (EXAMPLE / name).read_bytes()
        files.append(File.generated(config, f"example/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name files of the repository that are no pages, rather than link to them."""
    markdown = markdown.replace("](../reports/example/", "](example/")
    return OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def write_cli() -> str:
    """Every command with its help."""
    parts = ["# Command line", "", cli.help or "", ""]
    for name, command, context in walk(cli, click.Context(cli, info_name="llmbench")):
        shown = command.get_help(context)
        parts += [f"## {name}", "", f"```text\n{shown}\n```", ""]
    return "\n".join(parts)


def walk(
    group: click.Group, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield the words of each command of a group, the command, and its context."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(
            command, info_name=name, parent=context, max_content_width=88, terminal_width=88
        )
        yield inner.command_path, command, inner
        if isinstance(command, click.Group):
            yield from walk(command, inner)


def write_api() -> str:
    """Every public name of the package, by its docstring."""
    parts = ["# Python", "", "These names, and `llmbench.testing`, are the public API.", ""]
    for name in sorted(llmbench.__all__):
        if name.startswith("_"):
            continue
        thing = getattr(llmbench, name)
        parts += [f"## {name}", "", f"::: {thing.__module__}.{thing.__qualname__}", ""]
    parts += ["## llmbench.testing", "", "::: llmbench.testing", ""]
    return "\n".join(parts)


def write_schema(title: str, about: str, found: Mapping[str, Any]) -> str:
    """The keys of a schema, and of each object in it, as tables."""
    parts = [f"# {title}", "", about, ""]
    parts += write_object(found)
    for name, inner in sorted(found.get("$defs", {}).items()):
        if "properties" in inner:
            parts += [f"## {name}", "", inner.get("description", ""), "", *write_object(inner)]
    return "\n".join(parts)


def write_object(found: Mapping[str, Any]) -> list[str]:
    """The table of one object's keys."""
    required = set(found.get("required", ()))
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, facts in found.get("properties", {}).items():
        default = "required" if name in required else show(facts.get("default", "none"))
        about = " ".join(facts.get("description", "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {name_type(facts)} | {default} | {html.escape(about, False)} |")
    return [*rows, ""]


def name_type(facts: Mapping[str, Any]) -> str:
    """What a JSON schema says of a value, in a few words."""
    if "$ref" in facts:
        name = facts["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})" if not name.startswith("_") else name
    if "enum" in facts or "const" in facts:
        return ", ".join(show(value) for value in facts.get("enum", [facts.get("const")]))
    for several in ("anyOf", "oneOf", "allOf"):
        if several in facts:
            names = [name_type(each) for each in facts[several] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(names)) or "none"
    if facts.get("type") == "array":
        return f"list of {name_type(facts.get('items', {}))}"
    return str(facts.get("type", "any"))


def show(value: object) -> str:
    """A value of YAML as code."""
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|")


def write_metrics() -> str:
    """The table of facts about metrics."""
    rows = ["| metric | unit | better | what it is |", "|---|---|---|---|"]
    for name, metric in FACTS.items():
        about = " ".join(metric.help.split()).replace("|", "\\|")
        rows.append(
            f"| `{name}` | {metric.unit or '-'} | {metric.better or 'neither'} |"
            f" {html.escape(about, False)} |"
        )
    return "\n".join(["# Table of metrics", "", *rows, ""])


def write_decisions() -> str:
    """A list of the decisions, by their titles."""
    parts = ["# Decisions", "", "Why the house is as it is, one page for each change of it.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")
        parts.append(f"- [{title}]({path.name})")
    return "\n".join([*parts, ""])
