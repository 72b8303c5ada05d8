"""The JSON Schema of a config (draft 7, which every editor reads): names and options complete and explain themselves.

What a file may leave to those that it extends, or to its sweep, is required only where it has neither. What no schema
can say stays with `optrun validate`: which options exclude each other, the order of milestones, overrides, files.
"""

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from optrun.checks.types import MEMBER
from optrun.config.model.components import NESTED, TRANSFORMS_OF_GROUPS, Named, Schedules, schema_key
from optrun.config.model.expect import FIGURES, Bounds
from optrun.config.model.options import GROUPS, NOTHING, SCHEDULES, SWEEP, Model, floats_of, options_of_group
from optrun.config.model.run import (
    Checkpointing,
    Divergence,
    Evaluate,
    Kept,
    Record,
    RunConfig,
    Stop,
    evaluable_names,
    metric_names,
)
from optrun.config.model.seeds import Seeds
from optrun.config.sweep.axes import AXIS_SCHEMA
from optrun.config.sweep.model import Confirm, Metric, SpaceBlock, sweep_model
from optrun.config.yaml.writer import inline
from optrun.registry import (
    DECAY,
    SECTIONS,
    TRANSFORMS,
    Option,
    PathOrName,
    Registry,
    methods,
    optimizers,
    tuples_of,
    wrappers,
)

Schema = dict[str, Any]

_REF = "#/definitions/"
_OF_TRANSFORM: Schema = {"type": "string", "pattern": rf"^({'|'.join(TRANSFORMS)})\.\d+\.\w+$"}
"""The name of an option of a transform, such as `gradient.0.max_norm`."""
_NAMED = {**SECTIONS, **{schema_key(known): known for known in TRANSFORMS.values()}}
"""What is registered and has a definition, by its key."""
_OTHER_RULE = "optimizer_of_group"
_MATHS = re.compile(r" |\w+(\([^)]*\))? [=←] ")  # indented, or a formula from its first word
_PATHS = {"type": "string", "minLength": 1}
_EXTENDS = {
    "description": "A config, or a list of them, that this one builds on; paths are relative to this file.",
    "anyOf": [_PATHS, {"type": "array", "items": _PATHS}, {"type": "null"}],
}
_SWEEP = {
    "description": "What varies between the runs of a sweep, which `optrun sweep` runs.",
    "anyOf": [{"$ref": _REF + "SweepBlock"}, {"type": "null"}],
}
_ALONG = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": AXIS_SCHEMA}
_MAP = {
    "description": "Two numbers that vary over a picture of which each pixel is a run, which `optrun map` draws.",
    "type": ["object", "null"],
    "additionalProperties": False,
    "required": ["x", "y"],
    "properties": {
        "x": {"description": "The path of a number, with its values from left to right.", **_ALONG},
        "y": {"description": "The path of a number, with its values from bottom to top.", **_ALONG},
        "color": {
            "description": "A figure of a run, steps_to_target, diverged_at, steps (both), or minimum: which one.",
            "type": "string",
            "default": "final_loss",
        },
        "tolerance": {
            "description": "How near to a minimum a run ends that has found it, for color: minimum.",
            "type": "number",
            "exclusiveMinimum": 0,
            "default": 0.1,
        },
    },
}
_EITHER = {
    "if": {"required": ["steps", "epochs"], "properties": {"steps": {"type": "integer"}}},
    "then": {"properties": {"epochs": {"type": "null"}}},
}


