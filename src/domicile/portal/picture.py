"""The data map as one self-contained page: datasets, fields by class, edges with rules, the way to the market.

No rule is decided here. Colours are of Okabe and Ito's colour-blind safe set, and every colour has a shape or a word
beside it. Nothing is fetched; without JavaScript only the zoom and the highlighting are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from domicile.catalogue import Catalogue, Column, RelationKind, Table
from domicile.config import Config, dataset_id
from domicile.config.conditions import split_when
from domicile.config.people import EvidenceRule, SubjectRule
from domicile.config.rules import DatasetRule, FieldClass, Hop, Shared
from domicile.map.table import MapRow, class_of, table
from domicile.portal.layout import BOX_WIDTH, Box, Placement, place

HEAD_HEIGHT = 40
ROW_HEIGHT = 16
FIELDS_SHOWN_MAX = 12
PUBLIC_FIELDS_SHOWN_MAX = 6
NAME_CHARACTERS_MAX = 25

Point = tuple[int, int]
Curve = tuple[Point, Point, Point, Point]

_MARKS = {
    FieldClass.PRIVATE: ("■", "private", "private"),
    FieldClass.PUBLIC: ("○", "public", "public"),
    FieldClass.EXCEPTED: ("▲", "excepted", "excepted"),
    None: ("?", "open", "no class yet"),
}
_ROWS = {
    "move": "rows go home, and leave",
    "split": "private fields go home, a skeleton stays",
    "public": "replicated to every home",
    "derived": "computed: made anew on both sides",
    "none": "holds nothing of subjects",
    "?": "not in the file yet: the plan refuses",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One edge as it is drawn."""

    child: str
    columns: tuple[str, ...]
    parent: str
    enforced: bool
    role: str
    rule: str


def render(config: Config, catalogue: Catalogue) -> str:
    """Draw the map of a file and a catalogue as one HTML page."""
    rows = {row.dataset: row for row in table(config, catalogue)}
    views = [
        Table(name=view.name, kind=RelationKind.TABLE, columns=()) for view in catalogue.views if view.materialised
    ]
    tables = {dataset_id(config.source, item.name): item for item in (*catalogue.tables, *views)}
    lines = tuple(_lines(config, catalogue, tables))
    heights = {name: _height(_shown(config.datasets.get(name), item), item) for name, item in tables.items()}
    placement = place(heights, ((line.child, line.parent) for line in lines))
    parts = {
        "title": escape(f"{config.programme.name}: data map of {config.source}"),
        "figures": _figures(rows.values()),
        "subject": _subject(config, tables),
        "legend": _legend(),
        "svg": _svg(config, tables, rows, lines, placement),
        "cards": "".join(_card(config, name, tables[name], rows[name], lines) for name in sorted(tables)),
    }
    page = _PAGE
    for key, text in parts.items():
        page = page.replace("{{" + key + "}}", text)
    return page


# ------------------------------------------------------------------------------------------------ edges


def _lines(config: Config, catalogue: Catalogue, tables: dict[str, Table]) -> Iterator[Line]:
    market = set(_market_edges(config, catalogue))
    owning = set(_owning_edges(config))
    for key in catalogue.foreign_keys:
        child, parent = dataset_id(config.source, key.child), dataset_id(config.source, key.parent)
        if child not in tables or parent not in tables:
            continue
        step = (child, key.columns)
        yield Line(
            child=child, columns=key.columns, parent=parent, enforced=key.validated and not key.missing_on,
            role="market" if step in market else "owner" if step in owning else "other",
            rule=_rule(config.datasets.get(child), key.columns, parent),
        )  # fmt: skip
    declared = {(key.child, key.columns, dataset_id(config.source, key.parent)) for key in catalogue.foreign_keys}
    for name, rule in config.datasets.items():
        for text, edge in rule.edge_rules():
            columns = tuple(split_when(text)[0].split(","))
            if name in tables and edge.to in tables and (tables[name].name, columns, edge.to) not in declared:
                yield Line(
                    child=name, columns=columns, parent=str(edge.to), enforced=False,
                    role="owner" if (name, columns) in owning else "other", rule=_rule(rule, (text,), str(edge.to)),
                )  # fmt: skip
    for name, of in _computed(config, catalogue):
        if name in tables and of in tables:
            yield Line(child=name, columns=("computed",), parent=of, enforced=True, role="computed", rule="")


