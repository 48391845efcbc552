"""params.yaml, typed: every knob with its unit and its range, for the command and the forms.

The knobs themselves are described where they are used: a source and what all candidates share in
engine/settings.py, an architecture's own in its topic's settings.py.
"""

import difflib
import io
import json
import re
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import Comment, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from hour9.engine.settings import Source, settings_class
from hour9.params import (
    PARAMS,
    BadSetting,
    NotRelative,
    UnknownName,
    check_relative,
    read_params,
    write_whole,
)
from hour9.transformers.settings import WeightsConfig


class Thresholds(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What a model must satisfy, on the scale of its task's score. None asks for no gate, except
    that floor and overfitting then hold: they are asked of every model. See docs/gates.md."""

    floor: float | None = Field(description="least gain over the baseline on test")
    overfitting: float | None = Field(description="largest train minus test score")
    memorised: float | None = Field(
        None, description="largest share of written spans copied, beyond those of the real texts"
    )
    divergence: float | None = Field(
        None, ge=0, description="largest fall of the validation score after its best"
    )
    counterfactual: float | None = Field(
        None, description="largest mean change of score when only the identity is swapped"
    )
    shift: float | None = Field(
        None, description="largest mean change of output towards one of two identities"
    )
    group_gap: float | None = Field(
        None, description="largest best minus worst group's mean score, in any slice"
    )
    leakage: float | None = Field(
        None, ge=0, le=1, description="largest share of test cases with a twin in training"
    )
    identifiers: float | None = Field(
        None, ge=0, le=1, description="largest share of a target that the order of ids gives away"
    )
    calibration: float | None = Field(
        None, ge=0, le=1, description="largest expected calibration error"
    )
    robustness: float | None = Field(
        None, description="largest fall of the score when the cases are perturbed"
    )
    budget: float | None = Field(None, gt=0, description="largest model, in megabytes")
    latency: float | None = Field(
        None, gt=0, description="longest answer, in times the reference candidate's; at promotion"
    )
    seeds: float | None = Field(
        None, description="least gain over the baseline by the lower bound over an agent's seeds"
    )
    overestimation: float | None = Field(
        None, description="largest predicted minus realised value of an agent's first state"
    )


class TaskConfig(BaseModel, frozen=True, extra="forbid"):
    """A problem with its data."""

    topic: Literal["transformers", "graphs", "rl"] = Field(
        description="folder under src/hour9 that the task's module stands in"
    )
    source: Source
    reference: str = Field(description="the candidate whose time to answer others are measured by")
    thresholds: Thresholds


def check_name(name: str) -> str:
    """A name becomes part of paths and of a shell's command line: dvc.yaml's `cmd`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        allowed = "a name is of the letters a-z and A-Z, digits, - and _; - and _ do not begin it"
        raise PydanticCustomError("name", allowed)
    return name


Name = Annotated[str, AfterValidator(check_name)]


class Config(BaseModel, frozen=True, extra="forbid"):
    """All of params.yaml; a candidate's section is checked by its architecture's class."""

    probes: str = Field(
        description="relative file or folder of probe sentences: the project's own, or the Equity "
        "Evaluation Corpus"
    )
    weights: dict[Name, WeightsConfig]
    tasks: dict[Name, TaskConfig]
    candidates: dict[Name, dict[str, Any]]


def check_file() -> None:
    """Raise BadSetting where params.yaml as it stands does not fit."""
    check_params(read_params())


def check_params(params: dict[str, Any]) -> None:
    """Raise BadSetting with every key that does not fit, not only the first."""
    wrong = problems((), Config, params)
    if wrong:
        raise BadSetting("params.yaml was not accepted\n  " + "\n  ".join(wrong))
    for name, section in params["candidates"].items():
        wrong += misplaced(params, name, section)
        try:
            kind = settings_class(str(section.get("topic")), str(section.get("architecture")))
        except (UnknownName, ModuleNotFoundError) as error:
            wrong.append(f"candidates.{name}: {error}")
            continue
        wrong += problems(("candidates", name), kind, section)
        if missing := sorted(kind.model_fields.keys() - section.keys()):
            wrong.append(f"candidates.{name}: lacks {', '.join(missing)}")
    for name, section in params["tasks"].items():
        if params["candidates"].get(section["reference"], {}).get("task") != name:
            wrong.append(
                f"tasks.{name}.reference: {section['reference']} is no candidate of {name}"
            )
        if not find_spec(f"hour9.{section['topic']}.{name}"):
            wrong.append(f"tasks.{name}: there is no src/hour9/{section['topic']}/{name}.py")
    for key, place in places(params).items():
        try:
            check_relative(place)
        except NotRelative as error:
            wrong.append(f"{key}: {error}")
    if wrong:
        raise BadSetting("params.yaml was not accepted\n  " + "\n  ".join(wrong))


def misplaced(params: dict[str, Any], name: str, section: dict[str, Any]) -> list[str]:
    """A candidate must belong to a task, and to that task's topic."""
    task = params["tasks"].get(section.get("task"))
    if task is None:
        known = ", ".join(params["tasks"])
        return [f"candidates.{name}.task: no task '{section.get('task')}'; there are {known}"]
    if task["topic"] != section.get("topic"):
        return [f"candidates.{name}.topic: its task '{section['task']}' is of {task['topic']}"]
    return []


def places(params: dict[str, Any]) -> dict[str, str]:
    """Every path in the file: each enters dvc.lock."""
    return {
        "probes": params["probes"],
        **{f"weights.{n}.root": s["root"] for n, s in params["weights"].items()},
        **{f"tasks.{n}.source.root": s["source"]["root"] for n, s in params["tasks"].items()},
        **{
            f"candidates.{n}.parent": str(s.get("parent", ""))
            for n, s in params["candidates"].items()
        },
    }


def problems(place: tuple[str, ...], kind: type[BaseModel], section: Any) -> list[str]:
    """One line for each value that pydantic refuses."""
    try:
        kind.model_validate(section, strict=True)
    except ValidationError as error:
        return [
            f"{'.'.join([*place, *map(str, one['loc'])]).removesuffix('.[key]')}: {one['msg']}, "
            f"got {one['input']!r}"
            + suggestion(str(one["input"]), one.get("ctx", {}).get("expected", ""))
            + reason(kind, one["loc"])
            for one in error.errors()
        ]
    return []


def reason(kind: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Why a field takes but one value, where it says so."""
    field = kind.model_fields.get(str(place[0])) if place else None
    if field is None or get_origin(field.annotation) is not Literal:
        return ""
    only = len(get_args(field.annotation)) == 1 and field.description
    return f" ({field.description})" if only else ""


def suggestion(word: str, expected: str) -> str:
    """The nearest of the values that were expected."""
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
    near = difflib.get_close_matches(word, choices, n=1) if word else []
    return f"; did you mean '{near[0]}'?" if near else ""


def set_params(assignments: Sequence[str], path: Path = PARAMS) -> list[str]:
    """Edit params.yaml in place, comments and order kept; a line 'key: old → new' for each.

    Nothing is written unless everything fits.
    """
    current = read_params(path)  # says in words where the file is no YAML
    if not assignments:
        check_params(current)
        return []
    yaml = YAML()  # round trip: builds no objects of the file's choosing
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.Representer = NullWriter
    document = yaml.load(path.read_text(encoding="utf-8"))
    changed, wrong = [], []
    for assignment in assignments:
        try:
            changed.append(assign(document, assignment))
        except BadSetting as error:
            wrong.append(str(error))
    if wrong:
        raise BadSetting("\n".join(wrong))
    check_params(document)
    text = io.StringIO()
    yaml.dump(document, text)
    write_whole(path, text.getvalue())
    return changed


def assign(document: Any, assignment: str) -> str:
    """Set one key of the loaded file."""
    key, equals, text = assignment.partition("=")
    keys = leaves(document)
    if not equals or key not in keys:
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.3)
        hint = f"; the nearest is '{near[0]}'" if near else ""
        what = f"no key '{key}' in params.yaml" if equals else f"'{key}' is not key=value"
        raise BadSetting(what + hint)
    *parents, last = key.split(".")
    section = document
    for parent in parents:
        section = section[parent]
    old = section[last]
    try:
        value = YAML(typ="safe", pure=True).load(text) if text else ""
    except YAMLError as error:
        raise BadSetting(f"{key}: '{text}' is no YAML value ({type(error).__name__})") from None
    if isinstance(old, str) and not isinstance(value, str):
        value = text  # a name that looks like a number is still a name
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if isinstance(value, list):
        value = CommentedSeq(value)
        value.fa.set_flow_style()  # on one line, as it was: its comment stays behind it
        if isinstance(old, CommentedSeq) and Comment.attrib in vars(old):
            setattr(value, Comment.attrib, old.ca)
    section[last] = value
    back = shlex.quote(f"{key}={as_yaml(old)}")
    return f"{key}: {old!r} → {value!r} (back: --set {back})"


def as_yaml(value: Any) -> str:
    """The value as it is typed after `--set key=`."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


class NullWriter(RoundTripRepresenter):
    """Writes `null`, not nothing: a reader should see that a value was left out on purpose.

    A class of its own: representers belong to classes, and DVC writes dvc.lock with ruamel's.
    """

    def represent_null(self, _: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


NullWriter.add_representer(type(None), NullWriter.represent_null)


def leaves(section: Any, place: str = "") -> list[str]:
    """Dotted names of all values."""
    if not isinstance(section, dict):
        return [place]
    return [
        leaf
        for key, value in section.items()
        for leaf in leaves(value, f"{place}.{key}" if place else str(key))
    ]


def check_task(name: str) -> str:
    """The name, if params.yaml has such a task."""
    known = list(read_params()["tasks"])
    if name not in known:
        raise UnknownName(f"no task '{name}' in params.yaml; there are {', '.join(known)}")
    return name
