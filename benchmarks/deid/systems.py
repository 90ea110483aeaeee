"""De-identifiers behind one call, each run in a process of its own: `python systems.py NAME`.

It reads lines of `{"text"}` and answers each with `{"spans": [[start, end, type, score]], "us"}`:
code points of the text, and the microseconds of the call alone. A fault is `{"fault"}`, its kind
only; a call that takes longer than `_DEADLINE` is one too.

Each stands as its own documents show it, in English, with its own thresholds. Only what one needs
is imported, for each has its own environment; this file knows nothing of Wardgate's benchmark.
"""

from __future__ import annotations

import io
import json
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

Found = list[tuple[int, int, str, float]]
Detect = Callable[[str], Found]

_DEADLINE = 20.0
"""Seconds: some patterns of some systems take minutes over some texts."""


def wardgate() -> Detect:
    """Return Wardgate as it comes, policy safe_harbor; the text is rewritten as well."""
    from wardgate import Deidentifier  # noqa: PLC0415

    deidentify = Deidentifier("safe_harbor").deidentify
    return lambda text: [
        (span.start, span.end, str(span.label), span.score) for span in deidentify(text).spans
    ]


def presidio(engine: str, model: str = "", *, all_us: bool = False) -> Detect:
    """Return Presidio's analyzer with its default recognizers, or with all that it has for the US.

    The engines are its own: `no_op` reads no language, `slim` gives lemmas for the words around a
    number, `spacy` finds names, places and dates too, mapped as in its default configuration.
    """
    import presidio_analyzer  # noqa: PLC0415
    import yaml  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: PLC0415
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider  # noqa: PLC0415

    shipped = Path(presidio_analyzer.__file__).parent / "conf"
    of_engine = {"no_op": "no_op", "slim": "slim_nlp", "spacy": "default"}[engine]
    configuration = yaml.safe_load((shipped / f"{of_engine}.yaml").read_text())
    if model:
        configuration["models"][0]["model_name"] = model
    recognizers = yaml.safe_load((shipped / "default_recognizers.yaml").read_text())
    if all_us:
        for each in recognizers["recognizers"]:
            each["enabled"] = each.get("enabled", True) or each.get("country_code") == "us"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recognizers.yaml").write_text(yaml.safe_dump(recognizers))
        nlp = NlpEngineProvider(nlp_configuration=configuration).create_engine()
        registry = RecognizerRegistryProvider(
            conf_file=Path(folder) / "recognizers.yaml", nlp_engine=nlp
        ).create_recognizer_registry()
    analyzer = presidio_analyzer.AnalyzerEngine(registry=registry, nlp_engine=nlp)
    return lambda text: [
        (each.start, each.end, each.entity_type, float(each.score))
        for each in analyzer.analyze(text=text, language="en")
    ]


def philter() -> Detect:
    """Return Philter (its fork philter-lite, which has a call) with its filter list `philter_delta`.

    It replaces each letter and digit that no filter let through, so these are what it found.
    """
    import philter_lite  # noqa: PLC0415
    from philter_lite.coordinate_map import PUNCTUATION_MATCHER  # noqa: PLC0415

    _part_of_speech()
    folder = Path(philter_lite.__file__).parent
    filters = philter_lite.load_filters(str(folder / "configs" / "philter_delta.toml"))

    def detect(text: str) -> Found:
        kept, _, _ = philter_lite.detect_phi(text, patterns=filters)
        starred = philter_lite.transform_text_asterisk(text, kept)
        hidden = [
            one == "*" and not PUNCTUATION_MATCHER.match(other)
            for one, other in zip(starred, text, strict=True)
        ]
        found: Found = []
        for hit, run in groupby(range(len(text)), key=hidden.__getitem__):
            places = list(run)
            if hit:
                found.append((places[0], places[-1] + 1, "PHI", 1.0))
        return found

    return detect


def _part_of_speech() -> None:
    """Give NLTK its part-of-speech tagger.

    Its own weights come from outside the package index. Where they are not on this machine, those of
    textblob-aptagger serve: the same tagger, by the author whose code NLTK took.
    """
    import nltk  # noqa: PLC0415
    from nltk.tag import perceptron  # noqa: PLC0415

    try:
        nltk.data.find("taggers/averaged_perceptron_tagger_eng")
    except LookupError:
        file = metadata.distribution("textblob-aptagger").locate_file(
            "textblob_aptagger/trontagger-0.1.0.pickle"
        )
        tagger = perceptron.PerceptronTagger(load=False)
        tagger.model.weights, tagger.tagdict, tagger.classes = _Plain(
            io.BytesIO(Path(str(file)).read_bytes())
        ).load()
        tagger.model.classes = tagger.classes
        nltk.pos_tag = tagger.tag


class _Plain(pickle.Unpickler):
    """Reads a pickle of plain values; one that would call anything is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) in {("__builtin__", "set"), ("builtins", "set"),
                                          ("collections", "defaultdict"), ("__builtin__", "float"),
                                          ("builtins", "float")}:  # fmt: skip
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"{module_name}.{global_name} in a file of weights")


def _expire(*_: object) -> None:
    raise TimeoutError


def main() -> None:
    signal.signal(signal.SIGALRM, _expire)
    name, model = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a system prints is no answer
    detect = {
        "wardgate": wardgate,
        "presidio-rules": lambda: presidio("no_op"),
        "presidio-slim": lambda: presidio("slim", model),
        "presidio-model": lambda: presidio("spacy", model),
        "presidio-model-us": lambda: presidio("spacy", model, all_us=True),
        "philter": philter,
    }[name]()
    versions = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    print(json.dumps({"ready": name, "versions": versions}), file=answers, flush=True)
    for line in sys.stdin:
        text = json.loads(line)["text"]
        start = time.perf_counter_ns()
        try:
            signal.setitimer(signal.ITIMER_REAL, _DEADLINE)
            answer: dict[str, object] = {"spans": detect(text)}
        except Exception as error:  # noqa: BLE001 -- counted by the caller; a text may be in it
            answer = {"fault": type(error).__name__}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        answer["us"] = (time.perf_counter_ns() - start) / 1000
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
