"""The Open Inference Protocol v2: the models that its calls name, whichever transport brought them.

A text model answers through the flow, a tensor model on a path of its own; a caller who may not see
a model does not learn whether it is there.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from wardgate.auth.permissions import may_see
from wardgate.errors import Forbidden, ModelUnknown
from wardgate.flow import Admitted, Ask, Flow
from wardgate.setting_groups import Limits
from wardgate.web import oip, oip_reply
from wardgate.web.tensors import TensorPath


@dataclass(frozen=True, slots=True)
class OipModels:
    """What both transports call."""

    flow: Flow
    limits: Limits
    tensors: TensorPath | None = None
    """The path of tensor models, where any is served."""

    def infer(
        self,
        admitted: Admitted,
        inference: oip.Inference,
        *,
        model: str,
        version: str | None,
        digest: str,
        cap_ms: int | None = None,
    ) -> Awaitable[oip_reply.Answer]:
        """Return the work that answers; arguments as those of `oip.ask`.

        Raises as `oip.ask`, which is not recorded; a refusal of the work is.
        """
        version = version or None
        if self.tensors is not None and model in self.tensors.models:
            admitted.hops.mark("read")
            return self.tensors.infer(
                admitted, inference, model=model, version=version, digest=digest, cap_ms=cap_ms
            )
        ask = oip.ask(
            inference,
            limits=self.limits,
            digest=digest,
            cap_ms=cap_ms,
            model=model,
            version=version,
        )
        admitted.hops.mark("read")
        return self._predict(admitted, ask, inference)

    async def _predict(
        self, admitted: Admitted, ask: Ask, inference: oip.Inference
    ) -> oip_reply.Answer:
        reply = await self.flow.predict(admitted, ask)
        return oip_reply.answer(reply, inference.outputs, admitted.head.request_id)

    def see(self, admitted: Admitted, model: str, version: str | None = None) -> oip_reply.Shown:
        """Return how a model that the caller may see is seen; a refusal is recorded.

        Raises Forbidden before it looks, ModelUnknown.
        """
        version = version or None
        with self.flow.refusing(admitted):
            if not may_see(admitted.principal, model):
                raise Forbidden(reason="scope-model")
            if self.tensors is not None and model in self.tensors.models:
                return oip_reply.tensor_model(self.tensors.models.find(model, version))
            found = [
                each
                for each in self.flow.models.served()
                if each.id.name == model and version in (None, each.id.version)
            ]
            if not found:
                raise ModelUnknown
        return oip_reply.text_model(model, [each.id.version for each in found], found[0].labels)
