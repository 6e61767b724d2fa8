"""Vega's picture of loads on servers, as part of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from llmbench.leaderboard.renderers.chart import Look
from llmbench.leaderboard.renderers.serving import draw_loads
from llmbench.leaderboard.serving.section import LoadTable

LOOK = Look(760, 400, "var(--ink)", "var(--soft)", "var(--line)", "transparent", "var(--stage-")


def embed_loads(loads: Sequence[LoadTable]) -> Markup | None:
    """Return the picture of throughput against latency, if there is one."""
    drawn = draw_loads(loads, LOOK)
    if not drawn:
        return None
    start = re.match(r'<svg[^>]*? viewBox="([\d. -]+)"[^>]*>', drawn)
    if start is None:
        raise ValueError("the picture does not begin as Vega's do")
    # Vega escapes names; its outer element is replaced
    return Markup(  # noqa: S704
        f'<svg class="vega" viewBox="{start[1]}" role="group"'
        f' aria-label="Median latency against throughput">{drawn[start.end() :]}'
    )
