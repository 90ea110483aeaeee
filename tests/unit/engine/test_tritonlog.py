"""What is said of Triton's log: our own sentences, and nothing that a line may quote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.engine.tritonlog import sentence

MODEL = "sentiment.0123456789abcdef"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"I1122 13:50:26.5 8589 model_lifecycle.cc:839] \"successfully loaded '{MODEL}'\"",
         f"Triton loaded the model {MODEL}."),
        (f"I1122 14:09:36.3 1 model_lifecycle.cc:624] \"successfully unloaded '{MODEL}' version 1\"",
         f"Triton unloaded the model {MODEL}."),
        (f"I1122 13:49:01.9 6956 model_lifecycle.cc:777] \"failed to load '{MODEL}'\"",
         f"Triton could not load the model {MODEL}."),
        ("I1122 13:49:01 6 pb_stub.cc:366]  Failed to initialize stub: No module named 'numpy'",
         "A model in Triton needs the Python package numpy, which is not there."),
        ('I1122 13:50:36.7 8680 grpc_server.cc:2558] "Started GRPCInferenceService at 127.0.0.1:1"',
         "Triton listens."),
        ("I1122 13:50:41.6 8690 pb_stub.cc:2145]  Non-graceful termination detected. ",
         "A model's process in Triton was left alone."),
    ],
)  # fmt: skip
def test_lines_of_known_shape_are_said_in_our_words(line, said) -> None:
    assert sentence(line) == said


@pytest.mark.parametrize(
    "line",
    [
        "",
        'E1122 13:49:01.9 6956 backend_model.cc:692] "ERROR: ValueError: Jane Doe, MRN 123"',
        "I1122 13:50:26.5 1 model_lifecycle.cc:839] \"successfully loaded 'Jane Doe'\"",
        "No module named 'jane_doe'",
        "[1 2 3]",
    ],
)  # fmt: skip
def test_all_other_lines_stay_unsaid(line) -> None:
    assert sentence(line) is None


@given(st.text(), st.sampled_from(["Triton listens", '] "Started GRPCInferenceService at ', ""]))
def test_no_sentence_holds_what_the_line_says(text, known) -> None:
    said = sentence(known + text + "canary-7731")
    assert said is None or "canary-7731" not in said
