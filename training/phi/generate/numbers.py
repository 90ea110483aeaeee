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


def panel(rng: Rng) -> str:
    """Return several laboratory values with units, ranges and flags, in one of many layouts."""
    rows = rng.pick((1, 2, 3, 4, 6))
    layout = rng.pick(
        (
            "{name} {value} {unit} ({low}-{high})",
            "{name}: {value} [{low} - {high}] {flag}",
            "{name}\t{value}\t{flag}\t{low}-{high}\t{unit}",
            "{name:<14}{value:>7} {flag:<3}{low}-{high} {unit}",
            "{name} {value} (ref {low}-{high})",
            "{name}|{value}|{unit}|{low}-{high}|{flag}|F",
            "{name} {value}{flag} (nl {low} to {high})",
            "{name:.<16}{value} {flag}  Ref: {low}\u2013{high}",
            "{name} {value} > {high}",
            "{name} {other}->{value}",
            "{name} {value} <-- {other} <-- {third}",
            "{name} {value} / {other} / {third}",
            "{name} {value} (was {other})",
            "{name} {value}-{other}-{third}",
        )
    )
    joint = rng.pick((", ", "; ", "  ")) if len(layout) < 32 and rng.chance(0.5) else "\n"
    found = []
    for _ in range(rows):
        places = rng.pick((0, 0, 1, 1, 2))
        low = rng.between(0, rng.pick((5, 40, 150))) + rng.random()
        high = low + rng.pick((1, 4, 20, 100)) * (0.4 + rng.random())
        values = [low + (high - low) * (rng.random() * 1.8 - 0.4) for _ in range(3)]
        text = [f"{abs(value):.{places}f}" for value in (*values, low, high)]
        found.append(
            layout.format(
                name=rng.pick(FORMS["labs"]),
                value=text[0],
                other=text[1],
                third=text[2],
                low=text[3],
                high=text[4],
                unit=rng.pick(("mg/dL", "mmol/L", "g/dL", "K/uL", "U/L", "%", "ng/mL", "mEq/L")),
                flag=rng.pick(("", "", "H", "L", "HH", "*", "N", "A")),
            )
        )
    return joint.join(found)


def reference_range(rng: Rng) -> str:
    """Return a range of values as reports print one."""
    places = rng.pick((0, 1, 1, 2))
    low = rng.random() * rng.pick((2, 10, 60))
    high = low + rng.random() * rng.pick((2, 10, 60)) + 1
    form = rng.pick(
        ("{a}-{b}", "{a} - {b}", "({a}-{b})", "[{a}-{b}]", "{a}\u2013{b}", "<{b}", "<= {b}")
    )
    return form.format(a=f"{low:.{places}f}", b=f"{high:.{places}f}")


def visit_frequency(rng: Rng) -> str:
    """Return how often home health comes: 2w4, 1wk1 2wk3, 3x/wk x 4 wk."""
    a, b, c, d = (rng.between(1, 9) for _ in range(4))
    return rng.pick(
        (
            f"{a}w{b}",
            f"{a}w{b}",
            f"{a}w{b}, {c}w{d}",
            f"{a}w{b} {c}w{d}",
            f"{a}W{b}",
            f"{a}wk{b}",
            f"{a}wk{b}, {c}wk{d}",
            f"{a}x/wk x {b} wk",
            f"{a}x{b}wks",
            f"{a}xwk x{b}",
            f"{a}m{b}",
            f"{a}w1, {b}w{c}, 1every2w{d}",
            f"{a}w{b} + {c} PRN",
            f"{a}-{a + 1}x/week x {b}-{b + 2} weeks",
            f"q{a}w x{b}",
        )
    )


