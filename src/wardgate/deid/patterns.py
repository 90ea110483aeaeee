"""The patterns for numbers, dates and addresses of the net. Pure: text in, matches out.

Every pattern is linear in its input: it starts with a small set of characters, has bounded repeats,
and no repeat inside a repeat can match the same text in two ways. Patterns read folded text
(`fold.py`): ASCII digits, hyphens, spaces and letters.
"""

from __future__ import annotations

import re

MONTH = (
    r"(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_AGE_UNIT = (
    r"(?i:[- ]{0,2}(?:years?|yrs?)\b|[- ]?y[./]?o\b|[- ]?y\.o\.|-?[MFmf]\b(?![./-])"
    r"|(?:st|nd|rd|th)?[ ]birthday)"
)
_STREET = (
    r"(?:St|Street|Ave|Avenue|Av|Blvd|Boulevard|Rd|Road|Ln|Lane|Dr|Drive|Ct|Court|Cir|Circle|Pl|Place"
    r"|Ter|Terrace|Way|Pkwy|Parkway|Hwy|Highway|Sq|Square|Trl|Trail|Loop|Plaza|Crescent|Close|Alley"
    r"|Broadway|Row|Walk|Run|Pike|Turnpike|Tpke|Crossing|Xing|Path|Point|Ridge|View|Heights|Grove"
    r"|ST|STREET|AVE|AVENUE|BLVD|BOULEVARD|RD|ROAD|LN|LANE|DR|DRIVE|CT|COURT|CIR|PL|PLACE|WAY|PKWY|HWY"
    r"|street|avenue|boulevard|blvd|ave)"
)
_UNIT = (
    r"(?:,?[ ](?i:apt|apartment|suite|ste|unit|rm|room|floor|fl|bldg|building|#)\.?[ ]?#?[ ]?"
    r"[0-9A-Za-z-]{1,6}\b)?"
)

NUMBERS = re.compile(
    # no part of another number, but for the second date of 3/14/2019-3/20/2019
    r"[0-9](?<![0-9A-Za-z_][0-9])(?:(?<![0-9][./-][0-9])|(?<=[/.-][12][0-9]{3}-[0-9])|(?<=/[0-9]{2}-[0-9]))(?:"
    # 2019-03-14, 2019-03-14T10:43:00Z
    r"(?P<iso>(?<=[12])[0-9]{3}(?P<s1>[-/.])(?:1[0-2]|0?[1-9])(?P=s1)(?:[12][0-9]|3[01]|0?[1-9])"
    r"(?![0-9])(?:T[0-9:.]{2,15}(?:Z|[+-][0-9:]{2,5})?)?)"
    # 3/14/2019, 7-27-18, 14.03.2019
    r"|(?P<mdy>[0-9]?(?P<s2>[ ]?/[ ]?|[-.])[0-9]{1,2}(?P=s2)(?:[12][0-9]{3}|[0-9]{2})(?![0-9]|(?P=s2)[0-9]))"
    # 3/2019
    r"|(?P<my>[0-9]?[/-](?:18|19|20)[0-9]{2}(?![0-9/-]))"
    r"|(?P<ym>(?<=[12])[0-9]{3}-(?:1[0-2]|0[1-9])(?![0-9/-]))"
    # 3/14, 3/14-3/16
    r"|(?P<md>[0-9]?/[0-9]{1,2}(?:-[0-9]{1,2}/[0-9]{1,2})?(?![0-9/]|\.[0-9]))"
    # 14 March 2019, 3rd of March, 14-Mar-19
    r"|(?P<dmon>[0-9]?(?:-[0-9]{1,2})?(?:st|nd|rd|th)?(?:[ ]of[ ]|[ ./-]{0,2})(?=[JFMASONDjfmasond])" + MONTH + r"(?![A-Za-z])"
    r"(?:,?[ ./-]{0,2}[12][0-9]{3}(?![0-9])|[/-][0-9]{2}(?![0-9])|[ ]?'[0-9]{2}(?![0-9]))?)"
    # 123-45-6789
    r"|(?P<ssn>[0-9]{2}(?P<s3>[- .])[0-9]{2}(?P=s3)[0-9]{4}(?![0-9]))"
    # 212-555-0100, (212) 555-0100, 555-0100
    r"|(?P<phone>(?:[0-9]{2}|(?<=1)[-. ]\(?[0-9]{3})(?:\)[ -]?|[-./][ ]?|[ ])[0-9]{3}[-. ][ ]?[0-9]{4}(?![0-9]))"
    r"|(?P<local>[0-9]{2}-[0-9]{4}(?![0-9-]))"
    r"|(?P<ip>[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?(?![0-9]|\.[0-9]))"
    r"|(?P<card>[0-9]{3}(?P<s4>[ -])(?:[0-9]{4}(?P=s4)[0-9]{4}(?P=s4)[0-9]{1,7}|[0-9]{6}(?P=s4)[0-9]{5})(?![0-9]))"
    # 93-year-old, 101 y.o., 92F, 95th birthday
    r"|(?P<age>(?:(?<=9)[0-9]|(?<=1)(?:[01][0-9]|2[0-5]))" + _AGE_UNIT
    + r"(?![ -](?:percent|%|history|hx|follow|warranty|prior|ago|survival|risk|old (?:house|home|records|building))))"
    # 12 North Main Street, Apt 4
    r"|(?P<street>[0-9]{0,5}[A-Za-z]?[ ](?:(?:[NSEWnsew]|[NSns][EWew])\.?[ ])?"
    r"(?:(?:[A-Z]|[0-9]{1,3}(?=[snrt][tdh]))[A-Za-z0-9'.-]{0,24}[ ]){1,4}" + _STREET + r"\b\.?(?:[ ][NSEW]{1,2}\b)?" + _UNIT + r")"
    # 28045/02: an application at a court
    r"|(?P<case>[0-9]{3,4}/[0-9]{2}(?![0-9/]))"
    # 92 in `Maria Delgado, 92, of Boston`, `aged 95`, `she is 93.`, `in her 90s`
    r"|(?P<old>(?:(?<=[ (:=-]9)[0-9]|(?<=[ (:=-]1)(?:[01][0-9]|2[0-5]))(?:'?s\b|-[0-9]{2,3}\b)?(?=[,.;:)!?\n\]]|$|[ ](?![x*/%]))(?![.,:][0-9]))"
    r")"
)  # fmt: skip
"""Everything that starts with a digit and has a shape; `lastgroup` names the shape."""

