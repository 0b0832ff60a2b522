"""Scores in running text: "an F1 score of 92.15 on the test split of FUNSD"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from verify.claims.form.document import BULLET, Block, plain
from verify.claims.form.frontmatter import Lines
from verify.claims.form.values import NUMBER, Number, from_match
from verify.claims.meaning.identity import Identity, looks_like_model, words
from verify.claims.meaning.labels import read_label
from verify.claims.meaning.mentions import Mention, mentions, sensible
from verify.claims.meaning.reading import Context, Reading, quote
from verify.claims.meaning.surroundings import Surroundings, dataset_in, same_name, split_in
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key
from verify.types import Evidence, Source

LONGEST_LINE = 4_000
DIGIT = re.compile(r"\d")
_SENTENCE = re.compile(
    r"(?<=[^\W\d_]{2}[.!?])\s+(?=[A-Z\"'(\[*])|(?<=[\d%)\]][.!?])\s+(?=[A-Z\"'(\[*])|\n(?=\s*(?:[-*+•]"
    r"|\d{1,2}[.)])\s)|<br\s*/?>|[。！？]|\n\s*\n"
)
_RELATIVE = re.compile(
    r"(?:\b(?:by|than|over|above|below|under|exceed\w*|least|most|up to|within|from|more|less|fewer)\b\W*(?:[\w-]+\W+)?"
    r"|\b(?:improv\w*|gain\w*|increas\w*|decreas\w*|reduc\w*|drop\w*|loss of|degrad\w*|difference"
    r"|differ|margin|higher|lower"
    r"|better|worse|faster|slower|outperform\w*|beat\w*|surpass\w*|threshold|cut-?off|confidence"
    r"|probability|random|chance"
    r"|previous\w*|baseline\w*|sota|state[- ]of[- ]the[- ]art|human|whereas|compared|versus|vs"
    r"|instead|retain\w*|preserv\w*"
    r"|recover\w*)\b\W*(?:[\w-]+\W+){0,3})$",
    re.IGNORECASE,
)
_NOT_SCORE_AFTER = re.compile(
    r"\s*(?:[KMBGT]\b|[kmgt]?b\b|[KMGT]iB\b|[x×]|hours?|hrs?\b|days?|minutes?|mins?\b|sec\w*|ms\b"
    r"|s\b|epochs?|steps?|tokens?|param\w*|million|billion|trillion|"
    r"k\b|examples?|samples?|images?|sentences?|words?|languages?|classes|layers|times|points?\b(?! on)|px|pixels|"
    r"gpus?|tpus?|fps|hz|khz|gb|mb|°|\$|€|years?|users?|downloads?|"
    r"(?:percent|%)?\s*(?:absolute|relative|improvement|increase|decrease|reduction|gain|drop|better"
    r"|worse|higher|lower|faster|slower|smaller|larger|less|more|fewer|of (?:the )?(?:data|original"
    r"|training|time|its|examples|samples|parameters|dataset)|confidence|probability|threshold"
    r"|split|sparsity|speed))",
    re.IGNORECASE,
)
_LINK_TO_NUMBER = re.compile(
    r"(?:\W|\b(?:scores?|rates?|values?|metrics?|results?|of|is|was|are|at|to|equals?|equal|reach\w*"
    r"|achiev\w*|obtain\w*|attain\w*|around|about|approximately|roughly|"
    r"approx|a|an|the|and|with|on|in|for|our|this|model|test|validation|dev|eval\w*|set|split|data"
    r"|dataset|score|from|has|have|had|got|gets?|"
    r"overall|average|final|best|maximum|mean|respectively|both|percent\w*|it|its|that|which|nearly"
    r"|almost|currently|as|high|stands|sits|"
    r"being|comes?|evaluation|development|testing)\b)*",
    re.IGNORECASE,
)
_LINK_AFTER = re.compile(
    r"\s*(?:percent|points?)?\s*(?:[(\[]\s*)?(?:in |of |for |as )?(?:the |an? |its |overall |average "
    r"|mean |test |validation |dev |eval\w* |macro |micro |weighted )*",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:achiev\w*|reach\w*|obtain\w*|attain\w*|scor(?:es?|ed|ing)|yield\w*|get|gets|got|gives?"
    r"|gave|has|have|had|with|report\w*|result\w*|show\w*|accuracy|"
    r"perform\w*|evaluat\w*|is|was|are|were|erreich\w*|obtiene|alcanza|atteint|obtient)\b",
    re.IGNORECASE,
)
_OWN = re.compile(
    r"\b(?:our|ours|we|this (?:\w+ ){0,2}model|the model|it|this (?:checkpoint|adapter|classifier"
    r"|network|version)|the (?:final|resulting|best|trained|fine-?tuned|finetuned|released) "
    r"(?:\w+ ){0,2}(?:model|checkpoint|network|classifier))\b",
    re.IGNORECASE,
)


def read_sentences(
    block: Block, lines: Lines, around: Surroundings, file: str, assigned: set[int]
) -> Iterator[Reading]:
    raw = "\n".join(
        "" if line in assigned else lines.content(line)[:LONGEST_LINE] for line in range(block.line, block.end_line + 1)
    )
    start = 0
    bounds = [*(found.span() for found in _SENTENCE.finditer(raw)), (len(raw), len(raw))]
    for end, following in bounds:
        sentence = raw[start:end]
        if DIGIT.search(sentence):
            first = block.line + raw.count("\n", 0, start)
            yield from _sentence(sentence, first, around, file)
        start = following


def _sentence(raw: str, first: int, around: Surroundings, file: str) -> Iterator[Reading]:
    text = plain(BULLET.sub("", raw))
    if len(text) > 2_000:
        return
    named = list(mentions(text, around.vocabulary))
    if not named and not around.heading_metrics:
        return
    found: list[tuple[re.Match[str], Number, Metric, str | None]] = []
    numbers = [match for match in NUMBER.finditer(text) if match.group("sign") != "+"]
    zipped = _zip(text, named, numbers)
    previous: tuple[int, Metric] | None = None
    for position, match in enumerate(numbers):
        percent = bool(re.match(r"\s*[%％]|\s*percent\b", text[match.end() : match.end() + 12]))
        number = from_match(match, percent)
        if number is None or not _may_score(text, match, number):
            continue
        mention = zipped.get(position) or _mention_for(text, named, numbers, position)
        metric = mention.metric if mention else None
        if metric is None and previous and _continues(text[previous[0] : match.start()]):
            metric = previous[1]
        if metric is None and not named and around.heading_metrics and (percent or _VERB.search(text)):
            metric = around.heading_metrics[0] if percent or not number.is_integer else None
        if (
            metric is None
            or not sensible(number, metric, percent)
            or (number.is_integer and not percent and not mention)
        ):
            continue
        if mention and mention.split == "train":
            continue
        previous = (match.end(), metric)
        if _of_others(text, match.start(), around.identity):
            continue
        found.append((match, number, metric, mention.split if mention else None))
    yield from _readings(raw, text, first, found, around, file)


def _readings(
    raw: str,
    text: str,
    first: int,
    found: list[tuple[re.Match[str], Number, Metric, str | None]],
    around: Surroundings,
    file: str,
) -> Iterator[Reading]:
    used = 0
    whole_split = split_in(text, around.vocabulary) or _only_split(text, around.vocabulary)
    dataset = dataset_in(text, around.vocabulary) or _leading_name(text, around.vocabulary)
    for position, (match, number, metric, split) in enumerate(found):
        place = _find_number(raw, number.literal, used)
        if place < 0:
            continue
        used = place + len(number.literal)
        line = first + raw.count("\n", 0, place)
        content = raw[raw.rfind("\n", 0, place) + 1 : (raw.find("\n", place) + 1 or len(raw) + 1) - 1]
        until = found[position + 1][0].start() if position + 1 < len(found) else len(text)
        own_split = split or _split_near(text[match.end() : until], around.vocabulary)
        own_split = (
            own_split
            or (_split_near(text[: match.start()], around.vocabulary) if position == 0 else None)
            or whole_split
        )
        if own_split == "train":
            continue
        base = around.context
        here = (dataset_in(text[match.end() : until], around.vocabulary) if len(found) > 1 else None) or dataset
        settings = {**around.settings, **read_label(text[-160:], around.vocabulary).settings}
        context = Context(base.task, base.dataset, base.dataset_name, None, own_split or base.split, settings)
        if here and not same_name(here, base):
            context = Context(dataset=here, split=own_split or base.split, settings=settings)
        yield Reading(
            metric=metric,
            number=number,
            evidence=Evidence(Source.PROSE, file, line, line, quote(content, number.literal), number.literal),
            context=context,
            block=f"{file}:sentence:{first}",
        )


def _leading_name(text: str, vocabulary: Vocabulary) -> str | None:
    """A name that is directly followed by a metric and a number, as in "SC2016 acc 73.44%"."""
    found = re.match(r"([A-Z][\w+-]*(?:[A-Z]|\d)[\w+-]*) ([\w@-]+)[ :=]+\d", text)
    return (
        found.group(1) if found and vocabulary.metric(found.group(2)) and not looks_like_model(found.group(1)) else None
    )


def _find_number(raw: str, literal: str, start: int) -> int:
    """Where ``literal`` stands in ``raw`` as a number of its own."""
    for found in NUMBER.finditer(raw, start):
        if found.group().lstrip("+") == literal:
            return found.end() - len(literal)
    return -1


def _zip(text: str, named: list[Mention], numbers: list[re.Match[str]]) -> dict[int, Mention]:
    """As many names as numbers, all names first, as in "Precision and recall of 0.9 and 0.8"."""
    scoring = [position for position, match in enumerate(numbers) if "." in match.group() or "," in match.group()]
    if len(named) < 2 or len(named) != len(scoring) or named[-1].end > numbers[scoring[0]].start():
        return {}
    return dict(zip(scoring, named, strict=True))


def _mention_for(text: str, named: list[Mention], numbers: list[re.Match[str]], position: int) -> Mention | None:
    """The metric whose name belongs to a number: "an F1 score of 92.15", "91.3% accuracy"."""
    match = numbers[position]
    for mention in named:
        if match.end() <= mention.start:
            gap = re.sub(r"^\s*[%％]", "", text[match.end() : mention.start])
            if _LINK_AFTER.fullmatch(gap):
                return mention
            break
    before = [mention for mention in named if mention.end <= match.start()]
    for mention in reversed(before):
        gap = text[mention.end : match.start()]
        if len(gap) > 90 or any(
            mention.end <= other.start() and other.end() <= match.start() and "." in other.group() for other in numbers
        ):
            return None
        if (
            _LINK_TO_NUMBER.fullmatch(gap)
            or re.search(r"[:=]\s*[*_\"'`~≈]*$", gap)
            or re.search(r"\b(?:of|is|was|:|=|at|to|reaches|achieves)\s*[~≈*_]*$", gap)
        ):
            return mention
        return None
    return None


def _continues(gap: str) -> bool:
    """True between the numbers of one list: "83.82% for validation dataset, and 84.42%"."""
    return len(gap) < 90 and bool(re.search(r"(?:,|;|\band\b|/|&|\()", gap)) and not re.search(r"[:=]", gap)


def _may_score(text: str, match: re.Match[str], number: Number) -> bool:
    before, after = text[max(0, match.start() - 70) : match.start()], text[match.end() : match.end() + 40]
    if _NOT_SCORE_AFTER.match(re.sub(r"^\s*[%％]", "", after)) and not re.match(r"\s*[%％]?\s*points? on", after):
        return False
    if re.match(r"\s*[-–]\s?[a-zA-Z]", after) or re.match(r"[-–/]\d", after):
        return False
    if number.is_integer and not number.percent_sign and number.decimal > 100:
        return False
    clause = re.split(r"[,;:]\s|\band\b", before)[-1]
    return not _RELATIVE.search(clause)


def _of_others(text: str, position: int, identity: Identity) -> bool:
    """True if the clause before a number has another model for its subject, and not this one."""
    clause = re.split(r"[.;]\s", text[:position])[-1]
    aside = clause[clause.rfind("(") + 1 :] if clause.rfind("(") > clause.rfind(")") else ""
    if re.search(r"\b(?:comparison|compared|versus|vs|baseline|original|teacher)\b", aside, re.IGNORECASE):
        return True
    nearest_own = max((found.end() for found in _OWN.finditer(clause)), default=-1)
    nearest_other = -1
    for found in re.finditer(r"[A-Za-z][\w./-]*(?:[ -][A-Z0-9][\w.-]*)*", clause):
        name = found.group()
        squashed = key(name)
        if squashed and any(
            squashed in own or own in squashed for own in identity.names if len(own) >= 4 and len(squashed) >= 4
        ):
            nearest_own = max(nearest_own, found.end())
        elif looks_like_model(name) and not set(words(name)) <= identity.words:
            follows = clause[found.end() : found.end() + 60]
            if re.match(
                r"[^,]{0,40}?\b(?:achiev|reach|obtain|scor|get|got|has|had|yield|attain|with|is|was|:|\()", follows
            ) or re.search(r"\b(?:than|of|by|to|vs\.?|for|the) (?:the )?$", clause[: found.start()]):
                nearest_other = max(nearest_other, found.end())
    return (nearest_other > nearest_own and nearest_own < 0) or (
        nearest_other > nearest_own
        and bool(
            re.search(r"\b(?:while|whereas|than|compared|vs|versus|against)\b", clause[max(nearest_own, 0) :], re.I)
        )
    )


def _only_split(text: str, vocabulary: Vocabulary) -> str | None:
    """The split that a sentence names if it names one only."""
    named = {vocabulary.splits.get(key(word)) for word in re.findall(r"[a-zA-Z]+", text)} - {None, "train"}
    return named.pop() if len(named) == 1 else None


def _split_near(text: str, vocabulary: Vocabulary) -> str | None:
    for word in re.findall(r"[a-zA-Z]+", text[:80]):
        if (split := vocabulary.splits.get(key(word))) and (split != "train" or word.casefold() == "training"):
            return split
    return None
