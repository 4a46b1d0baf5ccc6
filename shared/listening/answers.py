"""The answers of a listening test: a CSV with a row for each sound, saved after each answer, and its summary."""

import csv
import dataclasses
import io
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.errors import UserError
from shared.evaluation.listeners import agreement, wilson_interval
from shared.files import write_text
from shared.listening.trials import REAL

RECORDED, MADE = "recorded", "made"


@dataclasses.dataclass(frozen=True)
class Answer:
    """A listener's answer to one sound.

    Attributes:
        sound, source, label: of the ``Trial``.
        answer: the class that the listener named.
        origin: "recorded" or "made", what the listener took the sound for.
        seconds: time from the first display of the sound to the answer.
    """

    sound: str
    source: str
    label: str
    answer: str
    origin: str
    seconds: float


FIELDS = [field.name for field in dataclasses.fields(Answer)]


def write_answers(path: Path, answers: Sequence[Answer]) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(vars, answers))
    write_text(path, table.getvalue())


def read_answers(path: Path, *, flag: str) -> list[Answer]:
    """The answers of a file.

    Args:
        flag: the option that named it.

    Raises:
        UserError: it cannot be read, or was not written by ``write_answers``.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        answers = [Answer(*(row[name] for name in FIELDS[:-1]), float(row["seconds"])) for row in rows]
        if any(answer.origin not in (RECORDED, MADE) or None in vars(answer).values() for answer in answers):
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"{flag} {path}: no such file; give one that frequency-quest listen wrote") from None
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        raise UserError(f"{flag} {path}: holds no answers of frequency-quest listen; give another file") from None
    return answers


def summarise(listeners: Sequence[Sequence[Answer]]) -> str:
    """A table with a row for each source and class, and sentences, for the answers of one or more listeners.

    Intervals are Wilson's. Answers of several listeners to one sound are not independent, so n is the number of sounds.
    """
    answers = [answer for given in listeners for answer in given]
    if not answers:
        return "no answers yet"
    classes = sorted({answer.label for answer in answers})
    sources = sorted({answer.source for answer in answers}, key=lambda source: (source != REAL, source))
    rows = [("", "answers", "class named right", "taken for recorded")]
    for source in sources:
        of_source = [answer for answer in answers if answer.source == source]
        rows.append(_row("real clips" if source == REAL else f"made by {source}", of_source))
        if len(classes) > 1:
            by_class = {label: [answer for answer in of_source if answer.label == label] for label in classes}
            rows += [_row(f"  {label}", those) for label, those in by_class.items() if those]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    told_apart = _share(answers, lambda answer: (answer.origin == RECORDED) == (answer.source == REAL))
    lines += ["", f"Recorded and made told apart: {told_apart}. Guessing gives 50 %."]
    if len(classes) > 1:
        lines.append(f"Guessing names the class right in {100 / len(classes):.0f} % of the cases.")
    lines.append("In parentheses: 95 % intervals.")
    if len(listeners) > 1:
        lines += _agreements(listeners)
    return "\n".join(lines)


def _row(name: str, answers: Sequence[Answer]) -> tuple[str, str, str, str]:
    right = _share(answers, lambda answer: answer.answer == answer.label)
    recorded = _share(answers, lambda answer: answer.origin == RECORDED)
    return name, str(len(answers)), right, recorded


def _share(answers: Sequence[Answer], test: Callable[[Answer], bool]) -> str:
    """The mean over sounds of the share of answers that pass the test, with its interval."""
    by_sound = defaultdict(list)
    for answer in answers:
        by_sound[answer.sound].append(test(answer))
    share = sum(sum(passed) / len(passed) for passed in by_sound.values()) / len(by_sound)
    low, high = wilson_interval(share, len(by_sound))
    return f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _agreements(listeners: Sequence[Sequence[Answer]]) -> list[str]:
    lines = [f"{len(listeners)} listeners."]
    for what, field in (("the class", "answer"), ("recorded or made", "origin")):
        by_sound = defaultdict(list)
        for answer in (answer for given in listeners for answer in given):
            by_sound[answer.sound].append(getattr(answer, field))
        found = agreement(list(by_sound.values()))
        if found is None:
            return [*lines, "No two of them heard the same sound, so their agreement is unknown."]
        alpha = "" if math.isnan(found[1]) else f" (Krippendorff's alpha {found[1]:.2f})"
        lines.append(f"They agree on {what} in {100 * found[0]:.0f} % of pairs{alpha}.")
    return lines
