"""Models on their way to the real server: what is tried and compared before one serves."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

import tiny_models
from triton_bench import loaded
from wardgate.engine.tensors import served_name
from wardgate.engine.tritonlink import Link
from wardgate.engine.tritonmodels import Present
from wardgate.errors import EngineUnavailable, ManifestInvalid, ModelOutputInvalid
from wardgate.registry import export


def link(triton):
    return triton.engine._calls.link


def ready(triton, model) -> bool:
    return triton.run(link(triton).ready(served_name(model.id), 5.0))


def test_a_model_is_written_loaded_and_taken_away_again(triton):
    models, model = triton.managed(), loaded(version="2")
    triton.run(models.load(link(triton), model))
    triton.run(models.load(link(triton), model))
    assert ready(triton, model)
    assert (triton.repository / served_name(model.id)).is_dir()
    triton.run(models.unload(link(triton), model.id))
    assert not ready(triton, model)
    assert not (triton.repository / served_name(model.id)).exists()


@pytest.mark.parametrize(
    ("tiny", "error"),
    [
        (tiny_models.always_nan(), ModelOutputInvalid),
        (tiny_models.wrong_shape(), ModelOutputInvalid),
        (tiny_models.wrong_output(), WrongGraph := (ManifestInvalid, EngineUnavailable)),
        (tiny_models.Tiny(b"no graph at all"), WrongGraph),
    ],
)
def test_a_bad_model_is_refused_before_it_serves(triton, tiny, error):
    model = loaded(tiny, version="9")
    with pytest.raises(error):
        triton.run(triton.engine.load(model))
    triton.settle()  # some graphs end the server itself
    assert not ready(triton, model)
    assert triton.run(triton.engine.check()) == (triton.model.id,)
    assert triton.run(triton.infer([4])).tolist() == [[4, 4]]


@dataclass
class Otherwise:
    """The model as another manifest would describe it."""

    id: object
    graph: bytes
    labels: tuple[str, ...]
    max_length: int = 64


def test_a_model_that_triton_describes_otherwise_is_refused(triton):
    model = loaded(version="8")
    triton.run(triton.managed().load(link(triton), model))
    other = Otherwise(model.id, model.graph, ("a", "b", "c"))
    for models in (Present(lengths=export.buckets), triton.managed()):
        with pytest.raises(ManifestInvalid):
            triton.run(models.load(link(triton), other))
    assert not ready(triton, model)


def test_without_the_key_a_triton_that_restricts_metadata_says_what_to_do(triton):
    async def scenario():
        at = dataclasses.replace(triton.endpoint, header=None, secret=None)
        stranger = Link(at)
        try:
            await Present(lengths=export.buckets).load(stranger, triton.model)
        finally:
            await stranger.close()

    with pytest.raises(EngineUnavailable, match="take 'metadata' out of its restricted"):
        triton.run(scenario())


def test_a_model_that_should_be_there_and_is_not_is_refused_by_name(triton):
    present, absent = Present(lengths=export.buckets, rows=(1, 3)), loaded(version="7")
    with pytest.raises(EngineUnavailable, match=served_name(absent.id)):
        triton.run(present.load(link(triton), absent))
    triton.run(present.load(link(triton), triton.model))
    triton.run(present.unload(link(triton), triton.model.id))
    assert ready(triton, triton.model)
