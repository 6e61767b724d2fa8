"""HTML: one self-contained page. Text of models and files is escaped; the page loads nothing, and
no script runs in it but its own.
"""

from __future__ import annotations

import math

from jinja2 import Environment, PackageLoader, StrictUndefined

from llmbench.leaderboard.board import Board
from llmbench.leaderboard.columns import NAME_CHARACTERS, Column, stage_title
from llmbench.leaderboard.overview.average import find_average
from llmbench.leaderboard.overview.overall import find_overall
from llmbench.leaderboard.overview.pairs import find_pairs
from llmbench.leaderboard.renderers.page import steps
from llmbench.leaderboard.renderers.page.curves import NARROW, WIDE, draw_curves
from llmbench.leaderboard.renderers.page.embed import (
    digest_script,
    pack_items,
    read_script,
    read_styles,
    write_json,
)
from llmbench.leaderboard.renderers.page.marks import (
    define_marks,
    draw_mark,
    stage_class,
    stage_word,
)
from llmbench.leaderboard.renderers.page.passages import SCALE, draw_passage
from llmbench.leaderboard.renderers.page.pictures import draw_pictures, draw_scaling
from llmbench.leaderboard.renderers.page.ranking import (
    choose_columns,
    cut_interval,
    draw_interval,
    find_scale,
    make_anchors,
)
from llmbench.leaderboard.renderers.page.serving import embed_loads
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import show_html
from llmbench.leaderboard.tables import Table, order_by_rank
from llmbench.leaderboard.votes.parts import VoteTable
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import VOTES

MANY_MEMBERS = 20  # parts of a group, of which more are left out on paper

_environment = Environment(
    loader=PackageLoader("llmbench.leaderboard.renderers", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals.update(
    show=show_html,
    stage_title=stage_title,
    stage_class=stage_class,
    draw_mark=draw_mark,
    draw_interval=draw_interval,
    find_scale=find_scale,
    choose_columns=choose_columns,
    cut_interval=cut_interval,
    make_anchors=make_anchors,
    MANY_MEMBERS=MANY_MEMBERS,
    order_by_rank=order_by_rank,
)
MOST_SENTENCES = 2  # that are in sight at once, behind the verdict
MOST_SAYINGS = 4  # prompts of the page without its script, which has a browser of all


def render(board: Board) -> str:
    """Return the page."""
    pictures, scaling = draw_pictures(board.points), draw_scaling(board.sizes)
    overall = find_overall(board.tables)
    pairs, unpaired = find_pairs(board.tables)
    stages = sorted(
        {model.stage for model in board.models},
        key=lambda stage: math.inf if stage is None else stage,
    )
    script = read_script()
    parts = {
        "ranking": bool(board.tables or pictures),
        "tasks": overall is not None,
        "pairs": bool(pairs),
        "scaling": bool(scaling),
        "curves": bool(board.curves),
        "steps": bool(board.training_runs),
    }
    page: str = _environment.get_template("board.html.jinja").render(
        board=board,
        stages=stages,
        stage_key=stage_key,
        stage_of={_cut_name(model.name): model.stage for model in board.models},
        sections=_list_sections(board, parts),
        style=read_styles(),
        script=script,
        script_digest=digest_script(script),
        data=write_json(_gather_data(board)),
        marks=define_marks(),
        pictures=pictures,
        scaling=scaling,
        overall=overall,
        average=find_average(board.tables),
        pairs=pairs,
        unpaired=unpaired,
        curves=[draw_curves(board.curves, size) for size in (WIDE, NARROW)],
        steps=[
            (task, runs, steps.draw_steps(runs, steps.WIDE), steps.draw_steps(runs, steps.NARROW))
            for task, runs in steps.group_by_task(board.training_runs)
        ],
        passages=[draw_passage(passage) for passage in board.passages],
        scale=SCALE,
        columns=_list_columns(board),
        column_class=_column_class,
        is_brief=_is_brief,
        sort_key=sort_key,
        loads_drawn=embed_loads(board.loads),
        sayings=board.sayings[:MOST_SAYINGS],
        MOST_SENTENCES=MOST_SENTENCES,
    )
    return page


def _gather_data(board: Board) -> dict[str, object]:
    """Return what the script cannot read from the page itself."""
    return {
        "stages": {
            show_html(_cut_name(model.name)): stage_word(model.stage) for model in board.models
        },
        "items": pack_items(board.items),
    }


def _cut_name(name: str) -> str:
    return cut(name, NAME_CHARACTERS)


def _name_votes(table: VoteTable) -> str:
    if table.metric == VOTES:
        return f"votes: {table.task}"
    heading = table.parts[0].heading
    return heading[:1].lower() + heading[1:]


def _list_sections(board: Board, parts: dict[str, bool]) -> list[tuple[str, str]]:
    """Return the links of the page's navigation: anchor and title."""
    passages = any(passage.rows for passage in board.passages)
    tables = [(f"table-{number}", table.task) for number, table in enumerate(board.tables, 1)]
    loads = [
        (f"serving-{number}", f"serving: {table.task}")
        for number, table in enumerate(board.loads, 1)
    ]
    samples = bool(board.sayings or board.items)
    listed: list[tuple[str, str, object]] = [
        ("ranking", "ranking", parts["ranking"]),
        ("tasks", "all tasks", parts["tasks"]),
        *((id, title, True) for id, title in (*tables, *loads)),
        *((f"votes-{n}", _name_votes(one), True) for n, one in enumerate(board.votes, 1)),
        ("pairs", "pairs", parts["pairs"]),
        ("scaling", "scaling", parts["scaling"]),
        ("curves", "training", parts["curves"]),
        ("steps", "checkpoints", parts["steps"]),
        ("bits", "where the bits go", passages),
        ("samples", "samples", samples),
        ("failures", "failures", board.failures),
        ("open", "not reached", board.open_cells),
        ("certificates", "certificates", board.proofs),
        ("made", "provenance", board.provenance),
    ]
    return [(id, title) for id, title, there in listed if there]


def stage_key(stage: int | None) -> str:
    """Return a stage as the page's filter names it."""
    return "own" if stage is None else str(stage)


def _column_class(column: Column) -> str:
    return ("number" if column.is_numeric else "text") + (" model" if column.key == "model" else "")


def _is_brief(table: Table, column: Column) -> bool:
    return column.key == table.headline or column.is_brief


def _list_columns(board: Board) -> list[Column]:
    """Return the columns of all tables, each once, but for the parts of a group."""
    found = (column for table in board.tables for column in table.columns)
    return list(dict.fromkeys(column for column in found if not column.member))


def sort_key(value: float | None) -> str:
    """Return what the page's script sorts by: the number, or "" if there is none."""
    return "" if value is None else repr(float(value))


class HtmlRenderer(Renderer):
    """This format, for the registry."""

    ending = "html"

    def render(self, board: Board) -> str:
        """Return `render(board)`."""
        return render(board)