def clock_range(rng: Rng) -> str:
    """Return from one time of day to another."""
    start = rng.between(0, 22 * 60)
    end = min(start + rng.pick((15, 20, 30, 45, 50, 53, 60, 75, 90, 120)), 1439)
    hours, minutes = (start // 60, end // 60), (start % 60, end % 60)
    short = tuple((hour - 1) % 12 + 1 for hour in hours)
    return rng.pick(
        (
            f"{hours[0]:02}{minutes[0]:02}-{hours[1]:02}{minutes[1]:02}",
            f"{hours[0]:02}{minutes[0]:02}-{hours[1]:02}{minutes[1]:02}",
            f"{hours[0]:02}{minutes[0]:02} - {hours[1]:02}{minutes[1]:02}",
            f"{hours[0]:02}{minutes[0]:02} to {hours[1]:02}{minutes[1]:02}",
            f"{hours[0]:02}:{minutes[0]:02}-{hours[1]:02}:{minutes[1]:02}",
            f"{short[0]}:{minutes[0]:02}-{short[1]}:{minutes[1]:02}",
            f"{short[0]}:{minutes[0]:02}a-{short[1]}:{minutes[1]:02}p",
            f"{short[0]}-{short[1]}",
            f"{short[0]}:{minutes[0]:02} - {short[1]}:{minutes[1]:02} PM",
            f"{hours[0]:02}{minutes[0]:02}/{hours[1]:02}{minutes[1]:02}",
        )
    )


def trials(rng: Rng) -> str:
    """Return scores of several trials: 6-8-9-11-11."""
    value, scores = rng.between(3, 8), []
    for _ in range(rng.between(3, 6)):
        scores.append(str(value))
        value = max(0, value + rng.between(-1, 3))
    return rng.pick(("-", "-", "-", ", ", "/", " ", "->")).join(scores)


def refraction(rng: Rng) -> str:
    """Return what a refraction found for one eye."""
    sphere = rng.pick("+-") + f"{rng.below(36) / 4:.2f}"
    cylinder = rng.pick("+-") + f"{rng.between(1, 14) / 4:.2f}"
    axis = rng.between(1, 180)
    acuity = rng.pick((15, 20, 20, 25, 30, 40, 50, 70, 100, 200))
    form = rng.pick(
        (
            "{s} {c} x {a}",
            "{s} {c} x{a:03}",
            "{s}{c}x{a:03}",
            "{s} DS",
            "pl {c} x {a}",
            "{s} / {c} x {a} 20/{v}",
            "{s} {c} x {a:03} add +{d} 20/{v}",
            "{s} sph",
            "{s} {c} @ {a}",
        )
    )
    return form.format(s=sphere, c=cylinder, a=axis, v=acuity, d=f"{rng.between(4, 12) / 4:.2f}")


def ventilator(rng: Rng) -> str:
    """Return ventilator settings."""
    rate, volume, oxygen = rng.between(8, 34), rng.between(24, 60) * 10, rng.between(6, 20) * 5
    peep = rng.between(5, 18)
    mode = rng.pick(("AC", "VC", "ACVC", "SIMV", "PRVC", "PC", "A/C", "CMV", "VC+", "AC/VC"))
    return rng.pick(
        (
            f"{mode} {rate}/{volume}/{oxygen}/{peep}",
            f"{mode} {volume} x {rate}, PEEP {peep}, FiO2 {oxygen}%",
            f"{mode} {rate} {volume} +{peep} {oxygen}%",
            f"{mode} RR {rate} Vt {volume} FiO2 0.{oxygen:02} PEEP {peep} Pplat {peep + 12}",
            f"PS {rng.between(5, 15)}/{peep} {oxygen}%",
            f"Mode {mode} Vt {volume} f {rate}/{rate + rng.below(9)} P/F {rng.between(70, 400)}",
            f"BiPAP {rng.between(8, 20)}/{peep} {oxygen}%",
            f"HFNC {rng.between(20, 60)}L/{oxygen}%",
            f"{mode}+ {volume}/{rate}/{peep}/{oxygen} PIP {rng.between(18, 40)}",
        )
    )


def medication(rng: Rng, drugs: list[str]) -> str:
    """Return a drug with strength, quantity and directions, as pharmacies and lists write it."""
    drug, doses = rng.pick(drugs), FORMS["doses"]
    amount = rng.pick(doses) + rng.pick(("mg", " mg", " MG", "mcg", ""))
    a, b, c, d = (rng.between(1, 60) for _ in range(4))
    days = rng.pick((7, 10, 14, 30, 60, 90))
    sig = rng.pick(
        (
            "1 tab PO BID",
            "i po qd",
            "1-2 tabs po q4-6h prn",
            "T1T PO QD",
            "T1C PO TID PRN",
            "take 1 tablet by mouth daily",
            "ii gtt OU qid",
            "1 po qam, 2 po qhs",
            "PO Q12H SCH",
            "SL prn cp x3",
            "1 inh bid",
            "apply bid x 14d",
            "0.5 tab qod",
            "mwf after HD",
        )
    )
    return rng.pick(
        (
            f"{drug} {amount} {sig}",
            f"{drug} {amount} {sig} #{days} RF{rng.below(6)}",
            f"{drug.upper()} {amount} TAB #{days} {sig} R-{rng.below(6)} DAW {rng.below(10)}",
            f"{drug} {amount}: {sig}, disp {days}, ref {rng.below(12)}",
            f"{drug} {a}-{b}-{c}-{d} taper",
            f"{drug} {amount} x{a}d then {rng.pick(doses)} x{b}d",
            f"{drug} {amount} (NDC {rng.shape('#####-####-##')}) qty {days} DS {days}",
            f"{drug} {amount} {rng.below(4)}-{rng.below(4)}-{rng.below(4)}-{rng.below(3)}",
        )
    )


def staff_initials(rng: Rng) -> str:
    """Return two or three letters in a signature column; at times in small letters."""
    text = rng.shape(rng.pick(("@@", "@@", "@@@", "@@@")))
    roll = rng.random()
    return text.lower() if roll < 0.35 else ".".join(text) + "." if roll < 0.42 else text


def model(rng: Rng) -> str:
    """Return the model number of a device, which many devices share."""
    return rng.shape(
        rng.pick(
            (
                "@@-@@###@",
                "@@-###",
                "@###",
                "####",
                "@@###",
                "@#@-###",
                "@@@-####@",
                "####-##",
                "#@",
                "@#",
                "@@@@ ##",
                "@@-##@@",
                "##@#",
                "@@##-@",
                "#.#",
                "@@@ ####",
                "@####",
                "Series #",
                "Gen #",
                "Mk @@@",
                "@-###",
                "######",
                "@@@###",
            )
        )
    )