GROUPS = re.compile(
    r"[0-9](?=[0-9 .-]{7})(?<![0-9A-Za-z_][0-9])(?<![0-9][./-][0-9])[0-9]{0,4}(?:[ .-][0-9]{2,4}){1,5}(?![0-9A-Za-z]|[/-][0-9A-Za-z])"
)
"""Groups of digits, such as 51 516 33 75; read apart from the rest, which they may hold."""

MONTHS = re.compile(
    r"[JFMASONDjfmasond](?<![\w'].)(?:(?<=[Jj])(?i:an(?:uary)?|une?|uly?)|(?<=[Ff])(?i:eb(?:ruary)?)"
    r"|(?<=[Mm])(?i:ar(?:ch)?|ay)|(?<=[Aa])(?i:pr(?:il)?|ug(?:ust)?)|(?<=[Ss])(?i:ept?(?:ember)?)"
    r"|(?<=[Oo])(?i:ct(?:ober)?)|(?<=[Nn])(?i:ov(?:ember)?)|(?<=[Dd])(?i:ec(?:ember)?))(?![A-Za-z])"
    r"(?:\.?,?[ ./-]{0,2}(?:(?P<y4>[12][0-9]{3})(?![0-9])"
    r"|(?:the[ ])?(?P<d>[0-9]{1,2})(?![0-9/:])(?:st|nd|rd|th)?(?:-[0-9]{1,2}(?![0-9/-]))?(?:(?:,|[ ]of|\.)?[ ./-]{0,2}(?P<y>[12][0-9]{3})(?![0-9])"
    r"|[/-](?P<y2>[0-9]{2})(?![0-9])|,?[ ]?'(?P<y3>[0-9]{2})(?![0-9]))?"
    r"|(?:the[ ])?(?P<word>(?i:(?:twenty|thirty)(?:[ -](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|nineth|one|two|three|four|five|six|seven|eight|nine))?"
    r"|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thirteenth"
    r"|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|thirtieth)\b)))?"
)
"""A month by name, and the day and year that may follow it."""

