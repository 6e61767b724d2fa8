"""The section on serving, drawn from scores by hand."""

from __future__ import annotations

import csv
import io

from rich.console import Console
from support import hand_record

from llmbench.leaderboard.board import build
from llmbench.leaderboard.merge import merge
from llmbench.leaderboard.renderers import csv as csv_renderer
from llmbench.leaderboard.renderers import html, markdown, serving, table

NAME = "<b>paced|x</b>"
LEVELS = (("closed", 1, 10.0, 0.070), ("closed", 8, 80.0, 0.075), ("poisson", 50.0, 50.0, 0.200))


def score(metric, value, arrivals, amount, **more):
    unit = "seconds" if more.get("percentiles") else "requests/s"
    load = {"arrivals": arrivals, "amount": amount, **more.pop("load", {})}
    return hand_record.score(
        NAME,
        metric,
        value,
        task="load",
        unit=unit,
        signature=f"protocol=serving/1;load={arrivals}-{amount:g}",
        variant=f":{arrivals}-{amount:g}",
        load=load,
        **more,
    )


def list_scores():
    rows = []
    for arrivals, amount, rate, latency in LEVELS:
        facts = {"requests": 200, "answered": 198, "errors": {"status 503: *busy*": 2}}
        facts |= {"limits": {"ttft": 0.5}, "attained": 0.9, "late": 1, "worst": 0.011}
        facts |= {"client": {"cpu": 0.25, "handling": 0.02, "lag_p99": 0.003}}
        facts |= {"is_overloaded": arrivals == "poisson", "several": 3 if amount == 8 else 0}
        rate_row = score("serving_requests_per_second", rate, arrivals, amount, load=facts)
        if amount == 1:
            rate_row["absent"] = {"constant-900": "the client could not keep up"}
        percentiles = {"p50": latency, "p90": 1.5 * latency}
        ends = {"p90": (1.4 * latency, 1.7 * latency)}
        rows += [
            rate_row,
            score(
                "serving_latency",
                latency,
                arrivals,
                amount,
                percentiles=percentiles,
                load={"ends": ends},
            ),
        ]
    ram = hand_record.score(NAME, "serving_peak_ram", 5 << 20, task="load", unit="bytes")
    return [*rows, ram]


def board():
    models = [hand_record.model(NAME, None)]
    changes = {"models": models, "scores": list_scores(), "failures": [], "notes": {}}
    return build(hand_record.record(**changes))


def test_each_level_is_a_line_with_its_percentiles():
    (load,) = board().loads
    assert [row.title for row in load.rows] == ["1 stream", "8 streams", "Poisson, 50/s"]
    first = {key: text for key, (text, _) in load.rows[0].values.items()}
    assert first == {
        "serving_requests_per_second": "10.0",
        "attained": "90.0 %",
        "serving_latency p50": "70.00",
        "serving_latency p90": "105.00 [98.00, 119.00]",
        "errors": "2 of 200",
        "ram": "5",
    }
    assert "serving_latency p99" not in load.columns
    assert load.signature == "protocol=serving/1"


def test_what_is_to_be_known_of_a_level_is_noted():
    (load,) = board().loads
    notes = "\n".join(load.notes)
    assert "Goodput counts the answers with ttft at most 500 ms." in notes
    assert f"Not measured: {NAME}, constant-900: the client could not keep up." in notes
    assert f"{NAME}, Poisson, 50/s: requests came faster than answers" in notes
    assert "8 streams: messages of 3 of 198 answers are not single tokens" in notes
    assert "2 of 200 requests failed: status 503: *busy*." in notes
    assert "25.0 % of a core" in notes
    assert "3 of 600 requests were sent late, the worst 11.0 ms." in notes


def test_a_board_of_loads_alone_begins_with_the_highest_throughput():
    assert board().summary == [f"load: most requests/s by {NAME} at 8 streams, 80.0."]


def test_markdown_and_the_page_escape_what_models_and_servers_say():
    made = board()
    written = markdown.render(made)
    assert "| \\<b\\>paced\\|x\\</b\\> | 8 streams | 80.0 |" in written
    assert "status 503: \\*busy\\*" in written
    assert f"]({serving.PICTURE})" in written
    page = html.render(made)
    assert "<b>paced" not in page
    assert "&lt;b&gt;paced|x&lt;/b&gt;" in page
    assert 'href="#serving-1"' in page


def test_csv_has_a_line_for_each_percentile_of_each_level():
    lines = list(csv.DictReader(io.StringIO(csv_renderer.render(board()))))
    found = {line["metric"]: line for line in lines}
    assert len(lines) == 9
    assert found["serving_latency:poisson-50:p90"]["value"] == str(1.5 * 0.2)
    assert float(found["serving_latency:poisson-50:p90"]["high"]) == 1.7 * 0.2
    assert found["serving_requests_per_second:closed-8"]["value"] == "80.0"


def test_each_run_of_a_merged_board_has_its_own_table(tmp_path):
    for name in ("first", "second"):
        models = [hand_record.model(NAME, None)]
        made = {"models": models, "scores": list_scores(), "failures": [], "notes": {}}
        (tmp_path / name).mkdir()
        hand_record.record(**made).write(tmp_path / name)
    merged, _ = merge.merge([tmp_path / "first", tmp_path / "second"])
    assert [load.task for load in merged.loads] == ["load, first", "load, second"]
    assert [len(load.rows) for load in merged.loads] == [3, 3]
    assert merged.summary[0] == f"load, first: most requests/s by {NAME} at 8 streams, 80.0."


def test_the_terminal_shows_the_levels():
    out = io.StringIO()
    table.print_to(Console(file=out, width=200, no_color=True), board())
    assert "Poisson, 50/s" in out.getvalue()
    assert "200.00" in out.getvalue()


def test_the_picture_has_a_point_for_each_level_and_needs_two():
    made = board()
    specification = serving.specify_chart(made.loads)
    rows = specification["data"]["values"]
    assert {(row["load"], row["rate"], row["latency"]) for row in rows} == {
        ("1 stream", 10.0, 70.0),
        ("8 streams", 80.0, 75.0),
        ("Poisson, 50/s", 50.0, 200.0),
    }
    drawn = serving.draw_loads(made.loads)
    assert drawn.startswith("<svg")
    assert "<b>" not in drawn
    assert serving.draw_loads([]) == ""