def json_schema() -> Schema:
    """Return the schema of a config's file, with everything that is registered."""
    run = _generated(RunConfig, _REF + "{model}")
    definitions: Schema = run.pop("$defs")
    block = sweep_model()
    swept = _generated(block, _REF + "{model}")
    definitions |= {**swept.pop("$defs"), "SweepBlock": swept}
    for model in (
        Seeds,
        Record,
        Evaluate,
        Checkpointing,
        Stop,
        Divergence,
        Kept,
        Bounds,
        block,
        SpaceBlock,
        Metric,
        Confirm,
    ):
        _explain(definitions[model.__name__]["properties"], model)
    swept["properties"]["method"] |= _one_of(methods)
    for name in methods:
        cls: Any = methods.find(name)
        if cls.options():
            made = _mapping(cls, cls.options(), f"sweep.{name}")
            definitions[f"sweep.{name}"] = {**made, "required": _required(cls)}
            swept["properties"][name] = {
                "description": swept["properties"][name]["description"],
                "anyOf": [{"$ref": f"{_REF}sweep.{name}"}, {"type": "null"}],
            }
    for section, registry in _NAMED.items():
        definitions |= _component(section, registry)
    definitions[_OTHER_RULE] = {
        "properties": {"name": {**_one_of(optimizers), "description": "The rule of these parameters."}},
        "allOf": [_if_named(name, {"$ref": f"{_REF}optimizer.{name}.Group"}) for name in optimizers],
    }
    properties: Schema = run["properties"]
    for section in SECTIONS:
        properties[section] = {"anyOf": [{"$ref": _REF + section}]}
    for section in ("scheduler", "average"):
        properties[section]["anyOf"].append({"type": "null"})
    floats = {name: floats_of(optimizers.find(name).options()) for name in optimizers}
    every = list(dict.fromkeys(each for names in floats.values() for each in names))
    merged = {"additionalProperties": {"anyOf": [{"$ref": f"{_REF}scheduler"}, {"type": "null"}]}}
    properties["schedules"] = _keyed({"type": ["object", "null"], **merged}, every)
    metrics = list(dict.fromkeys([*metric_names(), *every]))
    definitions["Record"]["properties"]["metrics"]["items"] = {"anyOf": [{"enum": metrics}, _OF_TRANSFORM]}
    definitions["Evaluate"]["properties"]["metrics"]["items"]["enum"] = evaluable_names()
    figures = {name: {"$ref": f"{_REF}Bounds"} for name in FIGURES}
    properties["record"] = {"anyOf": [properties["record"], {"const": NOTHING}]}
    properties["expect"]["properties"] = figures | {
        SWEEP: _of_sweep({**properties["expect"], "properties": figures})
    }
    properties["name"]["type"] = ["string", "null"]
    properties["engine"]["enum"] = _engines()
    _explain(properties, RunConfig)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "optrun config",
        "description": "An optimizer experiment: a problem, an optimizer, a learning-rate scheduler.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"extends": _EXTENDS, **properties, "sweep": _SWEEP, "map": _MAP},
        "allOf": [_EITHER, *(_if_optimized_by(name, floats[name]) for name in floats)],
        "if": {
            "anyOf": [_with("extends", "string", "array"), _with("sweep", "object"), _with("map", "object")]
        },
        "else": _complete_run(),
        "definitions": definitions,
    }


def _of_sweep(bounds: Schema) -> Schema:
    """Return what a whole sweep is expected to reach; ``bounds`` are those of figures."""
    by = {"description": "The path whose values have bounds of their own.", **_PATHS}
    best = {**bounds, "description": "Bounds for the best setting of each problem."}
    return {
        "description": "Bounds of medians over seeds, judged once a sweep is through.",
        "type": ["object", "null"],
        "properties": {"best": best, "by": {**by, "type": ["string", "null"]}},
        "additionalProperties": bounds,
    }


def _with(key: str, *types: str) -> Schema:
    return {"required": [key], "properties": {key: {"type": list(types)}}}


def _explain(properties: Schema, model: type[Model]) -> None:
    for key, field in model.model_fields.items():
        name = field.alias or key
        # Draft 7 ignores what stands beside a reference.
        if reference := properties[name].pop("$ref", None):
            properties[name]["allOf"] = [{"$ref": reference}]
        properties[name]["description"] = " ".join(each for each in field.metadata if isinstance(each, str))


