"""Fragments of the book that are made from the ledger: tables, claims, verdicts, gallery (MyST text)."""

from __future__ import annotations

from typing import Any

Item = dict[str, Any]
HEADINGS = {"figure": "Figures", "table": "Tables", "theorem": "Theorems", "claim": "Claims"}
NOT_RUN = "Not run yet."


def fragments(ledger: dict[str, list[Item]], images: dict[str, dict[str, str]]) -> dict[str, str]:
    """The generated files by name, as MyST Markdown.

    ledger: what `build_ledger` returns. images: {label: {"file", "alt"}} of the figures with a picture.
    """
    items = ledger["items"]
    return {
        "ledger_summary.md": _summary(items),
        "ledger_table.md": _ledger_table(items),
        "ledger_sources.md": _sources(items),
        "claims_table.md": _claims(items),
        "verdict_strip.md": _verdict_strip(items),
        "findings.md": _findings(items),
        "held.md": _by_verdict(
            items, ("reproduced",), "None of the claims has been reproduced in this build."
        ),
        "not_held.md": _by_verdict(
            items,
            ("partly", "not reproduced", "out of budget", "planned"),
            "In this build there is no such claim.",
        ),
        "gallery.md": _gallery(items, images),
    }


def badge(word: str) -> str:
    """A verdict or status as a small badge; the word itself carries the meaning, not the colour."""
    return f"[{word}]{{.badge-word .badge-{word.replace(' ', '-')}}}"


