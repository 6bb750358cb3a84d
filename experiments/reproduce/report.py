"""The report of a reproduction: one Markdown file, and the same as one HTML file. Pure."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template

from experiments.page import HEAD
from experiments.reproduce.result import Picture, Result
from experiments.reproduce.statistics import Claim, Verdict

PAPER = (
    "Y. Chen, R. Li, X. Yu, Z. Zhao, H. Zhang, “Adaptive layer splitting for wireless large "
    "language model inference in edge computing: a model-based reinforcement learning approach”, "
    "Front. Inform. Technol. Electron. Eng. 26(2):278-292, 2025, doi 10.1631/FITEE.2400468"
)
JUDGED = (
    "A claim is judged by rules that were written before any result was looked at. Each finding is "
    "one number with its 95 % interval: Welch's t over training seeds; for Fig. 3 Student's t over "
    "windows of text. Of a direction, a finding is *seen* where the whole interval lies on the "
    "claimed side of 0, *opposite* where all of it lies on the other, else *not seen*. Of "
    "likeness, it is *seen* where the whole interval lies within the margin, *opposite* where all "
    "of it lies outside. A claim is seen, or opposite, where all of its findings are."
)
PLOTS = (
    "The paper's plots were not digitised: of Fig. 3, 5, 6, 8 and 9 it gives curves without their "
    "numbers, and its column says *not given*. What its text says of them is what is judged."
)
RETURNS = (
    "J is the exact mean return of the greedy policy over all start states, J* that of the optimum "
    "by dynamic programming, x = (J − J_random)/(J* − J_random). ± and the numbers in parentheses "
    "are 95 % intervals."
)
HTML_PAGE = HEAD + "<body>\n<h1>$title</h1>\n$body\n</body>\n</html>\n"


@dataclass(frozen=True, slots=True)
class Report:
    """What both files are made of."""

    results: tuple[Result, ...]
    remarks: tuple[str, ...]
    """What was left out, and why."""

    explained: tuple[str, ...]
    """Paragraphs below the claims: reasons that many of them have in common."""

    configuration: str
    """As text: command, seeds, steps, versions, machine."""

    @property
    def title(self) -> str:
        return "The paper's table and figures, beside the optimum"

    @property
    def claims(self) -> list[tuple[str, Claim]]:
        """With the target's name."""
        return [(result.title.split(":")[0], claim) for result in self.results
                for claim in result.claims]  # fmt: skip

    @property
    def counts(self) -> str:
        """How many claims were seen, not seen, opposite."""
        verdicts = [claim.verdict for _, claim in self.claims]
        said = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)
        return f"Of {len(verdicts)} claims: {said}."


def markdown(report: Report) -> str:
    """Pictures lie beside it, by their names."""
    claims = ((name, c.setting, c.text, f"**{c.verdict}**", c.why) for name, c in report.claims)
    parts = [
        f"# {report.title}",
        f"Of {PAPER}.",
        *report.remarks,
        "## Claims",
        report.counts,
        JUDGED,
        _markdown_table(CLAIM_HEADING, claims),
        RETURNS,
        PLOTS,
        *report.explained,
    ]
    for result in report.results:
        parts.append(f"## {result.title}")
        parts += [f"![{p.title}]({p.name}.png)\n\n*{p.caption}*" for p in result.pictures]
        if result.rows:
            cells = ((row.what, row.paper, row.ours, row.optimum) for row in result.rows)
            parts.append(_markdown_table(ROW_HEADING, cells))
    parts += ["## Configuration", f"```\n{report.configuration}\n```"]
    return "\n\n".join(parts) + "\n"


CLAIM_HEADING = ("", "setting", "the paper", "here", "why")
ROW_HEADING = ("", "paper", "ours", "optimum")


def page(report: Report) -> str:
    """One HTML file that needs nothing beside it."""
    claims = ((name, c.setting, c.text, str(c.verdict), c.why) for name, c in report.claims)
    parts = [
        _paragraph(f"Of {PAPER}."),
        *map(_paragraph, report.remarks),
        "<h2>Claims</h2>",
        _paragraph(report.counts),
        _paragraph(JUDGED.replace("*", "")),
        _html_table(CLAIM_HEADING, claims),
        _paragraph(RETURNS),
        *(_paragraph(text.replace("*", "")) for text in (PLOTS, *report.explained)),
    ]
    for result in report.results:
        parts.append(f"<h2>{html.escape(result.title)}</h2>")
        parts += map(_figure, result.pictures)
        if result.rows:
            cells = ((row.what, row.paper, row.ours, row.optimum) for row in result.rows)
            parts.append(_html_table(ROW_HEADING, cells))
    parts += ["<h2>Configuration</h2>", f"<pre>{html.escape(report.configuration)}</pre>"]
    title = html.escape(report.title)
    return Template(HTML_PAGE).substitute(title=title, body="\n".join(parts))


def _markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def _html_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join(
        f"<tr><th>{html.escape(first)}</th>"
        + "".join(f'<td style="text-align: left">{html.escape(cell)}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{table}</table></div>'


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _figure(picture: Picture) -> str:
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode()
    title, caption = html.escape(picture.title), html.escape(picture.caption)
    return (
        f'<figure><h3>{title}</h3><img alt="{title}" src="{source}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