class _Draft7(GenerateJsonSchema):
    """Pydantic's schema without its titles, with null as one type among others."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if not isinstance(inner.get("type"), str):
            return {"anyOf": [inner, {"type": "null"}]}
        if "const" in inner:
            inner["enum"] = [inner.pop("const")]
        nothing = {"enum": [*inner["enum"], None]} if "enum" in inner else {}
        return {**inner, "type": [inner["type"], "null"], **nothing}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _generated(model: type[Any], ref_template: str) -> Schema:
    schema: Schema = model.model_json_schema(schema_generator=_Draft7, ref_template=ref_template)
    for each in (schema, *schema.get("$defs", {}).values()):
        each.pop("title", None)
    schema.pop("description", None)
    linked: Schema = _linked(schema)
    return linked


def _linked(value: Any, section: str = "") -> Any:
    """Return a schema in which a component within another one, which nothing is merged with, is complete."""
    if isinstance(value, list):
        return [_linked(each, section) for each in value]
    if not isinstance(value, dict):
        return value
    if kind := section if MEMBER in value else value.get(NESTED):
        return {"allOf": [{"$ref": _REF + each} for each in (kind, f"complete.{kind}")]}
    return {key: _linked(each, section) for key, each in value.items()}


def _complete_run() -> Schema:
    """Return what a config that extends none has to say."""
    return {
        "required": ["problem", "optimizer"],
        "properties": {
            **{section: {"$ref": f"{_REF}complete.{section}"} for section in SECTIONS},
            "schedules": {"additionalProperties": {"$ref": f"{_REF}complete.scheduler"}},
            "expect": {"additionalProperties": {"anyOf": _given("number", "min", "max")}},
        },
        "anyOf": _given("integer", "steps", "epochs"),
    }


def _given(kind: str, *keys: str) -> list[Schema]:
    return [{"required": [key], "properties": {key: {"type": kind}}} for key in keys]


def _component(section: str, registry: Registry[Any]) -> Schema:
    """Return the definitions of a section: any of its names, each name's options, and what is required."""
    names = list(registry)
    one = {"type": "string", **_one_of(registry)}
    required = {name: _required(registry.find(name)) for name in names}
    needy = [name for name in names if required[name]]
    return {
        section: {
            "anyOf": [
                one,
                {
                    "type": "object",
                    "properties": {"name": one},
                    "allOf": [_if_named(name, {"$ref": f"{_REF}{section}.{name}"}) for name in names],
                },
            ]
        },
        f"complete.{section}": {
            "if": {"type": "object"},
            "then": {
                "allOf": [
                    {"required": ["name"]},
                    *(_if_named(name, {"required": keys}) for name, keys in required.items() if keys),
                ]
            },
            **({"else": {"if": {"enum": needy}, "then": {"type": "object"}}} if needy else {}),
        },
        **{
            key: schema
            for name in names
            for key, schema in _options(section, name, registry.find(name)).items()
        },
    }


def _one_of(registry: Registry[Any]) -> Schema:
    """Return that a value is one of a registry's names, each with what it stands for."""
    texts = [_texts(registry.find(name)) for name in registry]
    return {
        "enum": list(registry),
        "enumDescriptions": [text["description"] for text in texts],
        "markdownEnumDescriptions": [text["markdownDescription"] for text in texts],
    }


def _if_named(name: str, then: Schema) -> Schema:
    return {"if": {"required": ["name"], "properties": {"name": {"const": name}}}, "then": then}


def _if_optimized_by(name: str, floats: Sequence[str]) -> Schema:
    """Return that only what this optimizer has is scheduled and recorded."""
    named = {"type": "object", "required": ["name"], "properties": {"name": {"const": name}}}
    metrics = list(dict.fromkeys([*metric_names(), *floats]))
    return {
        "if": {"required": ["optimizer"], "properties": {"optimizer": {"anyOf": [{"const": name}, named]}}},
        "then": {
            "properties": {
                "schedules": {"propertyNames": {"anyOf": [{"enum": list(floats)}, _OF_TRANSFORM]}},
                "record": {
                    "properties": {"metrics": {"items": {"anyOf": [{"enum": metrics}, _OF_TRANSFORM]}}}
                },
            }
        },
    }


def _keyed(schema: Schema, names: Sequence[str]) -> Schema:
    """Return the schema of a mapping with these keys alone."""
    each = schema["additionalProperties"]
    keys = {name: {**each, "description": f"A schedule of {name}."} for name in names}
    of_transforms = {_OF_TRANSFORM["pattern"]: {**each, "description": "A schedule of a transform's option."}}
    return {**schema, "properties": keys, "patternProperties": of_transforms, "additionalProperties": False}


def _required(cls: type[Any]) -> list[str]:
    return [option.name for option in cls.options().values() if option.required]


