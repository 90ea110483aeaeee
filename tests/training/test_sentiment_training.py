"""The training steps on a made-up sample; needs the training environment (torch)."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402
from tokenizers.pre_tokenizers import Whitespace  # noqa: E402
from tokenizers.processors import TemplateProcessing  # noqa: E402
from training.sentiment.__main__ import arrays, finish  # noqa: E402
from training.sentiment.calibrate import NOTES, calibration, ranges  # noqa: E402
from training.sentiment.data import (  # noqa: E402
    Augment,
    Example,
    Gazetteer,
    epoch_batches,
    split,
    tag_mentions,
)
from training.sentiment.evaluate import Model, check_digests  # noqa: E402
from training.sentiment.export import Weights, float32, static, write  # noqa: E402
from training.sentiment.model import Sentiment, load_pretrained  # noqa: E402
from training.sentiment.restore import restored  # noqa: E402
from training.sentiment.shape import Shape  # noqa: E402
from training.sentiment.train import Recipe, Run, blend, encode, rate_at  # noqa: E402

GOOD = ["good", "fine", "lovely", "warm", "bright"]
BAD = ["bad", "poor", "ugly", "cold", "dim"]
OTHER = [f"w{number}" for number in range(60)]
SMALL = Shape(vocabulary=90, positions=256, width=32, inner=64, heads=4, layers=2)
NAMES = Gazetteer(frozenset({"jane"}), frozenset({"roe"}), frozenset({"springfield"}))
RECIPE = Recipe(epochs=2, batch=8, rate=2e-3, average=0.9, bfloat16=False, smoothing=0.0)


def sentences(count: int) -> list[Example]:
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        label = number % 2
        words = list(rng.choice(OTHER, 12)) + list(rng.choice(GOOD if label else BAD, 3))
        rng.shuffle(words)
        made.append(Example(" ".join(words), label))
        made.append(Example(" ".join(words[:6]), label))
        made.append(Example(" ".join(words[3:11]), label))
    return made


def tokenizer() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *OTHER]
    made = Tokenizer(WordLevel({word: at for at, word in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def make_run(work, recipe: Recipe = RECIPE) -> Run:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    return Run(
        model=Sentiment(SMALL),
        tokenizer=tokenizer(),
        train=sentences(40),
        held=sentences(10),
        gazetteer=NAMES,
        recipe=recipe,
        work=work,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    run = make_run(tmp_path_factory.mktemp("whole"))
    run.go(save_every=5, judge_every=5, progress=False)
    return run


def test_no_sentence_straddles_the_split() -> None:
    examples = sentences(200)
    train, held = split(examples, 0.1, seed=3)
    assert len(held) >= 0.05 * len(examples)
    assert not {e.text for e in train} & {e.text for e in held}

    def grams(part: list[Example]) -> set[tuple[str, ...]]:
        found = set()
        for example in part:
            words = example.text.split()
            found |= {tuple(words[at : at + 5]) for at in range(len(words) - 4)}
        return found

    assert not grams(train) & grams(held)
    assert split(examples, 0.1, seed=3) == (train, held)


def test_a_stopped_run_ends_with_the_same_weights(trained: Run, tmp_path) -> None:
    make_run(tmp_path).go(save_every=3, judge_every=5, stop_at=7, progress=False)
    second = make_run(tmp_path)
    assert second.step == 7
    second.go(save_every=3, judge_every=5, progress=False)
    assert second.step == trained.step
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name]), name
        assert torch.equal(trained.average[name], second.average[name]), name
    assert second.best == trained.best


def test_a_state_of_another_recipe_is_refused(trained: Run) -> None:
    with pytest.raises(SystemExit, match="another recipe"):
        make_run(trained.work, dataclasses.replace(RECIPE, rate=1e-3))


def test_training_learns(trained: Run) -> None:
    assert trained.history[-1]["loss"] < 0.6
    assert trained.best["accuracy"] > 0.6


def test_the_outcome_is_the_mean_of_the_runs(trained: Run, tmp_path) -> None:
    other = make_run(tmp_path, dataclasses.replace(RECIPE, rate=1e-3))
    other.go(save_every=50, judge_every=5, progress=False)
    mean, figures = blend([trained, other])
    one, two = (torch.load(run.work / "best.pt")["model"] for run in (trained, other))
    assert torch.allclose(mean["head.bias"], (one["head.bias"] + two["head.bias"]) / 2)
    assert not torch.equal(one["dense.weight"], two["dense.weight"])
    assert figures["score"] > 0.6


def test_a_target_is_the_labels_and_the_teachers_share() -> None:
    assert Example("a", 1).target(0.8) == 1.0
    assert Example("a", 1, taught=0.5).target(0.8) == pytest.approx(0.6)
    assert Example("a", 0, taught=0.5).target(0.8) == pytest.approx(0.4)
    assert Example("a", 0, taught=0.9).target(0.0) == 0.0


def test_a_student_follows_its_teacher_rather_than_the_labels(tmp_path) -> None:
    run = make_run(tmp_path, dataclasses.replace(RECIPE, distil=1.0))
    run.train = [dataclasses.replace(each, taught=1.0 - each.label) for each in run.train]
    figures = run.go(save_every=50, judge_every=5, progress=False)
    assert run.history[-1]["accuracy"] < 0.4, figures


def test_the_teachers_network_is_mpnet(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.MPNetConfig(
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=258, layer_norm_eps=1e-5,
    )  # fmt: skip
    theirs = transformers.MPNetModel(config).eval()
    torch.nn.init.normal_(theirs.encoder.relative_attention_bias.weight)
    theirs.save_pretrained(tmp_path)
    ours = Sentiment(dataclasses.replace(SMALL, epsilon=1e-5, relative=32)).eval()
    load_pretrained(ours, tmp_path / "model.safetensors")
    seen = []
    ours.layers[-1].register_forward_hook(lambda _module, _given, out: seen.append(out))
    ids = torch.randint(4, 90, (3, 200))
    mask = torch.ones_like(ids)
    ids[1, 50:], mask[1, 50:] = 1, 0
    with torch.no_grad():
        ours(ids, mask)
        wanted = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    assert ((seen[0] - wanted).abs() * mask[:, :, None]).max() < 1e-5


def rounded(weights: Weights) -> onnx.ModelProto:
    texts = [example.text for example in sentences(20)]
    return static(weights, SMALL, ranges(weights, SMALL, tokenizer(), texts))


def loaded(model: onnx.ModelProto, folder) -> Model:
    write(model, folder / "model.onnx")
    (folder / "tokenizer.json").write_text(tokenizer().to_str())
    return Model.load(folder / "model.onnx", folder / "tokenizer.json")


@pytest.mark.parametrize(("form", "allowed"), [("float32", 1e-5), ("static", 0.1)])
def test_graph_agrees_with_torch(trained: Run, tmp_path, form: str, allowed: float) -> None:
    weights = arrays(trained.model)
    model = loaded(float32(weights, SMALL) if form == "float32" else rounded(weights), tmp_path)
    texts = [example.text for example in sentences(8)]
    trained.model.eval()
    with torch.no_grad():
        wanted = trained.model(*encode(trained.tokenizer, texts, 64)).numpy()
    found = model.run([model.ids(text) for text in texts])
    assert np.abs(found - wanted).max() < allowed


def test_neighbours_and_padding_do_not_move_a_row(trained: Run, tmp_path) -> None:
    model = loaded(rounded(arrays(trained.model)), tmp_path)
    rows = [model.ids(example.text) for example in sentences(6)]
    alone = np.concatenate([model.run([row]) for row in rows])
    assert np.abs(model.run(rows, pad_to=100) - alone).max() < 1e-5


def test_whole_weights_leave_room_for_sixteen_bit_sums(trained: Run) -> None:
    model = rounded(arrays(trained.model))
    used = {node.input[1] for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"}
    assert len(used) == 4 * SMALL.layers
    for tensor in model.graph.initializer:
        if tensor.name in used:
            largest = int(np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max())
            assert 2 * 255 * largest < 2**15


def test_weights_read_from_the_rounded_file_round_to_the_same(trained: Run, tmp_path) -> None:
    given = arrays(trained.model)
    first = rounded(given)
    write(first, tmp_path / "model.onnx")
    back = restored(tmp_path / "model.onnx", SMALL)
    assert back.keys() == given.keys()
    for name, weight in given.items():
        assert np.abs(back[name] - weight).max() <= np.abs(weight).max() / 100, name
    used = {node.input[1] for node in first.graph.node if node.op_type == "MatMulIntegerToFloat"}
    again = {tensor.name: tensor.raw_data for tensor in rounded(back).graph.initializer}
    for tensor in first.graph.initializer:
        if tensor.name in used:
            assert again[tensor.name] == tensor.raw_data, tensor.name


def test_calibration_is_the_same_whenever_asked(tmp_path) -> None:
    (tmp_path / NOTES).parent.mkdir()
    lines = [json.dumps({"text": f"patient {number} is well. " * 80}) for number in range(3)]
    (tmp_path / NOTES).write_text("\n".join(lines))
    texts = calibration(sentences(10), NAMES, tmp_path)
    assert texts == calibration(sentences(10), NAMES, tmp_path)
    assert sum("patient" in text for text in texts) == 3


def test_release_names_every_file_and_notices_a_change(trained: Run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.sentiment.place.RESULTS", tmp_path / "results.json")
    out = tmp_path / "model"
    texts = [example.text for example in sentences(20)]
    finish([trained], sentences(20), texts, out, {})
    manifest = check_digests(out)
    assert set(manifest["files"]) == {"model.onnx", "tokenizer.json", "README.md"}
    assert not list(out.glob("*.part"))
    kept = json.loads((out / "tokenizer.json").read_text())
    assert kept["truncation"] is None
    assert kept["padding"] is None
    (out / "README.md").write_text("another card")
    with pytest.raises(SystemExit, match=r"README\.md"):
        check_digests(out)


def test_mentions_become_tags() -> None:
    text = "on march 3 jane roe 's film opened in springfield"
    assert tag_mentions(text, NAMES) == "on [DATE] [NAME] 's film opened in [LOCATION]"
    assert tag_mentions("jane eyre may surprise", NAMES) == "jane eyre may surprise"


def test_an_epoch_is_the_same_whenever_asked() -> None:
    def epoch(number: int) -> list[list[tuple[str, float]]]:
        return list(
            epoch_batches(
                sentences(50),
                NAMES,
                Augment(),
                size=8,
                short_share=0.5,
                distil=0.0,
                seed=4,
                epoch=number,
            )
        )

    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert any("[" in text for batch in epoch(0) for text, _ in batch)


def test_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[0] < rates[5]
    assert rates[99] < 0.01
