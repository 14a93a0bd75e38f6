"""Write the tables of benchmarks/README.md from the committed results.

    python benchmarks/summary.py

Everything between the two markers is replaced; the numbers are never typed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench import HEADINGS, HERE, LEFT, RESULTS, Measure, rows

BEGIN, END = "<!-- begin: benchmarks/summary.py -->", "<!-- end -->"
ORDER = ("augment", "step", "recipes", "multicrop", "knn", "linear", "masked", "detection",
         "segmentation", "streaming", "grids", "floors", "budget",
         "gpu_cifar")  # fmt: skip


def main() -> None:
    """Rewrite the part of the README that is made from results."""
    readme = HERE / "README.md"
    head, _, rest = readme.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    paths = sorted(RESULTS.glob("*/*.json"), key=lambda p: (p.parent.name, ORDER.index(p.stem)))
    body = "\n".join(section(json.loads(path.read_text())) for path in paths)
    readme.write_text(f"{head}{BEGIN}\n\n{body or 'No results yet.'}\n\n{END}{tail}")


def section(document: dict[str, Any]) -> str:
    """One benchmark on one machine, as Markdown."""
    host = document["machine"]
    where = host.get("cpu") or host["device"]
    if "rows" in document:
        lines = table(document["headings"], document["rows"])
        details = f"{host['precision']}; torch {host['torch']}"
    else:
        measures = [Measure(**m) for m in document["measures"]]
        lines = table(HEADINGS, rows(measures))
        details = measured_on(host, num_rounds=len(measures[0].rounds))
    source = f"`{document['command'].strip()}`, {document['date']}, commit {host['commit']}"
    return "\n".join([f"### {document['benchmark']}: {where}", "", *lines, "",
                      f"{source}; {details}.", ""])  # fmt: skip


def table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, without the columns that are empty."""
    used = [i for i in range(len(headings)) if any(row[i] for row in cells)]
    align = [" --- " if headings[i] in LEFT else " ---: " for i in used]
    return [
        "| " + " | ".join(headings[i] for i in used) + " |",
        "|" + "|".join(align) + "|",
        *("| " + " | ".join(row[i] for i in used) + " |" for row in cells),
    ]


def measured_on(host: dict[str, Any], *, num_rounds: int) -> str:
    """Threads, load and versions behind a CPU table."""
    peer = host["peer"]
    versions = f"torch {host['torch']}"
    if peer:
        versions += f"; lightly {peer['lightly']} with torch {peer['torch']}"
    return (
        f"{host['threads']} threads ({', '.join(host['instructions'])}), load {host['load']:.1f} "
        f"before and {host['load_after']:.1f} after; {num_rounds} rounds; {versions}"
    )


if __name__ == "__main__":
    main()
