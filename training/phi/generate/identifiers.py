"""Numbers and codes that identify somebody, in many formats."""

from __future__ import annotations

from training.phi.generate.people import Person
from training.phi.generate.rng import Rng
from training.phi.generate.words import DATA, load_words

SHAPES = load_words(DATA / "shapes.txt", comment="//")
"""Section to shapes: # a digit, @ a capital, % a small letter, & a hex digit."""

_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def shaped(rng: Rng, shapes: list[str]) -> str:
    """Return a number in one of the shapes; letters now and then in lower case."""
    shape = rng.pick(shapes)
    text = rng.shape(shape)
    return text.lower() if rng.chance(0.4 if "&" in shape else 0.03) else text


def phone(rng: Rng) -> str:
    """Return a telephone number, at times with an extension."""
    text = rng.shape(rng.pick(SHAPES["phone"]))
    if text[:1] == "(" and text[1] in "01":
        text = "(" + rng.pick("23456789") + text[2:]
    if rng.chance(0.07):
        text += rng.pick(("", " ")) + rng.shape(rng.pick(SHAPES["extension"]))
    return text


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isascii() and c.isalpha()) or "k"


def user_name(rng: Rng, who: Person) -> str:
    """Return a login, often after the person's name."""
    first, last = _plain(who.first), _plain(who.last)
    number = str(rng.between(1, 99))
    return rng.pick(
        (
            first[0] + last,
            first + "." + last,
            first[0] + last + number,
            last + first[0],
            first + number,
            f"{last}_{first[0]}",
            f"{last[:4]}{rng.digits(3)}",
            f"{first}{last[0]}{number}",
            rng.shape("%%%####"),
            f"{first}_{last}",
            f"dr{last}",
            f"{first[0]}{last[:6]}{number}",
        )
    )


def email(rng: Rng, who: Person) -> str:
    """Return an address, often after the person's name."""
    domain = rng.pick(SHAPES["domains"])
    if rng.chance(0.3):
        one, two = rng.pick(SHAPES["middles"]), rng.pick(SHAPES["middles"])
        domain = f"{one}{rng.pick(('', '-', ''))}{two}.{rng.pick(SHAPES['tops'])}"
    text = f"{user_name(rng, who)}@{domain}"
    roll = rng.random()
    return text.upper() if roll < 0.03 else text.title() if roll < 0.06 else text


def url(rng: Rng, who: Person) -> str:
    """Return a web address."""
    one, two = rng.pick(SHAPES["middles"]), rng.pick(SHAPES["middles"])
    joint, top = rng.pick(("", "-")), rng.pick(SHAPES["tops"])
    path = rng.pick(
        (
            "",
            "/",
            f"/{user_name(rng, who)}",
            f"/pt/{rng.digits(6)}",
            f"/view?id={rng.digits(5)}",
            f"/records/{rng.shape('&&&&&&').lower()}",
            f"/u/{user_name(rng, who)}/photos",
            f"/p/{rng.digits(7)}/summary.pdf",
            f"/results#{rng.digits(4)}",
            f"/share/{rng.shape('@%#%@#@%')}",
        )
    )
    scheme = rng.pick(("https://", "http://", "https://", "", "", "ftp://"))
    return f"{scheme}{rng.pick(SHAPES['hosts'])}.{one}{joint}{two}.{top}{path}"


def ip_address(rng: Rng) -> str:
    """Return an IP address, version 4 or 6."""
    if rng.chance(0.72):
        return ".".join(str(rng.below(256)) for _ in range(4))
    groups = [rng.shape("&&&&").lower().lstrip("0") or "0" for _ in range(8)]
    roll = rng.random()
    if roll < 0.4:
        return ":".join(groups)
    if roll < 0.7:
        return ":".join(groups[:2]) + "::" + ":".join(groups[6:])
    return f"fe80::{groups[4]}:{groups[5]}" if roll < 0.85 else f"2001:db8::{groups[6]}"


def photo(rng: Rng, who: Person) -> str:
    """Return the file name of a photograph or scan."""
    first, last = _plain(who.first), _plain(who.last)
    stem = rng.pick(
        (
            rng.shape("IMG_####"),
            rng.shape("DSC#####"),
            f"{last}_{first}",
            f"{last}_face_{rng.digits(2)}",
            rng.shape("photo_######"),
            rng.shape("wound-20##-##-##"),
            f"pt_{rng.digits(6)}_front",
            rng.shape("facial_####"),
            f"{first}-headshot",
            rng.shape("P#######"),
            rng.shape("IMG-20######-WA####"),
            f"{last}{rng.digits(3)}",
        )
    )
    endings = (".jpg", ".JPG", ".png", ".jpeg", ".tiff", ".heic", ".dcm", ".bmp", ".mp4")
    return stem + rng.pick(endings)


def dea(rng: Rng, who: Person) -> str:
    """Return a DEA number.

    The second letter is the surname's first, the last digit a check: the first, third and fifth
    digit and twice the others, by their last digit (21 CFR 1301).
    """
    digits = [rng.below(10) for _ in range(6)]
    check = (digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10
    initial = who.last[:1].upper() if who.last[:1].isascii() else "X"
    return rng.pick("ABFM") + initial + "".join(map(str, digits)) + str(check)


def spoken(rng: Rng, text: str) -> str:
    """Return the digits of `text` in words, grouped as its punctuation groups them."""
    words = (rng.pick(("zero", "oh")), *_NUMBER_WORDS)
    groups = "".join(c if c.isdigit() else " " for c in text).split()
    return rng.pick((", ", " ", " ")).join(
        " ".join(words[int(digit)] for digit in group) for group in groups
    )


def spoken_email(text: str) -> str:
    """Return an address said aloud."""
    return text.replace("@", " at ").replace(".", " dot ").replace("_", " underscore ")