def number(value: Any) -> str:
    """A number in at most three significant digits, with a true minus; text passes unchanged; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return (str(value) if isinstance(value, int) else f"{value:.3g}").replace("-", "−")


def with_interval(effect: Any, interval: Any) -> str:
    """An effect and its interval in one phrase, for example "0.75 (0.69 to 0.80)"."""
    if isinstance(effect, dict):
        name = effect.get("name") or effect.get("text")
        value = with_interval(effect.get("effect", effect.get("value")), effect.get("interval"))
        return f"{name}: {value}" if name and value != "–" else str(name or value)
    if isinstance(interval, (list, tuple)) and len(interval) == 2:
        return f"{number(effect)} (95 % interval {number(interval[0])} to {number(interval[1])})"
    return number(effect) if not interval else f"{number(effect)} (95 % interval {interval})"


def _built(items: list[Item], kind: str | None = None) -> list[Item]:
    return [i for i in items if i["status"] == "built" and kind in (None, i["kind"])]


def _sentence(text: str) -> str:
    text = text.strip()
    return (text[:1].upper() + text[1:]).rstrip(".") + "." if text else ""


def _trial_notice(items: list[Item]) -> str:
    """A warning in front of verdicts that come from the trial size, whose numbers mean nothing."""
    if not any(i["parameters"].get("profile") == "smoke" for i in _built(items)):
        return ""
    return (
        ":::{warning}\nThis book was built with the profile `smoke`, which only shows that everything runs. "
        "Its numbers and verdicts mean nothing.\n:::\n\n"
    )


def _link(item: Item) -> str:
    if item["kind"] == "claim":
        return f"[{item['id']}](#{item['anchor']})"
    if item["status"] != "built":
        return item["id"]
    if item["kind"] == "theorem":
        return f"{{prf:ref}}`{item['anchor']}`"
    return f"{{numref}}`{item['anchor']}`"


def _summary(items: list[Item]) -> str:
    counts = [
        f"{len(_built(items, kind))} of {sum(i['kind'] == kind for i in items)} {name.lower()}"
        for kind, name in HEADINGS.items()
        if kind != "claim"
    ]
    tested = len(_built(items, "claim"))
    claims = sum(i["kind"] == "claim" for i in items)
    rest = "" if all(item["status"] == "built" for item in items) else " The other items are planned."
    return f"In this build: {', '.join(counts)}; {tested} of {claims} claims have a verdict.{rest}\n"


def _ledger_table(items: list[Item]) -> str:
    lines = []
    for kind, heading in HEADINGS.items():
        lines += [
            f"## {heading}",
            "",
            "::::{list-table}",
            ":header-rows: 1",
            ":widths: 14 46 18 22",
            ":class: ledger",
            "",
            "* - Item",
            "  - Content",
            "  - Verdict" if kind == "claim" else "  - Status",
            "  - Notebook",
        ]
        for item in (i for i in items if i["kind"] == kind):
            lines += [
                f"* - {_link(item)}",
                f"  - {item['title']}",
                f"  - {badge(item.get('verdict', item['status']))}",
                f"  - {{source}}`{item['notebook']}`",
            ]
        lines += ["::::", ""]
    return "\n".join(lines)


def _sources(items: list[Item]) -> str:
    """Parameters and result files once per notebook, because all items of a notebook share them."""
    lines = []
    for notebook in sorted({i["notebook"] for i in _built(items)}):
        mine = [i for i in _built(items) if i["notebook"] == notebook]
        lines += [
            f"### {notebook.removeprefix('notebooks/')}",
            "",
            f"Source: {{source}}`{notebook}`. Items: {', '.join(map(_link, mine))}.",
            "",
        ]
        parameters = next((i["parameters"] for i in mine if i["parameters"]), {})
        if parameters:
            lines += [
                "Parameters: " + ", ".join(f"`{k} = {v!r}`" for k, v in sorted(parameters.items())) + ".",
                "",
            ]
        files = {r["path"]: r["sha256"] for i in mine for r in i["results"]}
        if files:
            lines += [
                f":::{{dropdown}} {len(files)} result file{'s' * (len(files) > 1)} with SHA-256",
                ":class-container: provenance",
                "",
                "```text",
                *[f"{digest}  {path}" for path, digest in sorted(files.items())],
                "```",
                ":::",
                "",
            ]
        else:
            lines += ["This notebook reads no result files.", ""]
    return "\n".join(lines) if lines else "Nothing has been run yet.\n"


def _claims(items: list[Item]) -> str:
    lines = [_trial_notice(items)]
    for claim in (i for i in items if i["kind"] == "claim"):
        lines += [
            f"({claim['anchor']})=",
            f"## {claim['id']}. {claim['title']}",
            "",
            badge(claim["verdict"]),
            "",
            str(claim["text"]),
            "",
        ]
        notebooks = ", ".join(f"{{source}}`notebooks/{stem}.ipynb`" for stem in claim["notebooks"])
        run = claim["effect"] is not None
        rows = [
            (
                "Our number",
                f"{_our_number(claim)}. {_sentence(claim['note'] or '')}".strip() if run else NOT_RUN,
            )
        ]
        if claim["by_experiment"] and len(claim["by_experiment"]) > 1:
            rows.append(
                (
                    "By experiment",
                    "; ".join(
                        f"{each['title']}: {each.get('words') or with_interval(each['effect'], each['interval'])}"
                        for each in claim["by_experiment"].values()
                    )
                    + ".",
                )
            )
        rows += [
            (
                "Fair baseline",
                _sentence(with_interval(claim["fair_baseline"], None))
                if claim["fair_baseline"] is not None
                else NOT_RUN,
            ),
            ("Rule", claim["rule"] or "Stated together with the verdict."),
            ("Planned in" if claim["verdict"] == "planned" else "Tested in", notebooks),
        ]
        if claim["results"]:
            rows.append(
                (
                    "Result files",
                    f"{len(claim['results'])}, listed with their hashes in the [ledger](#ledger)",
                )
            )
        lines += ["::::{list-table}", ":widths: 22 78", ":stub-columns: 1", ":class: claim", ""]
        for name, value in rows:
            lines += [f"* - {name}", f"  - {value}"]
        lines += ["::::", ""]
    return "\n".join(lines)


def _verdict_strip(items: list[Item]) -> str:
    lines = [_trial_notice(items) + ":::{div} verdict-strip", ""]
    for claim in (i for i in items if i["kind"] == "claim"):
        lines.append(f"- [**{claim['id']}** {claim['title']}](#{claim['anchor']}) {badge(claim['verdict'])}")
    return "\n".join([*lines, "", ":::", ""])


def _findings(items: list[Item]) -> str:
    tested = _built(items, "claim")
    if not tested:
        return "The experiments have not been run in this build, so there is no verdict yet.\n"
    lines = [
        f"- **{c['id']}, {c['verdict']}.** {_our_number(c)}. {_sentence(c['note'] or '')}".rstrip()
        for c in tested
    ]
    return "\n".join(lines) + "\n"


def _by_verdict(items: list[Item], words: tuple[str, ...], none: str) -> str:
    """The claims with these verdicts, with our numbers."""
    lines = []
    for claim in (i for i in items if i["kind"] == "claim" and i["verdict"] in words):
        number = (
            f" {_our_number(claim)}. {_sentence(claim['note'] or '')}".rstrip()
            if claim["effect"] is not None
            else f" {NOT_RUN}"
        )
        lines.append(
            f"- [**{claim['id']}**](#{claim['anchor']}) {badge(claim['verdict'])} {claim['text'].strip()}{number}"
        )
    return "\n".join(lines or [none]) + "\n"


def _our_number(claim: Item) -> str:
    if claim["words"]:
        return f"No ratio: {claim['words']}"
    return f"Effect {with_interval(claim['effect'], claim['interval'])}"


def _gallery(items: list[Item], images: dict[str, dict[str, str]]) -> str:
    cards = [":::{div} gallery", ""]
    for item in _built(items, "figure"):
        image = images.get(item["anchor"])
        if image:
            cards += [f"- [![]({image['file']}) **{item['id']}** {item['title']}](#{item['anchor']})"]
    if len(cards) == 2:
        return "The figures appear here as soon as their notebooks have been run.\n"
    return "\n".join([*cards, "", ":::", ""])
