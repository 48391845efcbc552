"""prefect.yaml: every form is one that the UI can show, and no schedule runs by itself."""

import pytest
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from ruamel.yaml import YAML
from tests.conftest import ROOT

DEPLOYMENTS = {d["name"]: d for d in YAML(typ="safe").load(ROOT / "prefect.yaml")["deployments"]}
FIXED = ("pipeline", "transformers", "graphs", "rl", "promote", "rollback", "guard")


def test_the_fixed_names_are_there_and_every_schedule_is_off():
    assert set(FIXED) <= DEPLOYMENTS.keys()
    schedules = [s for d in DEPLOYMENTS.values() for s in d.get("schedules", [])]
    assert schedules
    assert not any(schedule["active"] for schedule in schedules)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_form_is_flat_with_help_choices_and_defaults_that_are_choices(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    flow = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])
    schema = parameter_schema(flow)
    fields = schema.properties
    assert not schema.definitions, "the UI cannot show nested models"
    for key, field in fields.items():
        assert field.get("description"), f"{key} has no help"
        assert field["type"] in ("string", "integer", "number", "boolean", "array"), key
        if field["type"] == "integer":
            assert "minimum" in field, f"{key} has no limit"
    given = DEPLOYMENTS[name].get("parameters", {})
    for key, value in given.items():
        assert value in fields[key].get("enum", [value])
    for schedule in DEPLOYMENTS[name].get("schedules", []):
        flow.validate_parameters(given | schedule.get("parameters", {}))
