"""Models of a sweep for tests, with verdicts as they are stored beside their results."""

from helpers.claim_making import claim, measurement
from verify.checking.verdict_json import check_object
from verify.judging.compare import failed, judge
from verify.judging.sampled import Sampled
from verify.judging.sequential import Answer
from verify.judging.tally import Judged, Swept
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.types import Interval

MATCH = Match(load_registry()["sst2"], "validation", split_known=True)


def held(literal="0.91"):
    """A claim that a full rerun confirms."""
    return judge(claim(literal, dataset="sst2"), MATCH, measurement({"accuracy": float(literal)}))


def missed(literal="0.95", measured=0.91):
    """A claim that a full rerun contradicts."""
    return judge(claim(literal, dataset="sst2"), MATCH, measurement({"accuracy": measured}))


def sampled(e_value, literal="0.95", answer=Answer.BELOW):
    """A claim of which a part of the split was run, with this evidence against it."""
    shown = Sampled(answer, Answer.BELOW, e_value, Interval(0.88, 0.93), 0.005, 0.01, 0)
    part = measurement({"accuracy": 0.91}, n=300, population=1000)
    return judge(claim(literal, dataset="sst2"), MATCH, part, 0.0, shown)


def broken(error):
    """A claim whose run failed."""
    return failed(claim("0.9", dataset="sst2"), MATCH, error, "verify check org/model")


def swept(name, *verdicts, seconds=12.0, **fields):
    """A model with these verdicts, read from what is stored of them; an ``error`` takes their place."""
    entries = check_object(name, None, 0, verdicts)["verdicts"]
    folder = None if "error" in fields else f"results/{name.replace('/', '--')}"
    return Swept(name, name, folder, seconds, tuple(map(Judged.read, entries)), **fields)
