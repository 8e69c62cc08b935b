"""Takes secrets out of command lines before they leave the host.

argv ─▶ which program? ─▶ each argument: option, KEY=VALUE, header, URL, token ─▶ text, `***` inside

In doubt it takes out too much: what is readable is worth less than what is secret. What it works on
is bounded, so that no command line and no pattern can hold the agent up.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from agent import secret_names
from agent.secret_names import NO_PROGRAM, PROGRAMS, is_secret
from hostpulse import patterns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.secret_names import Program

MASK = "***"
INPUT_MAX = 4096  # characters of a command line that are looked at
ARGUMENTS_MAX = 256
HELD_BACK = 256  # characters at the end of an argument that was cut
CUT = "\u2026"
DEPTH_MAX = 3  # a command in an argument of a command in an argument
WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+|[\"'])+")
OPTION = re.compile(r"(--?|/)([A-Za-z_][A-Za-z0-9_.-]*)(?:([=:])([\s\S]*))?")
CLUSTER = re.compile(r"-[A-Za-z]{2,6}")
SUFFIX = re.compile(r"[0-9.]+$|\.exe$|\.bin$", re.IGNORECASE)
LOGIN = re.compile(r"([A-Za-z0-9_$#]+/)[^\s@/]+(@\S*)?")


class RedactionMode(enum.StrEnum):
    """How much of a command line leaves the host."""

    FULL = "full"  # all of it, as it is
    REDACTED = "redacted"  # arguments, with secrets taken out
    NAMES = "names"  # the name of the program alone

    def tightened(self, other: RedactionMode) -> RedactionMode:
        """Return the tighter of two modes."""
        order = list(RedactionMode)
        return max(self, other, key=order.index)


class Redactor:
    """Redacts command lines, by its own rules and by patterns of the operator's.

    Args:
        extra: Patterns from `hostpulse.patterns`; what they match is taken out, too.
    """

    def __init__(self, extra: Sequence[re.Pattern[str]] = ()) -> None:
        self._extra = extra

    def command_line(self, argv: Sequence[str]) -> str:
        """Return the arguments joined with blanks, without secrets, cut to INPUT_MAX."""
        bounded = _bounded(argv)
        redacted = self.arguments(bounded)
        for index, (whole, cut) in enumerate(zip(argv, bounded, strict=False)):
            if len(cut) < len(whole):  # a secret may begin just before the cut
                redacted[index] = redacted[index][:-HELD_BACK] + CUT
        return " ".join(redacted)

    def arguments(self, argv: Sequence[str], *, depth: int = 0) -> list[str]:
        """Return the arguments without secrets."""
        program = NO_PROGRAM
        awaited: str | None = None  # what the next argument is: a secret, or a pair with one
        hidden: set[int] = set()
        redacted: list[str] = []
        for index, argument in enumerate(argv):
            if (known := _program(argument)) is not None:
                program = known if known.subcommand in ("", *argv) else NO_PROGRAM
                if known.last_with and _has_switch(argv, known.last_with):
                    hidden.add(len(argv) - 1)
            name = argument if known is None else _base(argument)
            hidden |= {index + n for word, n in program.positions if name == word}
            if index in hidden and index:
                redacted.append(_hide(argument))
            elif awaited is not None and not _is_option(argument):
                redacted.append(_pair(argument, awaited) if awaited else _hide(argument))
            else:
                redacted.append(self._argument(argument, program, first=index == 0, depth=depth))
                awaited = _awaits(argument, program)
                continue
            awaited = None
        return redacted

    def _argument(self, argument: str, program: Program, *, first: bool, depth: int) -> str:
        """Redact an argument that no option before it speaks of."""
        for option in program.attached:
            if argument.startswith(option) and len(argument) > len(option):
                return option + MASK
        if argument[:2] in program.pair and len(argument) > 2:
            return argument[:2] + _pair(argument[2:], program.separators)
        if program.slashed and (login := LOGIN.fullmatch(argument)):
            return f"{login[1]}{MASK}{login[2] or ''}"
        if not first and (option := OPTION.fullmatch(argument)) and option[3]:
            mark, name, separator, value = option.groups()
            if (mark != "/" or separator == ":") and is_secret(name):
                return f"{mark}{name}{separator}{_hide(value)}"
            if f"{mark}{name}" in program.pair:
                return f"{mark}{name}{separator}{_pair(value, program.separators)}"
            if mark == "--":
                return f"{mark}{name}{separator}{self._text(value, depth)}"
        return self._text(argument, depth)

    def _text(self, text: str, depth: int) -> str:
        """Redact what stands by itself: a word, a header, a URL, a command line in quotes."""
        text = secret_names.PRIVATE_KEY.sub(MASK, text)
        if header := secret_names.HEADER.match(text):
            closing = text[-1] if text.lstrip()[0] in "\"'" and text[-1] in "\"'" else ""
            return f"{header[1]} {MASK}{closing}"
        text = secret_names.OPENSSL_PASS.sub(rf"\1{MASK}", text)
        text = secret_names.URL_PASSWORD.sub(rf"\1{MASK}@", text)
        text = secret_names.URL_TOKEN.sub(rf"\1{MASK}@", text)
        text = secret_names.WEBHOOKS.sub(rf"\1{MASK}", text)
        text = secret_names.SCHEMES.sub(rf"\1\2{MASK}", text)
        text = secret_names.TOKENS.sub(MASK, text)
        text = secret_names.JSON_PAIR.sub(_json, text)
        text = secret_names.LOOSE_PAIR.sub(_loose, text)
        text = secret_names.SQL_PASSWORD.sub(rf"\1{MASK}", text)
        for pattern in self._extra:
            text = pattern.sub(MASK, text)
        inner = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else None
        if depth < DEPTH_MAX and inner is not None:
            return f"{text[0]}{self._text(inner, depth + 1)}{text[0]}"
        words = list(WORD.finditer(text))
        if depth >= DEPTH_MAX or len(words) < 2:
            return _assignments(text)
        redacted = iter(self.arguments([word[0] for word in words], depth=depth + 1))
        return WORD.sub(lambda _: next(redacted), text)


def _bounded(argv: Sequence[str]) -> list[str]:
    """Cut a command line to what is looked at; what is cut is not sent."""
    kept: list[str] = []
    left = INPUT_MAX
    for argument in argv[:ARGUMENTS_MAX]:
        if left <= 0:
            break
        kept.append(argument[: min(left, patterns.TEXT_MAX)])
        left -= len(kept[-1]) + 1
    return kept


def _base(argument: str) -> str:
    """Return the name of a program without its directory."""
    return argument.rpartition("/")[2] if len(argument) < patterns.TEXT_MAX else ""


def _program(argument: str) -> Program | None:
    """Return the rules of the program that an argument names; None where it names none."""
    name = _base(argument)
    return PROGRAMS.get(name) or PROGRAMS.get(SUFFIX.sub("", name))


def _has_switch(argv: Sequence[str], letter: str) -> bool:
    return any(each[:1] == "-" and each[:2] != "--" and letter in each for each in argv)


def _is_option(argument: str) -> bool:
    """Whether an argument is the next option rather than the value of the one before."""
    return re.match(r"--[a-z]|-[A-Za-z]$", argument) is not None


def _awaits(argument: str, program: Program) -> str | None:
    """Say what the next argument is: "" for a secret, separators for a pair with one."""
    if argument in program.pair:
        return program.separators
    if argument in program.following:
        return ""
    if program.pair and CLUSTER.fullmatch(argument) and f"-{argument[-1]}" in program.pair:
        return program.separators
    if argument[-1:] in (":", "=") and is_secret(argument[:-1]) and "/" not in argument:
        return ""
    option = OPTION.fullmatch(argument)
    if option is None or option[1] == "/" or option[3]:
        return None
    return "" if is_secret(option[2]) and (option[1] == "--" or len(option[2]) > 1) else None


def _pair(text: str, separators: str) -> str:
    """Hide what stands behind the first separator."""
    for at, character in enumerate(text):
        if character in separators:
            return text[: at + 1] + MASK
    return text


def _hide(value: str) -> str:
    """Hide a value, unless it says by itself that it is none."""
    return value if secret_names.HARMLESS_VALUE.fullmatch(value) else MASK


def _json(found: re.Match[str]) -> str:
    quote, name, between, value = found.groups()
    if not is_secret(name):
        return found[0]
    mark = value[0] if value[0] in "\"'" else ""
    return f"{quote}{name}{quote}{between}{mark}{MASK}{mark}"


def _loose(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    return f"{name}{between}{_hide(value)}" if is_secret(name) else found[0]


def _assignments(text: str) -> str:
    """Hide the values of KEY=VALUE where the key says that it is a secret."""
    done: list[str] = []
    place = 0
    while found := secret_names.ASSIGNED.search(text, place):
        before, name, separator = found.groups()
        if not is_secret(name) or (separator[-1] == ":" and not _ends_secret(name)):
            done.append(text[place : found.end(2)])
            place = found.end(2)
            continue
        end = _value_end(text, found.end(), before)
        done += (text[place : found.end()], _hide(text[found.end() : end]))
        place = end
    return "".join(done) + text[place:]


def _ends_secret(name: str) -> bool:
    """Whether a name ends with what makes it a secret: `db_password:`, not `secret-store:`."""
    return is_secret(re.split(r"[-_.]", name)[-1])


def _value_end(text: str, begin: int, before: str) -> int:
    """Return where a value ends: what stands before its key says what it is a part of."""
    if text[begin : begin + 1] in ("'", '"'):
        end = text.find(text[begin], begin + 1)
        return len(text) if end < 0 else end + 1
    stops = secret_names.VALUE_ENDS.get(before, "")
    ends = [at for stop in stops if (at := text.find(stop, begin)) >= 0]
    return min(ends, default=len(text))
