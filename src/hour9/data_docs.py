"""Great Expectations' own pages about a task's data, for who asks: `hour9 docs nodes`.

They are no stage of the DAG: a page of theirs loads scripts and fonts from other hosts when a
browser opens it. They are drawn from data/<task>/, with the contract that `validate` checked. A
flow whose pages are served draws them, too: `python -m hour9.stage data_docs nodes`.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

from hour9.pages import DATA_DOCS
from hour9.params import DATA
from hour9.task import load_task, read_tables
from hour9.validate import shared_contract


def data_docs(name: str) -> Path:
    """Draw the pages of a task's data; their first page."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from hour9.sources.references import among

    task, tables = load_task(name), read_tables(DATA / name)
    folder = (DATA_DOCS / name).absolute()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    site: Any = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder),
        },
    }
    context.add_data_docs_site(site_name=name, site_config=site)
    source = context.data_sources.add_pandas(name)
    for table, rules in task.contract(tables).items():
        shared = shared_contract(tables[table]) if table == "cases" else []
        every = [copy(rule) for rule in (*rules, *shared)]  # a rule belongs to one suite
        suite = context.suites.add(gx.ExpectationSuite(table, expectations=every))
        rows = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        check = context.validation_definitions.add(
            gx.ValidationDefinition(name=table, data=rows, suite=suite)
        )
        with among(tables):
            check.run(batch_parameters={"dataframe": tables[table]})
    context.build_data_docs(site_names=[name])
    return folder / "index.html"
