"""Answers against contrib/openapi.yaml: the part of JSON Schema that it uses, and no key that it does not describe."""

import os

import yaml

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
         "number": (int, float)}


def is_of(value, kind):
    return isinstance(value, TYPES[kind]) and not (isinstance(value, bool) and kind in ("integer", "number"))


class Description:
    def __init__(self, top):
        with open(os.path.join(top, "contrib/openapi.yaml"), encoding="utf-8") as f:
            self.all = yaml.safe_load(f)

    def operations(self):
        """(METHOD, PATH, operation) of each."""
        for path, item in self.all["paths"].items():
            for method, operation in item.items():
                if method in ("get", "post", "put", "delete"):
                    yield method.upper(), path, operation

    def resolve(self, thing):
        while "$ref" in thing:
            at = self.all
            for part in thing["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            thing = at
        return thing

    def answer_schema(self, operation, status):
        """Of the JSON answered with that status; None: it is not JSON."""
        responses = operation["responses"]
        response = self.resolve(responses.get(str(status)) or responses["default"])
        return response.get("content", {}).get("application/json", {}).get("schema")

    def problems(self, value, schema, where=""):
        """What of the value is not as described, each as a text."""
        schema = self.resolve(schema)
        for either in ("anyOf", "oneOf"):
            if either in schema:
                found = [list(self.problems(value, s, where)) for s in schema[either]]
                if [] not in found:
                    yield from min(found, key=len)
        kinds = schema.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(is_of(value, kind) for kind in kinds):
            yield f"{where}: {value!r:.60} is not of type {' or '.join(kinds)}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is none of {schema['enum']}"
        if isinstance(value, dict):
            yield from self.object_problems(value, schema, where)
        if isinstance(value, list) and "items" in schema:
            for i, one in enumerate(value):
                yield from self.problems(one, schema["items"], f"{where}[{i}]")

    def properties(self, schema):
        schema = self.resolve(schema)
        known = dict(schema.get("properties", {}))
        for part in schema.get("allOf", []):
            known.update(self.properties(part))
        return known

    def required(self, schema):
        schema = self.resolve(schema)
        return set(schema.get("required", ())).union(*(self.required(part) for part in schema.get("allOf", ())))

    def object_problems(self, value, schema, where):
        known, others = self.properties(schema), schema.get("additionalProperties")
        for key in sorted(self.required(schema) - set(value)):
            yield f"{where}.{key}: is missing"
        for key, one in value.items():
            if key in known:
                yield from self.problems(one, known[key], f"{where}.{key}")
            elif isinstance(others, dict):
                yield from self.problems(one, others, f"{where}.{key}")
            elif known and others is not True:
                yield f"{where}.{key}: is not described"
