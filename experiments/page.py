"""The HTML of reports: one template with `string.Template` fields, no asset beside it."""

from __future__ import annotations

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #ffffff; --tint: #f4f6f9;
  --mark: #2a6fb0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ee; --soft: #9aa6b5; --line: #323b47; --paper: #14191f; --tint: #1c232b;
    --mark: #79b4ea;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  color: var(--ink); background: var(--paper);
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.5rem; letter-spacing: -0.01em; }
h2 {
  font-size: 1.2rem; margin: 2.75rem 0 0.75rem; padding-bottom: 0.3rem;
  border-bottom: 2px solid var(--mark);
}
h3 { font-size: 1rem; margin: 0 0 0.4rem; }
p { margin: 0 0 0.8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.32rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; }
tbody th, thead th:first-child { text-align: left; font-weight: 500; }
thead th { border-bottom: 2px solid var(--line); }
tr.part th { padding-left: 1.8rem; }
tr.part th, tr.part td { color: var(--soft); border-bottom-style: dotted; }
tbody tr:hover { background: var(--tint); }
figure { margin: 0 0 2rem; }
figure img {
  display: block; width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 8px;
}
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.4rem; }
.story {
  max-height: 24rem; overflow-y: auto; padding: 1rem 1.25rem; background: var(--tint);
  border-left: 4px solid var(--mark); border-radius: 0 8px 8px 0;
  font-family: Georgia, "DejaVu Serif", serif; white-space: pre-line;
}
pre {
  overflow-x: auto; padding: 1rem 1.25rem; background: var(--tint); border-radius: 8px;
  font: 0.85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace;
}
@media print { .story { max-height: none; } }
</style>
</head>
"""
"""What every report begins with: `$title`, and the style."""

PAGE = (
    HEAD
    + """<body>
<h1>$title</h1>
<section>
$seen
</section>
<h2>In numbers</h2>
<div class="scroll"><table>$table</table></div>
<h2>Over time</h2>
$figures
<h2>The stories</h2>
<div class="story">$stories</div>
<h2>Configuration</h2>
<pre>$configuration</pre>
</body>
</html>
"""
)