CODES = re.compile(
    r"[0-9](?<![0-9].)(?:(?<=[A-Za-z_-].)|(?<![\w/@.'].)(?=[A-Za-z0-9_.-]{3}))[A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+){0,8}"
)
"""A token of four characters or more from its first digit on; letters may stand left of it."""

BARE_YEAR = re.compile(r"[1](?<![\w./,$-].)(?:8[5-9]|9[0-9])[0-9]'?s?(?![\w/-]|\.[0-9]|:[0-9])")
"""A year of the nineteenth or twentieth century that stands alone."""

EMAIL = re.compile(
    r"[@](?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![A-Za-z])|[@][A-Za-z0-9_]{2,30}"
)
URL = re.compile(
    r"[hHfFwW](?<![A-Za-z@].)(?:(?<=[hH])(?i:ttps?)://|(?<=[fF])(?i:tps?)://|(?<=[wW])(?i:ww)[.0-9])[^\s<>\"'\])}|]{3,2048}"
)
DOMAIN = re.compile(
    r"[.](?i:com|org|net|edu|gov|io|info|us|uk|ca|de|fr|health|care|app|ai|biz|co)(?![A-Za-z0-9@-])"
    r"(?:\.[a-z]{2}(?![A-Za-z0-9]))?(?:/[^\s<>\"'\])}|,]{0,256})?"
)
IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![\w:.].)(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,45}(?:\.[0-9]{1,3}){0,3}(?![\w:])"
)
MAC = re.compile(
    r"[0-9A-Fa-f](?<![\w:-].)[0-9A-Fa-f](?:(?P<s>[:-])[0-9A-Fa-f]{2})(?:(?P=s)[0-9A-Fa-f]{2}){4}(?![\w:-])"
)
PLUS_PHONE = re.compile(r"[+](?<![\w].)[0-9]{1,3}(?:[ .()/-]{0,2}[0-9]{1,5}){2,6}(?![0-9])")
UDI = re.compile(
    r"[(](?:01\)[ ]?[0-9]{14}(?:[ ]?\((?:1[0-7]|21|240|11)\)[ ]?[A-Za-z0-9/_-]{1,20}){0,5}|(?:21|10)\)[ ]?[A-Za-z0-9/_-]{4,20})"
)
FILE = re.compile(r"[.](?i:jpe?g|png|gif|tiff?|bmp|heic|dcm|webp|raw)(?![A-Za-z0-9])")
IBAN = re.compile(r"[A-Z](?<![\w].)[A-Z][0-9]{2}(?=[ ]?[A-Z0-9]{4}[ ]?[A-Z0-9])")
PO_BOX = re.compile(
    r"[Pp](?<![\w].)(?:(?i:\.?[ ]?o\.?)|(?i:ost[ ]office))[ ](?i:box)[ ]#?[0-9]{1,7}\b"
)
AGE_WORDS = re.compile(
    r"[nNoOcC](?<![\w-].)(?:(?i:inety)(?:[- ](?i:one|two|three|four|five|six|seven|eight|nine))?(?=[- ](?i:years?|y/?o|yr))"
    r"|(?i:ne[- ]hundred)(?:(?:[- ](?i:and))?[- ](?i:one|two|three|four|five|six|seven|eight|nine|ten))?(?=[- ](?i:years?|y/?o|yr))"
    r"|(?i:onagenarians?|entenarians?)\b)"
)
TEXT_DIGITS = re.compile(
    r"[zotfsenZOTFSEN](?<![\w-].)(?i:(?<=z)ero|(?<=o)(?:ne|h)|(?<=t)(?:wo|hree)|(?<=f)(?:our|ive)|(?<=s)(?:ix|even)|(?<=e)ight|(?<=n)ine)"
    r"(?:[- ,]{1,3}(?i:zero|one|oh|two|three|four|five|six|seven|eight|nine|double|triple|dash)){5,24}(?![\w])"
)
BASE64 = re.compile(r"[A-Za-z0-9+/](?<![\w+/=.-].)[A-Za-z0-9+/]{11,4096}={0,2}(?![\w+/=])")
