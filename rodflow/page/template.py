"""The page's HTML and its styles; every value is escaped but the charts, which are SVG made here."""

STYLE = """
:root { color-scheme: light; --ink: #1d2125; --soft: #55606a; --line: #d9dee2; --link: #00558c; --tint: #f5f7f8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem 1rem 4rem; background: #fff; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .6rem; }
h4 { font-size: 1rem; margin: 0 0 .3rem; }
p { max-width: 48rem; margin: .4rem 0 .8rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 3px solid #56b4e9; outline-offset: 2px; }
code, pre { font: .86em/1.45 ui-monospace, "DejaVu Sans Mono", Consolas, monospace; }
pre { margin: .3rem 0; padding: .5rem; background: var(--tint); white-space: pre-wrap; }
nav a { margin-right: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .3rem .7rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; }
tbody th { font-weight: 400; }
.claims td, .claims th { min-width: 6rem; }
.claims .measured { min-width: 17rem; }
.verdict { white-space: nowrap; font-weight: 600; }
.verdict::before { display: inline-block; width: 1.3em; }
.holds::before { content: "\\25CF"; color: #0072b2; }
.holds-in-part::before { content: "\\25D0"; color: #0072b2; }
.does-not-hold::before { content: "\\25CB"; color: #d55e00; }
.no-comparison::before, .not-tested::before { content: "\\2013"; color: var(--soft); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; padding: 0; font-size: .9rem; }
.legend svg { vertical-align: middle; margin-right: .35rem; }
.edge { display: inline-block; width: 2.5rem; height: .8rem; margin-right: .35rem; vertical-align: middle;
  background: #f7f2dd; border: 1px solid #b9ad74; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
.cell { border: 1px solid var(--line); border-radius: 6px; padding: .8rem; min-width: 0; }
.cell table { font-size: .82rem; width: 100%; margin-top: .4rem; }
.cell td, .cell th { padding: .15rem .45rem .15rem 0; }
.cell td:last-child, .cell th:last-child { padding-right: 0; }
.cell > a > svg { display: block; width: 100%; height: auto; }
svg text { font: 10px system-ui, "DejaVu Sans", sans-serif; fill: #55606a; }
svg .rule { stroke: #e4e4e4; stroke-width: .6; }
svg .axis { stroke: #8a939b; fill: none; }
.missing { border-left: 4px solid #d55e00; padding-left: .7rem; }
details { font-size: .88rem; margin-top: .5rem; }
summary { cursor: pointer; color: var(--link); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem .8rem; margin: .5rem 0 0; }
dt { color: var(--soft); }
dd { margin: 0; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; min-width: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: .9rem; margin-top: .5rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .9rem; }
@media (max-width: 30rem) { body { padding-top: 1rem; } h1 { font-size: 1.4rem; } }
@media (max-width: 45rem) { /* a claim is a block: its cells stand under each other, with their headings */
  .claims, .claims tbody, .claims tr, .claims th, .claims td { display: block; min-width: 0; border: 0; padding: 0;
    overflow-wrap: anywhere; }
  .claims thead { display: none; }
  .claims .measured { min-width: 0; }
  .claims tr { border-bottom: 1px solid var(--line); padding: .7rem 0; }
  .claims tbody th { font-weight: 600; margin-bottom: .2rem; }
  .claims td[data-heading]::before { content: attr(data-heading) ": "; color: var(--soft); }
}
@media print { .cell, figure { break-inside: avoid; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rodflow: run {{ run }}</title>
<link rel="icon" href="data:,">
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>Rod flow at the edge of stability: run {{ run }}</h1>
<p>{{ about }}</p>
{%- if missing %}
<p class="missing">{{ missing }} What follows is of what is finished.</p>
{%- endif %}
<nav aria-label="Sections"><a href="#claims">Claims</a><a href="#cells">Cells</a><a href="#figures">Figures</a></nav>
</header>
<main>
<section id="claims" aria-labelledby="claims-title">
<h2 id="claims-title">The paper’s claims, on this run</h2>
<p>Claims of Regis &amp; Chewi (arXiv 2605.06821). The half-difference rod flow is derived here in the paper’s manner,
the drift-free one is this project’s own; a verdict is on the model of its row. Rules and reservations stand in
<code>REPLICATION.md</code> among the run’s tables; <code>{{ claims[0].command }}</code> makes it again.</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="claims-title"><table class="claims">
<thead><tr><th scope="col">Claim</th><th scope="col">Tested on</th><th scope="col">Verdict</th>
<th scope="col">Our number</th><th scope="col">Scale</th></tr></thead>
<tbody>
{%- for claim in claims %}
<tr><th scope="row">{{ claim.claim }}</th><td data-heading="Tested on">{{ claim.model }}</td>
<td class="verdict {{ claim.verdict | replace(" ", "-") }}">{{ claim.verdict }}</td>
<td class="measured" data-heading="Our number">{{ claim.measured }}</td>
<td data-heading="Scale">{{ claim.scale }}</td></tr>
{%- endfor %}
</tbody></table></div>
</section>
<section id="cells" aria-labelledby="cells-title">
<h2 id="cells-title">Every cell</h2>
<p>Distance in weight space of a flow’s centre from the run’s midpoint against the optimizer’s step, on a log scale, and
the length of the run’s own oscillation. A cross marks where a flow was stopped: it had left the track. A chart leads to
the cell’s figure. Below it, over the edge window: mean error, how many times the stable flow’s error is larger (on
the records that both reached), and median effective sharpness in thresholds{{ seeds_note }}.</p>
<ul class="legend">
{%- for text, sample in legend %}
<li>{{ sample | safe }}{{ text }}</li>
{%- endfor %}
<li><span class="edge"></span>Edge window</li>
</ul>
{%- for optimizer, cells in rows %}
<section aria-label="{{ optimizer }}">
<h3>{{ optimizer }}</h3>
<div class="row">
{%- for cell in cells %}
<article class="cell" id="{{ cell.name }}">
<h4>{{ cell.title }}</h4>
{%- if cell.chart %}
<a href="cells/{{ cell.name }}.png">{{ cell.chart | safe }}</a>
<div class="scroll"><table>
<thead><tr><th scope="col">Flow</th><th scope="col" class="number">Error</th><th scope="col" class="number">Ratio</th>
<th scope="col" class="number">Sharpness</th></tr></thead>
<tbody>
<tr><th scope="row">{{ cell.discrete_label }}{% if cell.missing %} ({{ cell.missing }}){% endif %}</th>
<td class="number"></td><td class="number"></td>
<td class="number">{{ cell.sharpness }}</td></tr>
{%- for flow in cell.flows %}
<tr><th scope="row">{{ flow.label }}{% if flow.stopped %} (stopped at {{ flow.stopped }}){% endif %}
{%- if flow.missing %} ({{ flow.missing }}){% endif %}</th>
<td class="number">{{ flow.error }}</td><td class="number">{{ flow.ratio }}</td>
<td class="number">{{ flow.sharpness }}</td></tr>
{%- endfor %}
</tbody></table></div>
{%- else %}
<p class="missing">Missing: the run is not finished, nor is any of its flows.</p>
{%- endif %}
<details><summary>Config, code, machine, command</summary>
{%- if cell.chart %}
<dl>
<dt>Figure</dt><dd><a href="cells/{{ cell.name }}.png">PNG</a>, <a href="cells/{{ cell.name }}.pdf">PDF</a>,
<a href="cells/{{ cell.name }}.json">whole config</a></dd>
{%- for term, text in cell.facts %}
<dt>{{ term }}</dt><dd>{{ text }}</dd>
{%- endfor %}
</dl>
{%- endif %}
<pre><code>{{ cell.command }}</code></pre>
<pre>{{ cell.settings }}</pre>
</details>
</article>
{%- endfor %}
</div>
</section>
{%- endfor %}
</section>
<section id="figures" aria-labelledby="figures-title">
<h2 id="figures-title">Other figures</h2>
<div class="row">
{%- for figure in figures %}
<figure><a href="{{ figure.name }}.png"><img src="{{ figure.name }}.png" alt="{{ figure.text }}" loading="lazy"></a>
<figcaption>{{ figure.text }} <a href="{{ figure.name }}.pdf">PDF</a>, <a href="{{ figure.name }}.json">config</a>.
<br><code>{{ figure.command }}</code></figcaption></figure>
{%- endfor %}
</div>
</section>
</main>
<footer><p>{{ footer }}</p></footer>
</body>
</html>
"""
