"""A model as a Triton repository: complete, readable for another user, never half there."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

import tiny_models
from wardgate.errors import ManifestInvalid
from wardgate.registry import export
from wardgate.registry.export import Options, buckets, model_name, write
from wardgate.registry.manifest import Tensor, parse
from wardgate.registry.store import LoadedModel


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    files = {
        "model.onnx": tiny_models.fingerprint().graph,
        "tokenizer.json": tiny_models.tokenizer_json(),
    }
    return LoadedModel(parse(tiny_models.as_json(tiny_models.manifest(files))), files)


def parsed(model, options=None) -> model_config_pb2.ModelConfig:
    """The configuration, read by Triton's own schema: an unknown field or a wrong type fails."""
    return text_format.Parse(
        export.config(model, options or Options()), model_config_pb2.ModelConfig()
    )


# -- buckets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longest", "lengths"),
    [
        (0, ()),
        (8, (8,)),
        (16, (16,)),
        (17, (16, 17)),
        (64, (16, 32, 48, 64)),
        (256, (16, 32, 48, 64, 96, 128, 192, 256)),
        (512, (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)),
    ],
)
def test_the_lengths_are_these(longest, lengths) -> None:
    assert buckets(longest) == lengths


@given(st.integers(8, 8192))
def test_every_row_has_a_bucket_that_is_not_much_longer(longest) -> None:
    lengths = buckets(longest)
    assert lengths[-1] == longest
    assert list(lengths) == sorted(set(lengths))
    for shorter, longer in itertools.pairwise(lengths):
        assert longer <= 2 * shorter


# -- the configuration ----------------------------------------------------------------------------


def test_the_name_proves_the_files(model) -> None:
    found = parsed(model)
    assert found.name == model_name("tiny", model.id.digest) == f"tiny.{model.id.digest[:16]}"
    assert found.parameters["digest"].string_value == model.id.digest
    assert found.parameters["model"].string_value == "tiny"
    assert found.parameters["version"].string_value == "1"
    assert found.parameters["buckets"].string_value == "16,32,48,64"


def test_the_tensors_are_the_manifests(model) -> None:
    found = parsed(model)
    assert [(item.name, item.data_type, list(item.dims)) for item in found.input] == [
        ("input_ids", model_config_pb2.TYPE_INT64, [-1]),
        ("attention_mask", model_config_pb2.TYPE_INT64, [-1]),
    ]
    assert [(item.name, item.data_type, list(item.dims)) for item in found.output] == [
        ("logits", model_config_pb2.TYPE_FP32, [2])
    ]


def test_batches_form_by_priority_and_end_by_deadline(model) -> None:
    options = Options(
        max_batch_size=24, preferred=(24, 8), max_queue_delay_us=500, queue_policy=True
    )
    found = parsed(model, options)
    batching = found.dynamic_batching
    assert found.max_batch_size == 24
    assert list(batching.preferred_batch_size) == [8, 24]
    assert batching.max_queue_delay_microseconds == 500
    assert (batching.priority_levels, batching.default_priority_level) == (2, 1)
    policy = batching.default_queue_policy
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    assert policy.allow_timeout_override
    assert policy.max_queue_size > 0
    # an override may only shorten it: the longest `limits.timeout_ms` must fit
    assert policy.default_timeout_microseconds >= 60_000_000


def test_a_container_has_priorities_and_a_queue_policy_unless_told_otherwise(model) -> None:
    for backend, asked, there in (
        ("python", None, False),
        ("onnxruntime", None, True),
        ("tensorrt", None, True),
        ("python", True, True),
        ("onnxruntime", False, False),
    ):
        batching = parsed(model, Options(backend=backend, queue_policy=asked)).dynamic_batching
        assert (batching.priority_levels == 2) is there
        assert batching.HasField("default_queue_policy") is there


def test_only_the_python_backend_takes_several_lengths_in_one_call(model) -> None:
    for backend, ragged in (("python", True), ("onnxruntime", False), ("tensorrt", False)):
        found = parsed(model, Options(backend=backend, gpus=1))
        assert {item.allow_ragged_batch for item in found.input} == {ragged}


def test_one_instance_group_for_each_gpu_or_the_processor(model) -> None:
    kinds = model_config_pb2.ModelInstanceGroup
    (group,) = parsed(model, Options(gpus=2)).instance_group
    assert (group.kind, group.count, list(group.gpus)) == (kinds.KIND_GPU, 1, [0, 1])
    (group,) = parsed(model, Options(instances=3)).instance_group
    assert (group.kind, group.count, list(group.gpus)) == (kinds.KIND_CPU, 3, [])