def _options(section: str, name: str, cls: Any) -> Schema:
    """Return the definitions of a class's options beside its name, and of its parameter groups."""
    key = f"{section}.{name}"
    named = Named(_NAMED[section])
    schema = _mapping(cls, named.known(cls), key)
    definitions = schema.pop("$defs", {})
    if section == "optimizer":
        group = _mapping(cls, options_of_group(cls, Schedules, TRANSFORMS_OF_GROUPS), key)
        group["properties"] = {"name": {"const": name}, **group["properties"]}
        definitions |= {**group.pop("$defs", {}), "Group": {**group, "required": ["params"]}}
        schema["properties"][GROUPS]["items"] = {
            "if": {"type": "object", "required": ["name"]},
            "then": {"$ref": _REF + _OTHER_RULE},
            "else": {"$ref": f"{_REF}{key}.Group"},
        }
    schema["properties"] = {"name": {"const": name}, **schema["properties"]}
    return {key: {**_texts(cls), **schema}, **{f"{key}.{of}": each for of, each in definitions.items()}}


def _mapping(cls: Any, options: Mapping[str, Option], key: str) -> Schema:
    """Return the schema of a mapping of options."""
    made, shared = TypeAdapter.json_schemas(
        [(name, "validation", option.adapter) for name, option in options.items()],
        schema_generator=_Draft7,
        ref_template=f"{_REF}{key}.{{model}}",
    )
    properties = {name: _linked(schema, key.partition(".")[0]) for (name, _), schema in made.items()}
    for name, option in options.items():
        if not option.required:
            properties[name]["default"] = option.default
    _describe(properties, cls)
    both = [[joint, part] for joint, parts in tuples_of(cls).items() for part in parts]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"not": {"anyOf": [{"required": keys} for keys in both]}} if both else {}),
        **shared,
    }


def _describe(properties: Schema, cls: type[Any]) -> None:
    options: Mapping[str, Option] = cls.options()
    for name, option in options.items():
        properties[name]["description"] = _meaning(option)
        if any(isinstance(extra, PathOrName) for extra in get_args(option.annotation)):
            properties[name]["examples"] = _datasets()
    for joint, parts in tuples_of(cls).items():
        properties[joint] = _tuple(parts, [properties[part] for part in parts])
    if SCHEDULES in properties and SCHEDULES not in options:
        described = "Schedules of the options, by their names."
        properties[SCHEDULES] = {
            **_keyed(properties[SCHEDULES], floats_of(options)),
            "description": described,
        }
    if "params" in properties and "params" not in options:
        properties["params"]["description"] = "A glob on parameter names, or a list of them."
    for name in TRANSFORMS.keys() & properties.keys():
        properties[name]["description"] = (
            "Rules around this one, the first the innermost: names, or with options."
            if TRANSFORMS[name] is wrappers
            else f"What is done to the {name}, in this order: names, or with options."
        )
    if DECAY in properties:
        properties[DECAY]["description"] = "How weight_decay is applied; null is how the rule does it."
    if GROUPS in properties:
        properties[GROUPS]["description"] = "Parameters, by globs on their names, with options of their own."


def _tuple(parts: Sequence[str], items: list[Schema]) -> Schema:
    count = len(parts)
    return {
        "type": "array",
        "items": items,
        "minItems": count,
        "maxItems": count,
        "description": f"[{', '.join(parts)}]",
    }


def _meaning(option: Option) -> str:
    """Return what an option may be and means, in words."""
    said = [option.help, " and ".join(map(str, option.bounds))]
    said.append("required" if option.required else f"default {inline(option.default)}")
    return "; ".join(part for part in said if part)


def _texts(cls: type[Any]) -> Schema:
    """Return a class's docstring, as text and, with its maths as they stand, as Markdown."""
    paragraphs = [each for each in (inspect.getdoc(cls) or "").split("\n\n") if not each.startswith("Raises")]
    marked = [f"```text\n{textwrap.dedent(each)}\n```" if _MATHS.match(each) else each for each in paragraphs]
    return {"description": "\n\n".join(paragraphs), "markdownDescription": "\n\n".join(marked)}


def _engines() -> list[str]:
    from optrun.kernels import ENGINES

    return list(ENGINES)


def _datasets() -> list[str]:
    from optrun.problems.data import DATASETS

    return list(DATASETS)