def _computed(config: Config, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """What materialised views and derived tables are computed from."""
    for view in catalogue.views:
        if view.materialised:
            yield from ((dataset_id(config.source, view.name), dataset_id(config.source, of)) for of in view.reads)
    for name, rule in config.datasets.items():
        yield from ((name, of) for of in rule.of or ())


def _rule(rule: DatasetRule | None, columns: tuple[str, ...], parent: str) -> str:
    edge = rule.edge_rule(",".join(columns), parent) if rule else None
    if edge is None or edge.apart.home == edge.apart.source == "refuse":
        return ""
    return f"home {edge.apart.home} · source {edge.apart.source}"


def _market_edges(config: Config, catalogue: Catalogue) -> Iterator[tuple[str, tuple[str, ...]]]:
    here = config.subject.dataset
    for hop in config.subject.market.pieces[0].path or ():
        yield hop.from_ or here, hop.via
        here = hop.from_ or hop.to or _parent(config, catalogue, here, hop.via) or here


def _parent(config: Config, catalogue: Catalogue, child: str, columns: tuple[str, ...]) -> str | None:
    for key in catalogue.foreign_keys:
        if dataset_id(config.source, key.child) == child and key.columns == columns:
            return dataset_id(config.source, key.parent)
    edge = config.datasets[child].edge_rule(",".join(columns)) if child in config.datasets else None
    return edge.to if edge else None


def _owning_edges(config: Config) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The first hop of every path that makes a row somebody's; where the first way decides, of that only."""
    for name, rule in config.datasets.items():
        deciding = rule.paths[:1] if rule.sharing is Shared.FIRST else rule.paths
        for way in deciding:
            first: Hop = way.path[0]
            yield (first.from_, first.via) if first.from_ else (name, first.via)


# ------------------------------------------------------------------------------------------------ drawing


def _shown(rule: DatasetRule | None, item: Table) -> list[Column]:
    """Private and open fields first where not all can be shown."""
    most = PUBLIC_FIELDS_SHOWN_MAX if rule and rule.rows == "public" else FIELDS_SHOWN_MAX
    if len(item.columns) <= most + 1:
        return list(item.columns)
    telling = sorted(item.columns, key=lambda column: class_of(rule, column.name) is FieldClass.PUBLIC)
    return sorted(telling[:most], key=lambda column: column.position)


def _height(shown: list[Column], item: Table) -> int:
    return HEAD_HEIGHT + ROW_HEIGHT * (len(shown) + (len(shown) < len(item.columns))) + 10


def _svg(
    config: Config, tables: dict[str, Table], rows: dict[str, MapRow], lines: tuple[Line, ...], placement: Placement
) -> str:
    ids = {name: f"d{number}" for number, name in enumerate(sorted(tables))}
    drawn = [
        _path(line, _start(config, tables[line.child], line, placement.boxes[line.child]), placement, ids)
        for line in sorted(lines, key=lambda line: _ORDER[line.role])
    ]
    boxes = [_box(config, tables[name], rows[name], placement.boxes[name], ids[name]) for name in sorted(tables)]
    return (
        f'<svg id="map" role="img" aria-label="Datasets and the edges between them" data-width="{placement.width}" '
        f'width="{placement.width}" height="{placement.height}" viewBox="0 0 {placement.width} {placement.height}">'
        f"{_ARROWS}{''.join(drawn)}{''.join(boxes)}</svg>"
    )


def _start(config: Config, item: Table, line: Line, box: Box) -> int:
    """An edge starts at the field that holds it, where that is shown; what is computed, at its name."""
    if line.role == "computed":
        return box.y + HEAD_HEIGHT // 2
    shown = [column.name for column in _shown(config.datasets.get(line.child), item)]
    number = shown.index(line.columns[0]) if line.columns[0] in shown else len(shown)
    return box.y + HEAD_HEIGHT + ROW_HEIGHT * number + 12


_ORDER = {"computed": 0, "other": 1, "owner": 2, "market": 3}
_ARROWS = "<defs>" + "".join(
    f'<marker id="a-{role}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
    'markerUnits="userSpaceOnUse" orient="auto">'
    f'<path d="M0 0 8 4 0 8z" class="arrow {role}"/></marker>'
    for role in _ORDER
) + "</defs>"  # fmt: skip


def _path(line: Line, start_y: int, placement: Placement, ids: dict[str, str]) -> str:
    child, parent = placement.boxes[line.child], placement.boxes[line.parent]
    lanes = placement.lanes.get((line.child, line.parent), ())
    points = [(child.x, start_y), *((x, lane.y) for lane in lanes for x in (lane.x + lane.width, lane.x))]
    points.append((parent.x + parent.width, parent.y + 20))
    if line.child == line.parent:
        curves = [_loop(child, start_y)]
    elif parent.column < child.column:
        curves = [_ahead(a, b) for a, b in zip(points[::2], points[1::2], strict=True)]
    else:
        curves = [_back((child.x + child.width, start_y), points[-1])]
    classes = f"edge {line.role}" + ("" if line.enforced else " loose")
    about = f"{_short(line.child)}.{','.join(line.columns)} → {_short(line.parent)}"
    about = f"{_short(line.child)} is computed from {_short(line.parent)}" if line.role == "computed" else about
    about += "" if line.enforced else " (not enforced by the database)"
    about += f"; apart: {line.rule}" if line.rule else ""
    return (
        f'<g class="{classes}" data-a="{ids[line.child]}" data-b="{ids[line.parent]}"><title>{escape(about)}</title>'
        f'<path d="{_drawn(curves)}" marker-end="url(#a-{line.role})"/>{_disc(line.rule, curves[0])}</g>'
    )


def _disc(rule: str, curve: Curve) -> str:
    if not rule:
        return ""
    x, y = _between(curve)
    return f'<g class="rule"><circle cx="{x}" cy="{y}" r="8"/><text x="{x}" y="{y + 4}">{_letters(rule)}</text></g>'


def _letters(rule: str) -> str:
    """`home skeleton · source whole` → `sw`: home first, then source."""
    return "".join(word[0] for part in rule.split(" · ") for word in part.split(" ")[1:])


def _ahead(start: Point, end: Point) -> Curve:
    """From right to left through one gap, leaving and arriving level."""
    bend = max(24, (start[0] - end[0]) // 2)
    return start, (start[0] - bend, start[1]), (end[0] + bend, end[1]), end


def _back(start: Point, end: Point) -> Curve:
    """Beside the boxes, where both stand in one column or the parent further right."""
    bend = 36 + abs(start[0] - end[0]) // 4
    return start, (start[0] + bend, start[1]), (end[0] + bend, end[1]), end


def _loop(box: Box, y: int) -> Curve:
    x = box.x + box.width
    return (x, y), (x + 44, y), (x + 44, box.y + 20), (x, box.y + 20)


def _drawn(curves: list[Curve]) -> str:
    parts = [f"M{curves[0][0][0]} {curves[0][0][1]}"]
    for start, one, two, end in curves:
        parts.append(f"L{start[0]} {start[1]}C{one[0]} {one[1]} {two[0]} {two[1]} {end[0]} {end[1]}")
    return "".join(parts)


def _between(curve: Curve) -> Point:
    """A point on the curve near the child, where crowded parents do not hide it."""
    t = 0.3
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x = sum(weight * point[0] for weight, point in zip(weights, curve, strict=True))
    y = sum(weight * point[1] for weight, point in zip(weights, curve, strict=True))
    return round(x), round(y)


def _box(config: Config, item: Table, row: MapRow, box: Box, identity: str) -> str:
    name = row.dataset
    rule = config.datasets.get(name)
    rows = str(row.rows) if row.rows else "?"
    subject = " subject" if any(name == kind.dataset for kind in config.kinds) else ""
    shown = _shown(rule, item)
    fields = [_field(rule, column, box, number) for number, column in enumerate(shown)]
    if len(shown) < len(item.columns):
        y = box.y + HEAD_HEIGHT + ROW_HEIGHT * len(shown) + 15
        fields.append(f'<text class="more" x="{box.x + 26}" y="{y}">and {len(item.columns) - len(shown)} more</text>')
    badge = "subject · " + rows if subject else rows
    head = f"{box.x + 10}"
    return (
        f'<g class="box {_css(rows)}{subject}" id="{identity}" tabindex="0"><title>{escape(_about(name, row))}</title>'
        f'<rect class="body" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6"/>'
        f'<path class="head" d="M{box.x} {box.y + HEAD_HEIGHT}v-{HEAD_HEIGHT - 6}q0-6 6-6h{BOX_WIDTH - 12}q6 0 6 6'
        f'v{HEAD_HEIGHT - 6}z"/><text class="name" x="{head}" y="{box.y + 17}">{escape(_cut(_short(name)))}</text>'
        f'<text class="rows" x="{head}" y="{box.y + 32}">{escape(badge)}</text>'
        f'<text class="count" x="{box.x + box.width - 10}" y="{box.y + 32}">{_size(item, row)}</text>'
        f"{''.join(fields)}</g>"
    )


def _size(item: Table, row: MapRow) -> str:
    """Say how many rows a table has; of a materialised view the catalogue doesn't say it."""
    return f"≈ {_number(row.rows_estimate)} rows" if item.columns else "materialised view"


def _field(rule: DatasetRule | None, column: Column, box: Box, number: int) -> str:
    sign, css, _ = _MARKS[class_of(rule, column.name)]
    y = box.y + HEAD_HEIGHT + ROW_HEIGHT * number + 16
    return (
        f'<text class="mark {css}" x="{box.x + 14}" y="{y}">{sign}</text>'
        f'<text class="field" x="{box.x + 26}" y="{y}">{escape(_cut(column.name))}</text>'
    )


def _about(name: str, row: MapRow) -> str:
    return f"{name}: {row.rows or 'not in the file'}" + (f"; path: {row.path}" if row.path else "")


def _short(name: str) -> str:
    """Drop the store, and the schema `public`, which every name would repeat."""
    return name.split(".", 1)[1].removeprefix("public.")


def _cut(text: str) -> str:
    return text if len(text) <= NAME_CHARACTERS_MAX else text[: NAME_CHARACTERS_MAX - 1] + "…"


def _css(rows: str) -> str:
    return "unknown" if rows == "?" else rows


def _number(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


# ------------------------------------------------------------------------------------------------ words around it


def _figures(rows: Iterable[MapRow]) -> str:
    listed = list(rows)
    counted = {rule: sum((str(row.rows) if row.rows else "?") == rule for row in listed) for rule in _ROWS}
    fields = sum(row.fields.private for row in listed)
    text = [f"{len(listed)} datasets"] + [f"{count} {rule}" for rule, count in counted.items() if count and rule != "?"]
    text += [f"{counted['?']} not in the file"] if counted["?"] else []
    text += [f"{fields} private fields"]
    missing = sum(row.fields.unclassed for row in listed if row.rows)
    text += [f"{missing} fields without a class"] if missing else []
    return escape(" · ".join(text))


def _subject(config: Config, tables: dict[str, Table]) -> str:
    ways = [_market_way(kind, piece, tables) for kind in config.kinds for piece in kind.market.pieces]
    homes = ", ".join(f"{name} → {home}" for name, home in config.policy.homes.items())
    return "".join(f"<p>Market of a subject: {way}</p>" for way in ways) + f"<p>Homes: <b>{escape(homes)}</b></p>"


def _market_way(kind: SubjectRule, piece: EvidenceRule, tables: dict[str, Table]) -> str:
    steps = [_short(kind.dataset) if kind.dataset in tables else kind.dataset]
    steps += [f"from {hop.from_}" if hop.from_ else ",".join(hop.via) for hop in piece.path or ()] + [piece.field]
    return '<span class="to">→</span>'.join(f"<b>{escape(step)}</b>" for step in steps)


def _legend() -> str:
    classes = "".join(
        f'<li><span class="mark {css}">{sign}</span> {words}</li>' for sign, css, words in _MARKS.values()
    )
    rows = "".join(
        f'<li><span class="chip {_css(rule)}">{escape(rule)}</span> {escape(words)}</li>'
        for rule, words in _ROWS.items()
    )
    edges = (
        '<li><i class="line owner"></i> makes a row somebody’s</li>'
        '<li><i class="line market"></i> way to the market</li>'
        '<li><i class="line computed"></i> is computed from</li>'
        '<li><i class="line other"></i> refers to</li><li><i class="line loose"></i> not enforced by the database</li>'
        '<li><span class="disc">sw</span> ends may come apart: at home, at the source (s skeleton, w whole)</li>'
    )
    return f"<ul>{rows}</ul><ul>{classes}</ul><ul>{edges}</ul>"


def _verb(line: Line) -> str:
    return "computed from" if line.role == "computed" else f"{','.join(line.columns)} →"


def _card(config: Config, name: str, item: Table, row: MapRow, lines: tuple[Line, ...]) -> str:
    rule = config.datasets.get(name)
    rows = str(row.rows) if row.rows else "?"
    fields = "".join(
        f'<li><span class="mark {css}" title="{words}">{sign}</span> {escape(column.name)} '
        f"<small>{escape(column.type)}</small></li>"
        for column in item.columns
        for sign, css, words in [_MARKS[class_of(rule, column.name)]]
    )
    out = "".join(
        f"<li>{escape(_verb(line))} {escape(_short(line.parent))}"
        + ("" if line.enforced else " <em>not enforced</em>")
        + (f" <em>apart: {escape(line.rule)}</em>" if line.rule else "")
        + "</li>"
        for line in lines
        if line.child == name
    )
    path = f"<p>Path: {escape(row.path)}</p>" if row.path else ""
    reason = f"<p>{escape(rule.reason)}</p>" if rule and rule.reason else ""
    return (
        f'<details><summary><span class="chip {_css(rows)}">{escape(rows)}</span> <b>{escape(_short(name))}</b>'
        f" <small>{_size(item, row)}{f' · {row.fields.private} private' if item.columns else ''}</small></summary>"
        f"{path}{reason}<ul>{fields}</ul>{f'<ul class=out>{out}</ul>' if out else ''}</details>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{title}}</title>
<style>
:root{--private:#d55e00;--public:#0072b2;--excepted:#7a5c00;--market:#0072b2;--ink:#1c2330;--soft:#5d6778;--line:#d9dee6}
*{box-sizing:border-box}
body{margin:0;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:var(--ink);
background:#f5f6f8}
header,section{padding:16px 24px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:0 0 8px}
p{margin:2px 0}.figures{color:var(--soft)}.to{color:var(--soft);padding:0 6px}
.legend{display:flex;flex-wrap:wrap;gap:4px 36px;margin-top:10px;font-size:13px}
ul{list-style:none;margin:0;padding:0}.legend li{margin:3px 0}
.chip{display:inline-block;min-width:54px;text-align:center;border-radius:4px;padding:0 7px;font-size:12px;color:#fff}
.chip.move{background:#b34700}.chip.split{background:#8a3d6b}.chip.public{background:#00639b}.chip.none{background:#5d6778}
.chip.derived{background:#00735c}
.chip.unknown{background:#f0e442;color:#000}
.mark{font-family:"DejaVu Sans","Segoe UI Symbol",sans-serif;display:inline-block;width:16px;text-align:center}
.mark.private{color:var(--private);fill:var(--private)}.mark.public{color:var(--public);fill:var(--public)}
.mark.excepted{color:var(--excepted);fill:var(--excepted)}.mark.open{color:#000;fill:#000;font-weight:700}
.line{display:inline-block;width:34px;border-top:2px solid #9aa3b2;vertical-align:middle;margin-right:6px}
.line.owner{border-color:var(--private)}.line.market{border-top-width:4px;border-color:var(--market)}
.line.loose{border-top-style:dashed}.line.computed{border-color:#4fae94}
.disc{display:inline-block;width:22px;height:22px;line-height:20px;border:1px solid var(--ink);border-radius:50%;
text-align:center;font-size:11px;background:#fff;margin-right:4px}
.bar{display:flex;gap:8px;align-items:center;margin-bottom:8px;color:var(--soft);font-size:13px}
button{font:inherit;border:1px solid var(--line);background:#fff;border-radius:4px;padding:2px 12px;cursor:pointer}
.sheet{overflow:auto;max-height:calc(100vh - 60px);background:#fff;border:1px solid var(--line);border-radius:8px}
svg{display:block}svg text{font-size:12px;fill:var(--ink)}
.box{cursor:pointer}.box:focus{outline:none}
.box .body{fill:#fff;stroke:#aab2bf}.box .head{fill:#e8ebf0}
.box.move .head{fill:#fbe3d2}.box.move .body{stroke:#d55e00}
.box.split .head{fill:#f3e0ec}.box.split .body{stroke:#a8527f}
.box.public .head{fill:#dceaf5}.box.public .body{stroke:#7fb2d6}
.box.derived .head{fill:#d8efe8}.box.derived .body{stroke:#4fae94}
.box.unknown .head{fill:#f7f2a0}.box.unknown .body{stroke:#a39a00;stroke-dasharray:5 3}
.box.subject .body{stroke-width:4}.box.subject .name{font-weight:800}
.box:focus .body,.box.on .body{stroke:#000;stroke-width:3}
.name{font-weight:650;font-size:13px!important}.rows,.count,.more{fill:var(--soft)!important;font-size:11px!important}
.count{text-anchor:end}.mark{text-anchor:middle}
.edge path{fill:none;stroke:#9aa3b2;stroke-width:1.4}.edge.owner path{stroke:var(--private);stroke-width:1.9}
.edge.computed path{stroke:#4fae94}.arrow.computed{fill:#4fae94}
.edge.market path{stroke:var(--market);stroke-width:4}.edge.loose path{stroke-dasharray:6 4}
.arrow{fill:#9aa3b2;stroke:none!important}.arrow.owner{fill:var(--private)}.arrow.market{fill:var(--market)}
.rule circle{fill:#fff;stroke:var(--ink)}.rule text{font-size:9px;text-anchor:middle}
svg.picked .edge:not(.on),svg.picked .box:not(.on):not(.near){opacity:.15}
details{background:#fff;border:1px solid var(--line);border-radius:6px;margin:6px 0;padding:6px 12px}
summary{cursor:pointer}summary small,li small{color:var(--soft)}.cards ul{columns:3 220px;margin:6px 0}
.cards li{break-inside:avoid}.cards em{color:var(--soft)}.cards ul.out{columns:1}
@media(max-width:700px){header,section{padding:12px}h1{font-size:19px}.legend{gap:8px}.sheet{max-height:70vh}
.cards ul{columns:1}}
@media print{.sheet{max-height:none;overflow:visible;border:0}.bar,.cards{display:none}svg{width:100%;height:auto}}
</style></head><body>
<header><h1>{{title}}</h1><p class="figures">{{figures}}</p>{{subject}}
<details id="signs" open><summary>What the signs mean</summary><div class="legend">{{legend}}</div></details></header>
<section><div class="bar"><button id="out" title="smaller">−</button><button id="in" title="larger">+</button>
<button id="fit">fit</button><span>Click a dataset to see what it touches.</span></div>
<div class="sheet" id="sheet">{{svg}}</div></section>
<section class="cards"><h2>Datasets</h2>{{cards}}</section>
<script>
if(innerWidth<700)document.getElementById('signs').open=false;
(function(){var s=document.getElementById('map'),h=document.getElementById('sheet'),w=+s.dataset.width,z=1,
r=s.viewBox.baseVal.height/w;
function size(v){z=Math.max(.15,Math.min(2.5,v));s.setAttribute('width',w*z);s.setAttribute('height',w*z*r)}
function fit(){size(Math.min(1,h.clientWidth/w))}
function show(){var b=s.querySelector('.box.subject .body');if(!b)return;
h.scrollLeft=z*(+b.getAttribute('x')+98)-h.clientWidth/2;h.scrollTop=z*(+b.getAttribute('y')+80)-h.clientHeight/2}
document.getElementById('in').onclick=function(){size(z*1.25)};
document.getElementById('out').onclick=function(){size(z/1.25)};document.getElementById('fit').onclick=fit;
function pick(b){var on=b&&!b.classList.contains('on');
s.querySelectorAll('.on,.near').forEach(function(e){e.classList.remove('on','near')});
s.classList.toggle('picked',!!on);if(!on)return;b.classList.add('on');
s.querySelectorAll('.edge').forEach(function(e){var d=e.dataset;if(d.a==b.id||d.b==b.id){e.classList.add('on');
[d.a,d.b].forEach(function(i){var x=document.getElementById(i);if(x!=b)x.classList.add('near')})}})}
s.onclick=function(e){pick(e.target.closest('.box'))};
s.onkeydown=function(e){if(e.key=='Enter')pick(e.target.closest('.box'))};
size(Math.max(.62,Math.min(1,h.clientWidth/w)));show()})();
</script></body></html>
"""
