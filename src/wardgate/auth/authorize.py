"""Scope x model x policy x purpose: what a principal may do with this one request.

A policy that is not stronger than the default needs its own scope on every route. What is not
granted is denied; an unknown policy or purpose is refused, never replaced.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from wardgate.auth.permissions import SAFE_HARBOR, may_deidentify, may_infer, permit
from wardgate.errors import BodyInvalid, Forbidden, PolicyUnknown
from wardgate.types import Decision, Permission, Principal

PURPOSES = frozenset(
    """
    HMARKT HOPERAT CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP
    HQUALIMP HSYSADMIN LABELING METAMGT MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV
    HTEST TRAIN HPAYMT CLMATTCH COVAUTH COVERAGE ELIGDTRM ELIGVER ENROLLM MILDCRG REMITADV HRESCH
    BIORCH CLINTRCH CLINTRCHNPC CLINTRCHPC PRECLINTRCH DSRCH POARCH TRANSRCH PATRQT FAMRQT PWATRNY
    SUPNWK PUBHLTH DISASTER THREAT TREAT CLINTRL COC ETREAT BTG ERTREAT POPHLTH
    """.split()  # noqa: SIM905 -- sixty quoted strings read worse
)
"""HL7 v3 PurposeOfUse codes, as FHIR R4 lists them in
http://terminology.hl7.org/ValueSet/v3-PurposeOfUse (the code `PurposeOfUse` itself is a heading).
"""

NOT_SAFE_HARBOR = "not-safe-harbor"
"""Obligation: the reply and the record say that the text is not de-identified by Safe Harbor."""


def authorize(
    principal: Principal,
    *,
    action: Permission,
    model: str | None,
    policy: str | None,
    default_policy: str,
    purpose: str | None,
    policies: Mapping[str, int],
    safe_harbor: Container[str] = frozenset({SAFE_HARBOR}),
) -> Decision:
    """Decide about one request, and which de-identification policy applies to it.

    `policy` None takes `default_policy`. `policies` maps each policy to its strength: a higher
    number removes more. The action DEID needs the scope of the policy it applies; the action INFER
    needs it where that policy is neither the default nor stronger than the default. `safe_harbor`
    holds the policies whose text is de-identified by that standard.

    Raises Forbidden where a scope is missing, PolicyUnknown for a policy that does not exist,
    BodyInvalid for a purpose that is no PurposeOfUse code.
    """
    permit(principal, action)
    if purpose is not None and purpose not in PURPOSES:
        raise BodyInvalid(
            "The purpose is not a code of the HL7 v3 value set PurposeOfUse.",
            reason="purpose-unknown",
        )
    if action is Permission.INFER and (model is None or not may_infer(principal, model)):
        raise Forbidden(reason="scope-model")
    applied = default_policy if policy is None else policy
    if applied not in policies or default_policy not in policies:
        raise PolicyUnknown
    own_scope = action is Permission.DEID or not (
        applied == default_policy or policies[applied] > policies[default_policy]
    )
    if own_scope and not may_deidentify(principal, applied):
        raise Forbidden(reason="scope-policy")
    obligations = frozenset() if applied in safe_harbor else frozenset({NOT_SAFE_HARBOR})
    return Decision(applied, obligations)
