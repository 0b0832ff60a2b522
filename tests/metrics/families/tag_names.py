"""Tags as data sets name them: those of each scheme, and odd ones."""

PREFIXES = {"IOB1": "BI", "IOB2": "BI", "IOE1": "IE", "IOE2": "IE", "IOBES": "BIES", "BILOU": "BILU"}
ODD = [
    "U",
    "L-PER",
    "LABEL_3",
    "B",
    "I",
    "E",
    "S",
    ".",
    "-",
    "B-",
    "I--X",
    "B-PER-TITLE",
    "I-PER-",
    "O-PER",
    "NOUN",
    "b-PER",
    "é",
]


def tags_of(scheme):
    return ["O", *(f"{prefix}-{kind}" for prefix in PREFIXES[scheme] for kind in ("PER", "LOC", "X-Y"))]
