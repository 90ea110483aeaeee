"""What security gains: identifiers that reach the model, and attacks, on four deployments.

    python benchmarks/exposure.py [--notes N] [--cancels N] [--only identifiers|attacks]
                                     [--attacked DEPLOYMENT ...]

**Identifiers.** The same notes with invented identifiers, whose places are known (`deid/gold`), go
one by one through plain FastAPI, plain Triton (`servers.plain_triton`), Wardgate with its own engine
and Wardgate with Triton. A tap at the input of the model (`systems/tap.py`; inside Triton it stands
in the Python backend) writes down the token ids that arrive. An identifier *reached* the model if
its tokens stand there one after the other, more often than the note has them outside of identifiers.
It reached it *in part* if that is so for a word of it of three characters or more; a word that
another identifier of the note brought counts here too, which is to Wardgate's disadvantage. A year
alone, a state and three digits of a ZIP code are no identifiers (45 CFR 164.514(b)(2)(i)). Notes are
taken that the model reads whole, 256 tokens, as the plain servers would cut the others. Nobody looks
at which identifiers of the sets b and c get through: the result has counts alone.

**Attacks.** Each is what `attacks.py` does to the running servers, and what came of it. Triton is
there started as `systems/triton_server.py` does, with HTTP, gRPC and metrics, on its defaults.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import servers
from tokenizers import Encoding, Tokenizer

from wardgate.registry import export

SYSTEMS = servers.HERE / "systems"
BACKEND = export.PYTHON_BACKEND
GOLD = servers.HERE / "deid" / "gold"
KINDS = ("visit_notes", "questions", "obfuscated", "names_hard")
"""In this order, until there are as many as wanted."""
LONGEST = 256
"""Tokens that the shipped model reads."""
LEAST = 3
"""Characters of a word that counts as a part of an identifier."""

Ids = Sequence[int]
Send = Callable[[str], None]


@dataclass(frozen=True)
class Note:
    """A note with the tokens of its identifiers."""

    name: str
    kind: str
    chosen: str
    """a: the detector was developed with a look at it; b, c: it was not."""
    text: str
    ids: tuple[int, ...]
    identifiers: tuple[tuple[int, ...], ...]
    words: tuple[tuple[tuple[int, ...], ...], ...]
    """Of each identifier."""
    outside: tuple[int, ...]
    """The note's ids with -1 in place of all identifiers."""


def read(line: dict[str, Any], tokenizer: Tokenizer, kind: str, chosen: str) -> Note:
    """Return a note of a gold file."""
    encoding = tokenizer.encode(line["text"])
    places = [_places(encoding, span) for span in line["spans"] if not span.get("ignore")]
    places = [each for each in places if each and not _no_identifier(line["text"], encoding, each)]
    hidden = {place for each in places for place in each}
    ids = tuple(encoding.ids)
    return Note(
        name=line["id"], kind=kind, chosen=chosen, text=line["text"], ids=ids,
        identifiers=tuple(tuple(ids[place] for place in each) for each in places),
        words=tuple(_words(line["text"], encoding, each) for each in places),
        outside=tuple(-1 if place in hidden else each for place, each in enumerate(ids)),
    )  # fmt: skip


def _places(encoding: Encoding, span: dict[str, Any]) -> list[int]:
    return [
        place
        for place, (start, end) in enumerate(encoding.offsets)
        if start < span["end"] and end > span["start"]
    ]


def _written(text: str, encoding: Encoding, places: Sequence[int]) -> str:
    return text[encoding.offsets[places[0]][0] : encoding.offsets[places[-1]][1]]


def _no_identifier(text: str, encoding: Encoding, places: Sequence[int]) -> bool:
    return re.fullmatch(r"(?:19|20)\d\d", _written(text, encoding, places)) is not None


