"""Numbers that are no identifiers: vitals, doses, laboratory values, scores, codes, sizes."""

from __future__ import annotations

from training.phi.generate.rng import Rng
from training.phi.generate.words import DATA, load_words

FORMS = load_words(DATA / "numbers.txt", comment="//")
"""Section to forms; letters in braces are numbers to fill in."""


def vital(rng: Rng) -> str:
    """Return a blood pressure."""
    return f"{rng.between(84, 198)}/{rng.between(42, 110)}"


def vitals(rng: Rng) -> str:
    """Return a line of vital signs."""
    bp, hr, rr = vital(rng), rng.between(48, 138), rng.between(10, 30)
    temp, spo2 = f"{rng.between(96, 102)}.{rng.below(10)}", rng.between(86, 100)
    celsius = f"{rng.between(36, 39)}.{rng.below(10)}"
    return rng.pick(
        (
            f"BP {bp}, HR {hr}, RR {rr}, T {temp}, SpO2 {spo2}% RA",
            f"T {temp} BP {bp} P {hr} R {rr} O2 sat {spo2}% on 2L NC",
            f"VS: {temp} {hr} {bp} {rr} {spo2}%",
            f"Tmax {temp}, Tc 98.{rng.below(10)}, P {hr}, BP {bp}, R {rr}, sat {spo2}%",
            f"BP: {bp} | Pulse: {hr} | Temp: {temp} °F ({celsius} °C) | Resp: {rr} | SpO2: {spo2}%",
            f"bp {bp} hr {hr} rr {rr} t {temp} spo2 {spo2} ra",
            f"vss. bp {bp}, pulse {hr}, afebrile",
            f"Blood pressure: {bp} mmHg\nHeart rate: {hr} bpm\nTemperature: {temp} F",
            f"wt {weight(rng)}, ht {height(rng)}, BMI {rng.between(18, 48)}.{rng.below(10)}",
            f"Obs: HR {hr}, BP {bp}, RR {rr}, T {celsius}, sats {spo2}% air",
        )
    )


def weight(rng: Rng) -> str:
    """Return a body weight."""
    return rng.pick(
        (
            f"{rng.between(40, 140)}.{rng.below(10)} kg",
            f"{rng.between(90, 320)} lb",
            f"{rng.between(90, 320)} lbs",
            f"{rng.between(45, 130)}kg",
            f"{rng.between(600, 4200)} g",
        )
    )


def height(rng: Rng) -> str:
    """Return a body height."""
    return rng.pick(
        (
            f"5'{rng.between(0, 11)}\"",
            f"{rng.between(145, 200)} cm",
            f"6 ft {rng.below(5)} in",
            f"1.{rng.between(48, 95)} m",
            f"{rng.between(58, 76)} in",
        )
    )


def lab(rng: Rng) -> str:
    """Return a laboratory value."""
    value = rng.pick(
        (
            f"{rng.below(20)}.{rng.below(10)}",
            f"{rng.below(20)}.{rng.below(10)}",
            str(rng.between(2, 400)),
            str(rng.between(2, 150)),
            f"{rng.below(2)}.{rng.between(10, 99)}",
            f"<{rng.between(1, 9)}",
        )
    )
    if rng.chance(0.06):
        value = rng.pick(
            (
                f"{rng.between(100, 900)},000",
                f"{rng.between(1000, 30000)}",
                f">{rng.between(1, 30)},000",
            )
        )
    joint = rng.pick((" ", " ", ": ", " of ", " was ", "="))
    flag = rng.pick(("", "", "", " (H)", " (L)", "*", " mg/dL", " mmol/L", " H"))
    return f"{rng.pick(FORMS['labs'])}{joint}{value}{flag}"


def labs(rng: Rng) -> str:
    """Return several laboratory values."""
    return rng.pick((", ", "; ", " ", " | ", "\n")).join(lab(rng) for _ in range(rng.between(2, 6)))


def dose(rng: Rng) -> str:
    """Return an amount of a drug."""
    amount = rng.pick(FORMS["doses"])
    return f"{amount}{rng.pick((' ', ' ', ' ', ''))}{rng.pick(FORMS['units'])}"


def score(rng: Rng) -> str:
    """Return a clinical score with its value."""
    return rng.pick(FORMS["scores"]).format(
        a=rng.between(3, 15),
        b=rng.between(0, 27),
        c=rng.between(0, 5),
        d=rng.between(10, 30),
        e=rng.pick("ABC"),
        f=rng.pick(("I", "II", "III", "IV")),
        t=rng.between(2, 19) * 5,
    )


def code(rng: Rng) -> str:
    """Return a code of a classification."""
    return rng.pick(FORMS["codes"]).format(
        L=rng.pick("ABCDEFGHIJKLMNRSTZ"),
        n1=rng.below(10),
        n2=rng.between(10, 99),
        n3=rng.between(100, 999),
        n4=rng.between(1000, 9999),
        n5=rng.between(10000, 99999),
        n6=rng.between(100000, 999999),
        n8=rng.between(10000000, 499999999),
    )


def size(rng: Rng) -> str:
    """Return the size of a finding."""
    a, b, c = (f"{rng.between(0, 9)}.{rng.between(1, 9)}" for _ in range(3))
    return rng.pick(
        (
            f"{a} cm",
            f"{a} x {b} cm",
            f"{a} x {b} x {c} cm",
            f"{rng.between(2, 60)} mm",
            f"{a}x{b}mm",
            f"{a}-cm",
            f"{rng.between(2, 30)} x {rng.between(2, 30)} mm",
        )
    )
