"""Turn the marked-up texts in `source/` and `source_c/` into gold files for `shared/score_phi.py`.

    python benchmarks/deid/gold/compile.py [--check]

Each `source/<kind>.txt` becomes `<kind>.a.jsonl` and `<kind>.b.jsonl`, each `source_c/<kind>.txt`
`<kind>.c.jsonl`. The same sources always give the same bytes. A bad mark stops the run with the file and line it stands on. `--check` prints what a
second reader should look at: unmarked text that looks like a mark which was forgotten.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
SETS = {"source": ("a", "b"), "source_c": ("c",)}  # the sets that each folder's documents belong to
LABELS = {
    label: label
    for label in (
        "NAME",
        "DATE",
        "AGE",
        "LOCATION",
        "PHONE",
        "EMAIL",
        "SSN",
        "MRN",
        "HEALTH_PLAN",
        "ACCOUNT",
        "LICENSE",
        "VEHICLE",
        "DEVICE",
        "URL",
        "IP",
        "BIOMETRIC",
        "OTHER_ID",
        "IGNORE",
    )
} | {"FAX": "PHONE", "PHOTO": "OTHER_ID"}

PART = re.compile(r"^%%(?P<rest>.*)$", re.MULTILINE)
MARK = re.compile(r"\[\[(?P<label>[A-Z_]*)\|(?P<text>(?:(?!\[\[|\]\]).)+)\]\]", re.DOTALL)
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})")

# Beside a mark these count for neither side; see README.md.
TITLE = r"(?:Dr|Drs|Mr|Mrs|Ms|Miss|Mx|Prof|Professor|Doctor|Nurse|Sister|Judge|Sgt|Officer|Rev|Fr|Pastor|Rabbi|Rn|Attending|Mister|Madam|Señor|Señora|Sra|Sr|Frau|Herr|Mme|Hon|Capt|Lt|Lt\.? Col|Justice|Grandma|Grandpa|Nana|Aunt|Uncle|Baby|Coach|Medic|Cook|Doc|Father|Brother|Lord|Lady|Sir|Dame|Fräulein|Mlle|Monsieur|Madame|Don|Doña|Signor|Signora|Advocate|Mrs\.? Justice)"
BEFORE_NAME = re.compile(rf"\b{TITLE}\b\.?,?\s*$", re.IGNORECASE)
DEGREE = r"(?:M\.D\.|D\.O\.|Ph\.D\.|R\.N\.|MD|DO|RN|LPN|LVN|CNA|NP|FNP|FNP-BC|FNP-C|CRNP|DNP|APRN|ARNP|AGNP|CNM|CRNA|PA|PA-C|PharmD|RPh|PhD|BSN|MSN|MSW|LCSW|LICSW|LMFT|RD|RT|RRT|PT|DPT|OT|OTR/L|SLP|CCC-SLP|DDS|DMD|DPM|OD|MBBS|MBChB|FACS|FACC|FACP|FRCS|FRCP|MPH|MBA|MS|CPNP|IBCLC|EMT|EMT-P|AuD|PsyD|MA|CMA|MLT|MT|ASCP|RDMS|RT\(R\)|CDE|CDCES)"
AFTER_NAME = re.compile(rf",?\s*{DEGREE}(?![A-Za-z])")
AGE_UNIT = re.compile(
    r"(?:-|\s)*(?:years?|yrs?)(?:[- ]?olds?|[- ]of[- ]age)?\b|(?:-|\s)*(?:yo|y/o|y\.o\.|ans|años)(?![A-Za-z])"
)
WEEKDAY = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs?)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
BEFORE_DATE = re.compile(rf"\b{WEEKDAY}\b\.?,?\s*(?:the\s+)?$", re.IGNORECASE)
AFTER_DATE = re.compile(rf",?\s*\(?{WEEKDAY}\b", re.IGNORECASE)
BETWEEN_PLACES = re.compile(r"[,\s]*(?P<state>[A-Z][A-Za-z.]+(?: [A-Z][a-z]+)?)[,.\s]*")

# What --check shows. None of these decides anything.
SUSPECT = re.compile(
    r"\b\d{1,2}[/-]\d{1,2}(?:[/-]\d{2,4})?\b|\b\d{1,2}\.\d{1,2}\.\d{2,4}\b"
    r"|\b\d{5,}\b"
    r"|\b(?:\d{3}[-. ]){1,2}\d{4}\b"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[a-z]*\b"
    r"|\b[A-Z]{1,4}\d?-?\d{4,}\b"
    r"|\S+@\S+|https?:|www\."
    rf"|\b{TITLE}\b\.? [A-Z]\w+"
    r"|\b9\d[- ]?(?:y|years?)\b"
)
WORD = re.compile(r"[^\W_]+")


class BadMarkError(Exception):
    """A source file that cannot be compiled, with the line at fault."""


def unescaped(text: str) -> str:
    r"""`\uXXXX` and `\UXXXXXXXX` stand for characters that an editor would not show."""
    return ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)), text)


def beside_name(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """Titles before a name and degrees after it."""
    found = []
    line = text.rfind("\n", 0, start) + 1
    while title := BEFORE_NAME.search(text, line, start):
        found.append((title.start(), start))
        start = title.start()
    while degree := AFTER_NAME.match(text, end, limit):
        found.append((end, degree.end()))
        end = degree.end()
    return found


def beside_date(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """Weekdays at a date."""
    found = []
    if day := BEFORE_DATE.search(text, text.rfind("\n", 0, start) + 1, start):
        found.append((day.start(), start))
    if day := AFTER_DATE.match(text, end, limit):
        found.append((end, day.end()))
    return found


def beside(text: str, spans: list[dict]) -> list[dict]:
    """Zones beside marks that count for nothing: titles, degrees, units of ages, weekdays, states."""
    zones = []
    for span, following in zip(spans, [*spans[1:], None], strict=False):
        start, end, label = span["start"], span["end"], span["label"]
        limit = following["start"] if following else len(text)
        if label == "NAME":
            zones += beside_name(text, start, end, limit)
        elif label == "DATE":
            zones += beside_date(text, start, end, limit)
        elif label == "AGE" and (unit := AGE_UNIT.match(text, end, limit)):
            zones.append((end, unit.end()))
        elif (
            label == "LOCATION"
            and following
            and following["label"] == "LOCATION"
            and BETWEEN_PLACES.fullmatch(text, end, limit)
        ):
            zones.append((end, limit))
    return [{"start": a, "end": b, "label": "OTHER", "ignore": True} for a, b in zones]


def document(source: str, at: str, line: int) -> tuple[str, list[dict]]:
    """Text and spans of one marked-up document, whose first line is `line` of the file `at`."""
    pieces: list[str] = []
    spans: list[dict] = []
    length = done = 0

    def add(piece: str) -> None:
        nonlocal length
        piece = unescaped(piece)
        pieces.append(piece)
        length += len(piece)

    def bad(offset: int, why: str) -> BadMarkError:
        return BadMarkError(f"{at}:{line + source.count(chr(10), 0, offset)}: {why}")

    for mark in MARK.finditer(source):
        outside = source[done : mark.start()]
        if (stray := re.search(r"\[\[|\]\]", outside)) is not None:
            raise bad(
                done + stray.start(),
                f"a bracket without its mark: {outside[stray.start() :][:40]!r}",
            )
        add(outside)
        if mark["label"] not in LABELS:
            raise bad(mark.start(), f"no such label: {mark['label']!r}")
        if mark["text"] != mark["text"].strip() or not any(
            c.isalnum() for c in unescaped(mark["text"])
        ):
            raise bad(mark.start(), f"blank at the edge, or nothing in it: {mark['text']!r}")
        label, start = LABELS[mark["label"]], length
        add(mark["text"])
        spans.append({"start": start, "end": length, "label": label})
        done = mark.end()
    outside = source[done:]
    if (stray := re.search(r"\[\[|\]\]", outside)) is not None:
        raise bad(
            done + stray.start(), f"a bracket without its mark: {outside[stray.start() :][:40]!r}"
        )
    add(outside)
    text = "".join(pieces)
    zones = beside(text, spans)
    for span in spans:
        if span["label"] == "IGNORE":
            span.update(label="OTHER", ignore=True)
    return text, sorted(spans + zones, key=lambda s: (s["start"], s["end"]))


def documents(path: Path) -> list[dict]:
    """Documents of one source file, each with the set it belongs to."""
    source = path.read_text(encoding="utf-8")
    heads = list(PART.finditer(source))
    if not heads or source[: heads[0].start()].strip():
        raise BadMarkError(f"{path.name}:1: text before the first %% line")
    found = []
    for number, (head, after) in enumerate(zip(heads, [*heads[1:], None], strict=True), start=1):
        line = source.count("\n", 0, head.start()) + 1
        chosen = head["rest"].strip()
        if chosen not in SETS[path.parent.name]:
            wanted = " or ".join(f"'%% {name}'" for name in SETS[path.parent.name])
            raise BadMarkError(
                f"{path.name}:{line}: a document starts with {wanted}, not {head[0]!r}"
            )
        body = source[head.end() + 1 : after.start() if after else len(source)].rstrip("\n")
        if not body.strip():
            raise BadMarkError(f"{path.name}:{line}: an empty document")
        text, spans = document(body, path.name, line + 1)
        found.append(
            {
                "set": chosen,
                "id": f"{path.stem}-{'c' if chosen == 'c' else ''}{number:03d}",
                "text": text,
                "spans": spans,
                "line": line,
            }
        )
    return found


def suspects(doc: dict) -> list[str]:
    """Unmarked text of a document that may be a forgotten mark."""
    text, spans = doc["text"], doc["spans"]
    held = [any(s["start"] <= i < s["end"] for s in spans) for i in range(len(text))]
    marked = {
        w[0].lower()
        for s in spans
        if not s.get("ignore")
        for w in WORD.finditer(text, s["start"], s["end"])
    }
    shown = {m.span() for m in SUSPECT.finditer(text) if not any(held[m.start() : m.end()])}
    shown |= {
        m.span()
        for m in WORD.finditer(text)
        if len(m[0]) > 2 and m[0].lower() in marked and not any(held[m.start() : m.end()])
    }
    shown |= {
        (s["start"], s["end"])
        for s in spans
        if s["label"] == "NAME" and re.match(rf"{TITLE}\b", text[s["start"] : s["end"]])
    }
    return [f"{text[max(0, a - 30) : b + 20]!r} <- {text[a:b]!r}" for a, b in sorted(shown)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="show what may be a forgotten mark")
    check = parser.parse_args().check
    try:
        kinds = {
            (path.stem, SETS[folder]): documents(path)
            for folder in SETS
            for path in sorted((HERE / folder).glob("*.txt"))
        }
    except BadMarkError as fault:
        sys.exit(str(fault))
    total: Counter[str] = Counter()
    for (kind, names), found in kinds.items():
        for name in names:
            rows = [
                {k: doc[k] for k in ("id", "text", "spans")} for doc in found if doc["set"] == name
            ]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (HERE / f"{kind}.{name}.jsonl").write_text(lines, encoding="utf-8")
        counts = Counter(s["label"] for doc in found for s in doc["spans"] if not s.get("ignore"))
        clean = sum(all(s.get("ignore") for s in doc["spans"]) for doc in found)
        sets = Counter(doc["set"] for doc in found)
        words = sum(len(doc["text"].split()) for doc in found)
        total.update(counts)
        print(
            f"{kind}: {len(found)} documents ("
            + ", ".join(f"{name} {sets[name]}" for name in names)
            + f"; {clean} without PHI), "
            f"{words} words, {counts.total()} spans: "
            + ", ".join(f"{k} {v}" for k, v in counts.most_common())
        )
        if check:
            for doc in found:
                for suspect in suspects(doc):
                    print(f"   {doc['id']} (line {doc['line']}): {suspect}")
    print(f"all: {total.total()} spans: " + ", ".join(f"{k} {v}" for k, v in total.most_common()))


if __name__ == "__main__":
    main()