def _words(text: str, encoding: Encoding, places: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the ids of each word that would be an identifier's part."""
    found: dict[int, list[int]] = {}
    for place in places:
        found.setdefault(encoding.word_ids[place], []).append(place)
    return tuple(
        tuple(encoding.ids[place] for place in word)
        for word in found.values()
        if len(_written(text, encoding, word)) >= LEAST
        and not _no_identifier(text, encoding, word)
        and any(map(str.isalnum, _written(text, encoding, word)))
    )


def occurrences(part: Ids, whole: Ids) -> int:
    """Count how often the ids of `part` stand in `whole`, one after the other."""
    size, found, place = len(part), 0, 0
    while place + size <= len(whole):
        if tuple(whole[place : place + size]) == tuple(part):
            found, place = found + 1, place + size
        else:
            place += 1
    return found


def reached(note: Note, heard: Sequence[Ids]) -> tuple[int, int]:
    """Return how many identifiers of a note the model was given, whole and in part."""

    def more(part: Ids) -> int:
        return sum(occurrences(part, row) for row in heard) - occurrences(part, note.outside)

    whole = 0
    parts = 0
    for value, count in Counter(note.identifiers).items():
        got = min(count, max(0, more(value)))
        whole += got
        words = note.words[note.identifiers.index(value)]
        if any(more(word) > 0 for word in words):
            parts += count - got
    return whole, parts


def notes(count: int) -> list[Note]:
    """Return the notes that are sent, always the same."""
    tokenizer = Tokenizer.from_file(str(servers.SHIPPED / "tokenizer.json"))
    found: list[Note] = []
    for kind in KINDS:
        for path in sorted(GOLD.glob(f"{kind}.?.jsonl")):
            for line in path.read_text("utf-8").splitlines():
                note = read(json.loads(line), tokenizer, kind, path.name.split(".")[1])
                if note.identifiers and len(note.ids) <= LONGEST:
                    found.append(note)
    return found[:count]


class Tap:
    """A file that every user may append to, and what stands in it since the last look."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # Triton runs as a user of its own
        self.path = folder / "tap"
        self.path.touch()
        self.path.chmod(0o666)
        self.backend = folder / "model.py"
        self._read = 0

    def write_backend(self) -> Path:
        """Write the exported Python backend with the tap behind it; it loads at full speed."""
        future = "from __future__ import annotations\n"
        backend, more = (
            path.read_text().replace(future, "", 1) for path in (BACKEND, SYSTEMS / "tap.py")
        )
        self.backend.write_text(
            f"{future}import os\nos.environ['MODEL_RAISED'] = '1'\n{backend}\n{more}\n"
            f"listen({str(self.path)!r})\n"
        )
        return self.backend

    def heard(self) -> list[list[int]]:
        """Return the rows that ran since the last call."""
        content = self.path.read_bytes()
        new, self._read = content[self._read :], len(content)
        return [json.loads(line) for line in new.decode().splitlines()]


@contextmanager
def fastapi(tap: Tap) -> Iterator[Send]:
    """Run plain FastAPI."""
    files = {"MODEL": str(servers.SHIPPED / "model.onnx"), "TAP": str(tap.path),
             "TOKENIZER": str(servers.SHIPPED / "tokenizer.json")}  # fmt: skip
    with servers.uvicorn("tapped_fastapi:app", "/predict", files) as system, _client() as client:
        yield lambda text: _good(client.post(system.url, json={"text": text}))


@contextmanager
def triton(tap: Tap) -> Iterator[Send]:
    """Run plain Triton; its caller tokenises, as with any Triton."""
    import grpc  # noqa: PLC0415
    from hybrid import Caller  # noqa: PLC0415 -- imports onnx, which other parts do without
    from tritonclient.grpc import service_pb2_grpc  # noqa: PLC0415

    make = Caller("sentiment")
    export.PYTHON_BACKEND = tap.write_backend()
    with servers.plain_triton(dynamic_batching=True) as system:  # noqa: SIM117
        with grpc.insecure_channel(system.url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            yield lambda text: stub.ModelInfer(make(text), timeout=30)


def wardgate(*flags: str) -> Callable[[Tap], Any]:
    """Return how Wardgate is run with an engine."""

    @contextmanager
    def run(tap: Tap) -> Iterator[Send]:
        env = {"TAP": str(tap.path)}
        if flags:
            env["TAPPED_BACKEND"] = str(tap.write_backend())
        program = (str(SYSTEMS / "tapped_wardgate.py"),)
        with servers.wardgate(*flags, program=program, **env) as system, _client() as client:
            client.headers["authorization"] = f"Bearer {system.token}"
            yield lambda text: _good(
                client.post(system.url, json={"model": "sentiment", "text": text})
            )

    return run


def _client() -> httpx.Client:
    return httpx.Client(timeout=60, trust_env=False)


def _good(reply: httpx.Response) -> None:
    reply.raise_for_status()


SYSTEMS_RUN: dict[str, Callable[[Tap], Any]] = {
    "fastapi": fastapi,
    "triton": triton,
    "wardgate": wardgate(),
    "wardgate-triton": wardgate("--engine", "triton"),
}


def identifiers(sent: Sequence[Note]) -> dict[str, Any]:
    """Send the notes through each system and count what its model was given."""
    found: dict[str, Any] = {}
    for name, run in SYSTEMS_RUN.items():
        counts: dict[str, Counter[str]] = {}
        refused = 0
        with tempfile.TemporaryDirectory() as folder:
            tap = Tap(Path(folder))
            with run(tap) as send:
                for note in sent:
                    tap.heard()
                    try:
                        send(note.text)
                    except httpx.HTTPStatusError:
                        refused += 1
                    heard = tap.heard()
                    if not heard and not refused:
                        raise RuntimeError(f"the tap of {name} heard nothing")
                    whole, parts = reached(note, heard)
                    for group in ("all", note.kind, f"set {note.chosen}"):
                        here = counts.setdefault(group, Counter())
                        here["notes"] += 1
                        here["identifiers"] += len(note.identifiers)
                        here["reached"] += whole
                        here["reached_in_part"] += parts
                        here["notes_with_a_whole_one"] += whole > 0
        found[name] = {"notes_refused": refused, **{k: dict(v) for k, v in counts.items()}}
        print(name, found[name]["all"], flush=True)
    return found


def tables(result: dict[str, Any]) -> str:
    """Return the two parts as tables in Markdown."""
    rows: list[tuple[str, ...]] = [
        ("deployment, notes", "identifiers", "reached whole", "in part", "notes with a whole one"),
        ("---",) * 5,
    ]
    for name in SYSTEMS_RUN:
        for group, counts in result["identifiers"][name].items():
            if group == "all" or (group.startswith("set ") and name == "wardgate"):
                rows.append(
                    (name if group == "all" else f"{name}, {group}", f"{counts['identifiers']:,}",
                     f"{counts['reached']:,}", f"{counts['reached_in_part']:,}",
                     f"{counts['notes_with_a_whole_one']} of {counts['notes']}")
                )  # fmt: skip
    rows += [(), ("attack", *SYSTEMS_RUN), ("---",) * (1 + len(SYSTEMS_RUN))]
    rows += [
        (row["attack"], *(row[name]["verdict"] for name in SYSTEMS_RUN))
        for row in result["attacks"]["each"].values()
    ]
    return "".join(f"| {' | '.join(row)} |\n" if row else "\n" for row in rows)


def main() -> None:
    """Run both parts, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notes", type=int, default=200)
    parser.add_argument("--cancels", type=int, default=3_000, help="calls that are given up")
    parser.add_argument("--only", choices=("identifiers", "attacks"))
    parser.add_argument("--attacked", nargs="+", choices=tuple(SYSTEMS_RUN), help="deployments")
    parser.add_argument("--table", action="store_true", help="print the stored result and end")
    given = parser.parse_args()
    path = servers.HERE / "results" / "exposure.json"
    if given.table:
        print(tables(json.loads(path.read_text())))
        return
    result: dict[str, Any] = {"what": __doc__}
    kept: dict[str, Any] = {}
    if (given.only or given.attacked) and path.exists():
        kept = json.loads(path.read_text())
        result |= {k: kept[k] for k in ("identifiers", "attacks") if k in kept}
    if given.only != "attacks":
        sent = notes(given.notes)
        result["identifiers"] = {"time": servers.environment()["time"], **identifiers(sent)}
    if given.only != "identifiers":
        import attacks  # noqa: PLC0415 -- needs more than the first part does

        found = attacks.run(
            given.cancels,
            given.attacked or list(SYSTEMS_RUN),
            kept.get("attacks", {}) if given.attacked else {},
        )
        result["attacks"] = {"time": servers.environment()["time"], **found}
    servers.write("exposure", result)


if __name__ == "__main__":
    main()
