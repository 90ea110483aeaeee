"""Tensor models over the Open Inference Protocol: a path of their own, since no text goes through.

A tensor model's signed manifest says `phi_free`: its inputs hold no PHI. Its callers need the scope
`tensor:<model>`; nothing is de-identified, and the record says so by the policy `none` and the
obligation `phi-free-tensors`. Known, permitted and admitted, intent, run, outcome: as for text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wardgate.audit.record import Ticket
from wardgate.auth.authorize import PURPOSES
from wardgate.auth.permissions import may_tensor
from wardgate.engine.runner import Port, TensorModel, TensorRunner
from wardgate.errors import (
    BodyInvalid,
    Forbidden,
    ManifestInvalid,
    ModelUnknown,
    WardgateError,
)
from wardgate.flow import Admitted, Flow
from wardgate.registry.golden import Value
from wardgate.registry.manifest import Tensor
from wardgate.registry.store import Store
from wardgate.request import conclude
from wardgate.settings import Limits, Settings
from wardgate.types import DTYPES, Intent, Outcome, RequestContext
from wardgate.web import oip
from wardgate.web.oip_reply import Answer, Output

POLICY = "none"
OBLIGATION = "phi-free-tensors"
_KINDS = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}
"""What an element of JSON may be, by numpy's kind of the data type."""


@dataclass(frozen=True, slots=True)
class TensorPath:
    """What both transports call for a model that it serves."""

    flow: Flow
    runner: TensorRunner
    models: Mapping[str, TensorModel]
    limits: Limits

    async def infer(
        self,
        admitted: Admitted,
        inference: oip.Inference,
        *,
        model: str,
        version: str | None,
        digest: str,
        cap_ms: int | None = None,
    ) -> Answer:
        """Run a model on tensors; `digest` is the keyed one of the body. Refusals are recorded."""
        try:
            if not may_tensor(admitted.principal, model):
                raise Forbidden(reason="scope-model")
            found = self.models[model]
            if version not in (None, "", found.id.version):
                raise ModelUnknown
            oip.check_id(inference.id)
            context = oip.context(inference.parameters, self.limits, cap_ms)
            _check(context)
            names = wanted(found, inference.outputs)
            tensors = arrays(found, inference.inputs)
            admitted.hops.mark("authorize")
            intent = self.flow.recorder.intent(_intent(admitted, found, context, digest))
        except WardgateError as error:
            self.flow.refuse(admitted.head, error, admitted.principal)
            raise
        outputs = await self._run(admitted, found, tensors, context, intent)
        return Answer(
            found.id.name,
            found.id.version,
            {"policy": POLICY, "request_id": admitted.head.request_id},
            [
                Output(port.name, port.dtype, outputs[port.name].shape, outputs[port.name])
                for name in names
                for port in found.outputs
                if port.name == name
            ],
        )

    async def _run(
        self,
        admitted: Admitted,
        model: TensorModel,
        tensors: dict[str, NDArray[Any]],
        context: RequestContext,
        intent: Ticket,
    ) -> dict[str, Any]:
        """Run the model within the deadline; both records are durable when this returns."""

        async def work(deadline: float) -> dict[str, Any]:
            outputs = await self.runner.infer(model.id.digest, tensors, deadline=deadline)
            admitted.hops.mark("infer")
            return outputs

        def outcome(status: int, reason: str, _: object) -> Ticket:
            return self.flow.recorder.outcome(
                Outcome(
                    request_id=admitted.head.request_id,
                    tenant=admitted.principal.tenant,
                    status=status,
                    reason=reason,
                    hops_us=admitted.hops.microseconds(),
                ),
                intent,
            )

        return await conclude(admitted.hops, context.timeout_ms / 1000, work, outcome)


def open_tensors(flow: Flow, registry: Store, settings: Settings) -> TensorPath | None:
    """Load, verify and try the tensor models that the settings name; None where there are none.

    Raises ManifestInvalid for a model of another kind, or whose golden examples come out wrong.
    """
    loaded = [registry.load(name) for name in settings.registry.tensor_models]
    if not loaded:
        return None
    for each in loaded:
        if each.manifest.kind != "tensor" or not each.manifest.phi_free:
            raise ManifestInvalid(f"{each.id.name}: expected a tensor model that is phi_free.")
    models = [
        TensorModel(
            each.id, each.graph, _ports(each.manifest.inputs), _ports(each.manifest.outputs)
        )
        for each in loaded
    ]
    runner = TensorRunner(
        models, threads=settings.engine.tensor_threads, queue=settings.engine.tensor_queue
    )
    for each, model in zip(loaded, models, strict=True):
        for golden in each.manifest.tensor_golden:
            found = runner.run(model.id.digest, _golden(model.inputs, golden.inputs))
            for name, right in _golden(model.outputs, golden.outputs).items():
                if found[name].shape != right.shape or not np.allclose(
                    found[name], right, rtol=0, atol=golden.tolerance
                ):
                    raise ManifestInvalid(f"{each.id.name}: a golden example came out wrong.")
    return TensorPath(flow, runner, {model.id.name: model for model in models}, settings.limits)