def test_every_bucket_is_warmed_with_one_row_and_with_all(model) -> None:
    found = parsed(model, Options(max_batch_size=4))
    content = export.files(model, Options(max_batch_size=4))
    shapes = set()
    for sample in found.model_warmup:
        for name in ("input_ids", "attention_mask"):
            data = sample.inputs[name]
            (length,) = data.dims
            raw = content[f"warmup/{data.input_data_file}"]
            np.testing.assert_array_equal(np.frombuffer(raw, np.int64), np.ones(length))
        shapes.add((sample.batch_size, length))
    assert shapes == {(rows, length) for rows in (1, 4) for length in (16, 32, 48, 64)}


def test_tensorrt_builds_its_plan_for_the_shapes_that_come(model) -> None:
    found = parsed(model, Options(backend="tensorrt", gpus=1, max_batch_size=8))
    assert found.backend == "onnxruntime"
    (accelerator,) = found.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_min_shapes"] == "input_ids:1x16,attention_mask:1x16"
    assert accelerator.parameters["trt_profile_max_shapes"] == "input_ids:8x64,attention_mask:8x64"


def test_a_tensor_model_batches_only_where_every_first_dimension_is_open(model) -> None:
    for first, batch, dims in (("batch", 32, [3]), (4, 0, [4, 3])):
        manifest = dataclasses.replace(
            model.manifest,
            kind="tensor",
            max_length=0,
            inputs=(Tensor("features", "FP32", (first, 3)),),
            outputs=(Tensor("risk", "FP64", (first, 3)),),
        )
        found = parsed(LoadedModel(manifest, model.files))
        assert found.max_batch_size == batch
        assert list(found.input[0].dims) == dims
        assert found.HasField("dynamic_batching") is bool(batch)
        assert not found.model_warmup


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_whatever_a_manifest_says_stays_a_text(model, version) -> None:
    manifest = dataclasses.replace(model.manifest, version=version)
    found = parsed(LoadedModel(manifest, model.files))
    assert found.parameters["version"].string_value == version


# -- the folder -----------------------------------------------------------------------------------


def test_it_is_complete_and_another_user_may_read_it(model, tmp_path) -> None:
    written = write(model, tmp_path / "models")
    assert written == tmp_path / "models" / model_name("tiny", model.id.digest)
    assert (written / "1" / "model.onnx").read_bytes() == model.graph
    assert (written / "1" / "model.py").read_bytes() == export.PYTHON_BACKEND.read_bytes()
    assert [path.name for path in written.parent.iterdir()] == [written.name]
    for path in written.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    assert not (
        write(model, tmp_path / "c", Options(backend="onnxruntime")) / "1/model.py"
    ).exists()


def test_the_same_again_changes_nothing(model, tmp_path) -> None:
    first = write(model, tmp_path)
    before = (first / "config.pbtxt").stat().st_mtime_ns
    assert write(model, tmp_path) == first
    assert (first / "config.pbtxt").stat().st_mtime_ns == before
    assert len(list(tmp_path.iterdir())) == 1


def test_another_is_never_overwritten(model, tmp_path) -> None:
    first = write(model, tmp_path)
    graph = first / "1" / "model.onnx"
    graph.write_bytes(b"another")
    with pytest.raises(ManifestInvalid, match=re.escape(first.name)):
        write(model, tmp_path)
    assert graph.read_bytes() == b"another"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_beside_or_in_place_of_a_model_is_refused(model, tmp_path) -> None:
    first = write(model, tmp_path / "one")
    (first / "2").symlink_to(tmp_path)  # Triton would take the highest version
    with pytest.raises(ManifestInvalid, match=re.escape(first.name)):
        write(model, tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / first.name).symlink_to(write(model, tmp_path / "three"))
    with pytest.raises(ManifestInvalid, match=re.escape(first.name)):
        write(model, tmp_path / "two")


def test_no_version_but_ours_is_ever_taken(model) -> None:
    assert list(parsed(model).version_policy.specific.versions) == [int(export.VERSION)]


def test_a_folder_that_cannot_be_written_is_said(model, tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ManifestInvalid, match="cannot be written"):
        write(model, tmp_path / "file")


def test_what_fails_halfway_leaves_nothing(model, tmp_path, monkeypatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "fsync", full)
    with pytest.raises(ManifestInvalid, match="cannot be written"):
        write(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_for_torch_go_along_where_the_model_has_both(model) -> None:
    both = {**model.files, "weights.safetensors": b"w", "config.json": b"c"}
    torch = {"1/weights.safetensors", "1/config.json"}
    whole = LoadedModel(model.manifest, both)
    assert torch <= export.files(whole, Options(gpus=1)).keys()
    # on a processor, and by the other backends, the graph runs
    assert not torch & export.files(whole, Options()).keys()
    assert not torch & export.files(whole, Options(backend="onnxruntime", gpus=1)).keys()
    del both["config.json"]
    assert not torch & export.files(whole, Options(gpus=1)).keys()
