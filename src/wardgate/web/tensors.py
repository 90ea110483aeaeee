"""Tensor models over the Open Inference Protocol: a path of their own, since no text goes through.

A tensor model's manifest, which a trusted key has signed, says `phi_free`: its inputs hold no PHI.
Its callers need the scope `tensor:<model>`; nothing is de-identified, and the record says so by the
policy `none` and the obligation `phi-free-tensors`. Known, permitted and admitted, intent, run,
outcome: as for text. What serves changes as for text too (`web/follow.py`), but for all at once:
each worker runs these models itself, proves a version before it serves, and lets go of it once its
last call has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wardgate.audit.record import Ticket
from wardgate.auth.authorize import PURPOSES
from wardgate.auth.permissions import may_tensor
from wardgate.engine.runner import Port, TensorModel, TensorRunner
from wardgate.errors import BodyInvalid, Forbidden, ManifestInvalid, ModelUnknown
from wardgate.flow import Admitted, Flow
from wardgate.registry.golden import Value
from wardgate.registry.manifest import Tensor
from wardgate.registry.store import LoadedModel
from wardgate.request import conclude
from wardgate.setting_groups import Limits
from wardgate.types import Intent, ModelId, Outcome, RequestContext
from wardgate.web import oip
from wardgate.web.arrays import arrays, wanted
from wardgate.web.oip_reply import Answer, Output
from wardgate.web.served import Leases, Rule

POLICY = "none"
OBLIGATION = "phi-free-tensors"


class Tensors:
    """The tensor models that serve in this process; a `Host` of `web/follow.py`."""

    def __init__(self) -> None:
        self._models: dict[str, TensorModel] = {}
        self._leases = Leases()

    def prepare(self, model: LoadedModel) -> TensorModel:
        """Load a model, and have its golden examples come out right.

        Raises ManifestInvalid, also where an example comes out wrong, and ModelOutputInvalid.
        """
        manifest = model.manifest
        made = TensorModel(model.id, model.graph, _ports(manifest.inputs), _ports(manifest.outputs))
        for number, golden in enumerate(manifest.tensor_golden, 1):
            which = f"golden example {number} of {len(manifest.tensor_golden)}"
            try:
                inputs = arrays(made.inputs, _given(made.inputs, golden.inputs))
                right = arrays(made.outputs, _given(made.outputs, golden.outputs))
                found = made.prove(inputs)
            except BodyInvalid:
                raise ManifestInvalid(f"{which} is not of the model's tensors") from None
            if not all(_close(found[name], right[name], golden.tolerance) for name in right):
                raise ManifestInvalid(f"{which} came out wrong")
        return made

    def differs(self, model: TensorModel, beside: TensorModel) -> str:
        """Say why a version cannot take the place of another: its callers must not notice."""
        for ports, others in ((model.inputs, beside.inputs), (model.outputs, beside.outputs)):
            if {p.name: (p.dtype, p.sizes) for p in ports} != {
                p.name: (p.dtype, p.sizes) for p in others
            }:
                return "its tensors are not those of the version that serves"
        return ""

    def take(self, generation: int, rules: Mapping[str, Rule[Any]]) -> None:
        """Go by these rules from the next request on."""
        self._models = {name: rule.stable for name, rule in rules.items()}
        self._leases.take(generation)

    @property
    def drained(self) -> int:
        """As `Served.drained`."""
        return self._leases.drained

    def __contains__(self, name: str) -> bool:
        """Whether a model of this name serves, in whatever version."""
        return name in self._models

    def find(self, name: str, version: str | None) -> TensorModel:
        """Return the model that serves. Raises ModelUnknown where none, or another version does."""
        found = self._models.get(name)
        if found is None or version not in (None, found.id.version):
            raise ModelUnknown
        return found

    def lease(self) -> Callable[[], None]:
        """Hold what serves now; call what this returns, once, to let it go."""
        return self._leases.enter()


@dataclass(frozen=True, slots=True)
class TensorPath:
    """What both transports call for a model that it serves."""

    flow: Flow
    runner: TensorRunner
    models: Tensors
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
        leave = self.models.lease()
        try:
            with self.flow.refusing(admitted):
                if not may_tensor(admitted.principal, model):
                    raise Forbidden(reason="scope-model")
                found = self.models.find(model, version)
                oip.check_id(inference.id)
                context = oip.context(inference.parameters, self.limits, cap_ms)
                _check(context)
                ports = wanted(found.outputs, inference.outputs)
                tensors = arrays(found.inputs, inference.inputs)
                admitted.hops.mark("authorize")
                intent = self.flow.recorder.intent(_intent(admitted, found.id, context, digest))
            outputs = await self._run(admitted, found, tensors, context, intent)
        finally:
            leave()
        said = {
            "policy": POLICY,
            "digest": found.id.digest,
            "request_id": admitted.head.request_id,
        }
        given = [Output(p.name, p.dtype, outputs[p.name].shape, outputs[p.name]) for p in ports]
        return Answer(found.id.name, found.id.version, said, given)

    async def _run(
        self,
        admitted: Admitted,
        model: TensorModel,
        tensors: dict[str, NDArray[Any]],
        context: RequestContext,
        intent: Ticket,
    ) -> dict[str, NDArray[Any]]:
        """Run the model within the deadline; both records are durable when this returns."""

        async def work(deadline: float) -> dict[str, NDArray[Any]]:
            outputs = await self.runner.infer(model, tensors, deadline=deadline)
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


def _ports(tensors: Sequence[Tensor]) -> tuple[Port, ...]:
    return tuple(Port(each.name, each.dtype, each.shape) for each in tensors)


def _given(ports: Sequence[Port], values: Mapping[str, Value]) -> list[oip.Input]:
    kinds = {port.name: port.dtype for port in ports}
    return [oip.Input(name, kinds[name], value.shape, value.data) for name, value in values.items()]


def _close(found: NDArray[Any], right: NDArray[Any], tolerance: float) -> bool:
    return found.shape == right.shape and np.allclose(found, right, rtol=0, atol=tolerance)


def _intent(admitted: Admitted, model: ModelId, context: RequestContext, digest: str) -> Intent:
    return Intent(
        request_id=admitted.head.request_id,
        trace_id=admitted.head.trace_id,
        principal=admitted.principal,
        route=admitted.head.route,
        purpose=context.purpose,
        policy=POLICY,
        policy_hash="",
        model=model,
        patient_pseudonym=None,
        body_digest=digest,
        obligations=frozenset({OBLIGATION}),
    )


def _check(context: RequestContext) -> None:
    """Refuse what means something for a text alone."""
    if any(
        given is not None for given in (context.policy, context.patient, context.reference_date)
    ):
        raise BodyInvalid(
            "A tensor model takes no policy, patient or reference_date.", reason="tensor-parameters"
        )
    if context.purpose is not None and context.purpose not in PURPOSES:
        raise BodyInvalid(
            "The purpose is not a code of the HL7 v3 value set PurposeOfUse.",
            reason="purpose-unknown",
        )