def _ports(tensors: Sequence[Tensor]) -> tuple[Port, ...]:
    return tuple(Port(each.name, each.dtype, each.shape) for each in tensors)


def _golden(ports: Sequence[Port], values: Mapping[str, Value]) -> dict[str, NDArray[Any]]:
    kinds = {port.name: DTYPES[port.dtype] for port in ports}
    return {
        name: np.array(value.data, kinds[name]).reshape(value.shape)
        for name, value in values.items()
    }


def _intent(admitted: Admitted, model: TensorModel, context: RequestContext, digest: str) -> Intent:
    return Intent(
        request_id=admitted.head.request_id,
        trace_id=admitted.head.trace_id,
        principal=admitted.principal,
        route=admitted.head.route,
        purpose=context.purpose,
        policy=POLICY,
        policy_hash="",
        model=model.id,
        patient_pseudonym=None,
        body_digest=digest,
        obligations=frozenset({OBLIGATION}),
    )


def _check(context: RequestContext) -> None:
    """Refuse what means something for a text alone."""
    if context.policy or context.patient or context.reference_date:
        raise BodyInvalid(
            "A tensor model takes no policy, patient or reference_date.", reason="tensor-parameters"
        )
    if context.purpose is not None and context.purpose not in PURPOSES:
        raise BodyInvalid(
            "The purpose is not a code of the HL7 v3 value set PurposeOfUse.",
            reason="purpose-unknown",
        )


def wanted(model: TensorModel, outputs: Sequence[oip.Wanted]) -> list[str]:
    """Return the names of the outputs to give; all where none was named. Raises BodyInvalid."""
    known = [port.name for port in model.outputs]
    oip.check_outputs(outputs, known)
    return [each.name for each in outputs] or known


def arrays(model: TensorModel, inputs: Sequence[oip.Input]) -> dict[str, NDArray[Any]]:
    """Return the inputs as arrays, of the model's names, types and sizes. Raises BodyInvalid."""
    ports = {port.name: port for port in model.inputs}
    names = [tensor.name for tensor in inputs]
    if len(set(names)) != len(names) or set(names) != set(ports):
        raise BodyInvalid(
            f"Give each input of the model once: {', '.join(ports)}.", reason="tensor-inputs"
        )
    return {tensor.name: _array(ports[tensor.name], tensor) for tensor in inputs}


def _array(port: Port, tensor: oip.Input) -> NDArray[Any]:
    wrong = BodyInvalid(
        f"Input '{port.name}' is {port.dtype} of shape {port.sizes}, its data of that size.",
        reason="tensor-shape",
    )
    if tensor.parameters or tensor.datatype != port.dtype or len(tensor.shape) != len(port.shape):
        raise wrong
    # Before the product: sizes are the caller's, and may be of any length. None is 0: beside it no
    # data bounds the others, and a graph may make an output of that size.
    if any(size < 1 or size > 1 << 31 for size in tensor.shape):
        raise wrong
    if any(own not in (-1, size) for own, size in zip(port.sizes, tensor.shape, strict=True)):
        raise wrong
    dtype = np.dtype(DTYPES[port.dtype]).newbyteorder("<")
    count = math.prod(tensor.shape)
    if isinstance(tensor.data, bytes | memoryview):
        if len(tensor.data) != count * dtype.itemsize:
            raise wrong
        if port.dtype == "BOOL" and not set(bytes(tensor.data)) <= {0, 1}:
            raise wrong
        found = np.frombuffer(tensor.data, dtype)
    else:
        elements = _flat(tensor.data, len(port.shape))
        if len(elements) != count or not _fits(elements, dtype):
            raise wrong
        with np.errstate(over="ignore"):
            found = np.array(elements, dtype)
    return found.astype(DTYPES[port.dtype], copy=False).reshape(tensor.shape)


def _fits(elements: Sequence[Any], dtype: np.dtype[Any]) -> bool:
    """Whether each element of JSON is of the kind and in the range of a data type."""
    if any(type(element) not in _KINDS[dtype.kind] for element in elements):
        return False
    if dtype.kind == "b":
        return True
    # numpy would wrap an integer around; of a float it takes any that Python has
    bounds = np.iinfo(dtype.str) if dtype.kind in "iu" else np.finfo(np.float64)
    return all(bounds.min <= element <= bounds.max for element in elements)


def _flat(data: Sequence[Any], dimensions: int) -> list[Any]:
    """Return the elements of nested lists, at most as deep as the tensor has dimensions."""
    found = list(data)
    for _ in range(dimensions - 1):
        if not found or not all(type(each) is list for each in found):
            break
        found = [element for each in found for element in each]
    return found
