"""Everybody can read the page: WCAG 2.2 A and AA as axe-core checks it, the keyboard, and colours
that deuteranopes tell apart.

axe-core is no part of this repository. LLMBENCH_AXE names its axe.min.js; else it is looked for in
node_modules (`npm install --no-save axe-core`).
"""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import pytest
from support import browser
from support.pages import write_page

from llmbench.leaderboard.renderers.page import embed

ROOT = Path(__file__).parents[3]
AXE = Path(os.environ.get("LLMBENCH_AXE") or ROOT / "node_modules/axe-core/axe.min.js")
needs_axe = pytest.mark.skipif(
    browser.CHROMIUM is None or not AXE.is_file(),
    reason="no Chromium on PATH, or no axe-core: npm install --no-save axe-core, or LLMBENCH_AXE",
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@needs_axe
@pytest.mark.parametrize("kind", ["small", "example", "wide", "interrupted", "merged"])
@pytest.mark.parametrize(
    "view",
    [{"width": 1280}, {"width": 1280, "dark": True}, {"width": 390, "touch": True}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_no_violation(tmp_path, kind, view):
    file = write_page(tmp_path, kind)
    with browser.opened(file, tmp_path / "profile", **view) as page:
        page.ask("Page.setBypassCSP", enabled=True)
        page.load(file)
        page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.value("document.getElementById('browser')?.scrollIntoView()")
        page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.value(AXE.read_text(encoding="utf-8"))
        found = page.value(
            f"axe.run({{ runOnly: {json.dumps(RULES)} }}).then(r => r.violations.map(v => [v.id,"
            " v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]))"
        )
    assert found == []


def read_colours():
    """The colours of the light and of the dark page."""
    style = str(embed.read_styles())
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    light = dict(re.findall(r"--([\w-]+): (#\w+)", blocks[0]))
    return {"light": light, "dark": {**light, **dict(re.findall(r"--([\w-]+): (#\w+)", blocks[1]))}}


def read_channels(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def measure_contrast(one, other):
    light, dark = sorted(
        (
            sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), read_channels(x), strict=True))
            for x in (one, other)
        ),
        reverse=True,
    )
    return (light + 0.05) / (dark + 0.05)


LEAST_DISTANCE = 20  # of two colours, in CIELAB; 2.3 is what an eye can just see
# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)


def see(colour, is_deuteranope):
    """L*, a*, b* of a colour under D65."""
    rgb = read_channels(colour)
    if is_deuteranope:
        rgb = [
            min(1.0, max(0.0, sum(w * c for w, c in zip(row, rgb, strict=True))))
            for row in DEUTERANOPIA
        ]
    r, g, b = rgb
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
    )
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("is_deuteranope", [False, True], ids=["usual sight", "deuteranopia"])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_colours_of_two_stages_are_told_apart(mode, is_deuteranope):
    colours = {n: c for n, c in read_colours()[mode].items() if n.startswith("stage-")}
    assert len(colours) == 8
    near = {
        (one, other): distance
        for (one, a), (other, b) in itertools.combinations(colours.items(), 2)
        if (
            distance := sum(
                (x - y) ** 2
                for x, y in zip(see(a, is_deuteranope), see(b, is_deuteranope), strict=True)
            )
            ** 0.5
        )
        < 10
    }
    assert near == {}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_marks_and_texts_have_the_contrast_that_wcag_asks_for(mode):
    colours = read_colours()[mode]
    marks = {n: c for n, c in colours.items() if n.startswith("stage-")}
    assert {n for n, c in marks.items() if measure_contrast(c, colours["card"]) < 3} == set()
    texts = itertools.product(("ink", "soft", "accent", "bad"), ("card", "paper", "band"))
    assert [pair for pair in texts if measure_contrast(*(colours[n] for n in pair)) < 4.5] == []


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on PATH")
def test_every_point_is_reached_by_keyboard_and_the_picture_takes_one_tab(tmp_path):
    with browser.opened(write_page(tmp_path, "wide"), tmp_path / "profile", width=1440) as page:
        stops = page.value(
            "Array.from(document.querySelectorAll('.by-speed .wide .spot')).filter(e =>"
            " e.getAttribute('tabindex') === '0').length"
        )
        assert stops == 1
        page.value("document.querySelector('.by-speed .wide .spot').focus()")
        names = set()
        for _ in range(40):
            names.add(page.value("document.activeElement.dataset.model"))
            assert page.value("document.querySelector('#tip b').textContent") in names
            page.press("ArrowRight", 39)
        assert len(names) == 40
        page.press("Escape", 27)
        assert page.value("document.getElementById('tip').hidden")
