"""The page: one self-contained HTML file for a reviewer, an engineer and a researcher."""

from expunge.audit.evidence.folder import Evidence
from expunge.report import advice, sheets, summary
from expunge.report import document as doc
from expunge.report.choice import RETRAIN, cheapest, choice
from expunge.report.document import Document
from expunge.report.excerpts import excerpts
from expunge.report.figure.distributions import distributions
from expunge.report.figure.pareto import pareto
from expunge.report.figure.strip import strip
from expunge.report.template import Drawing, render
from expunge.report.words import title

MOST_PANELS = 12  # methods in the figure of forgotten rows: the page stays below 1.5 MB


def page(document: Document, evidence: Evidence) -> str:
    """The report on an audit as HTML that needs neither network nor scripts.

    First the claim, the verdict and their limits in plain language, then cost, settings and next
    steps, then tables with intervals, figures and definitions. All text from the document is
    escaped. Equal input gives equal bytes.

    Args:
        document: the contents of `audit.json`.
        evidence: the arrays behind it, for the figures.

    Raises:
        BadInput: the document has another schema or no methods, or the evidence lacks one.
    """
    doc.check(document)
    chosen = exemplar(document)
    return render(
        "page.html.j2",
        name=doc.problem_name(document),
        description=document["problem"].get("description"),
        command=(document.get("run") or {}).get("command"),
        run=sheets.flat({k: v for k, v in (document.get("run") or {}).items() if k != "command"}),
        opening=summary.opening(document),
        several=len(document["methods"]) > 1,
        claims=summary.claims(document),
        findings=summary.findings(document),
        choice=choice(document),
        asked=summary.asked(document),
        limits=summary.limits(document),
        missing=summary.not_measured(document),
        every_missing=summary.not_measured(document, every=True),
        attacks=sheets.attack_sheet(document),
        attack_words=[(m.name, m.definition, m.unit) for m in sheets.attacks(document)],
        duplicates=summary.duplicates(document),
        steps=advice.next_steps(document),
        procedure=sheets.procedure_sheet(document),
        costs=sheets.cost_sheet(document),
        reasons=[(name, summary.reasons(document, name)) for name in doc.order(document)],
        settings=sheets.flat(document.get("settings") or {}),
        metrics=[sheets.metric_sheet(document, metric) for metric in doc.measured(document)],
        quality=sheets.quality_sheet(document),
        power=sheets.power_sheet(document, chosen),
        models=sheets.flat(doc.counts(document), "models."),
        figures=_figures(document, evidence, chosen),
        kind=document["problem"].get("kind"),
        deltas={metric: doc.delta(document, metric) for metric in doc.measured(document)},
        title_of=title,
    )


def exemplar(document: Document) -> str:
    """The method that the detailed figures show: the cheapest supported one, else the best."""
    entries = document["methods"]
    ranked = doc.order(document)
    supported = [name for name in ranked if doc.verdict(entries[name]) == "supported"]
    others = [name for name in supported if name != RETRAIN]
    return cheapest(document, others or supported) or (others or supported or ranked)[0]


def _figures(document: Document, evidence: Evidence, chosen: str) -> list[Drawing]:
    """The figures for which there is something to draw."""
    entries, metric = document["methods"], doc.metric(document)
    ranked = [name for name in doc.order(document) if not doc.withheld(entries[name])]
    few = {**document, "methods": {name: entries[name] for name in ranked[:MOST_PANELS]}}
    left_out = len(ranked) - MOST_PANELS
    drawn = [
        Drawing(
            "What remains, against what it costs",
            f"{title(metric or '')} against the cost of this request; left and low is better. Bars "
            "are two standard errors each way, the grey band is the null (retrained models "
            "among themselves), the dotted line the limit. Filled marks are supported, open "
            "ones are not. In the shaded strip, if there is one, the cost is next to nothing. "
            "† also needed models made beforehand, which are not in this cost.",
            pareto(document, columns=2),
            pareto(document, columns=1),
        ),
        Drawing(
            "Every forgotten row, before and after",
            "Mean margin of each row. Rows stand from left to right by the mean margin of "
            "retrained models; a good method brings its points into their band."
            + (f" The {left_out} weakest methods are not drawn." if left_out > 0 else ""),
            strip(few, evidence, columns=3),
            strip(few, evidence, columns=2),
        ),
    ]
    weakest = next((name for name in reversed(ranked) if name != chosen), None)
    for method in filter(None, [chosen, weakest]):
        drawn.append(
            Drawing(
                f"The forgotten rows on which {method} is furthest from retrained models",
                "Margins over models, each curve scaled to the same height. Where the solid curve "
                "covers the grey one, the row looks as if it had never been seen; where it still "
                "lies on the dashed one, it looks remembered.",
                distributions(document, evidence, method, columns=2),
                distributions(document, evidence, method, columns=1),
                tuple(excerpts(document, evidence, method)),
            )
        )
    return [figure for figure in drawn if figure.wide]
