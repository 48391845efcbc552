"""What Great Expectations cannot say of an image by itself. Imported by `validate` alone."""

from typing import ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from hour9.sources.told import Told


class ImageSize(ColumnMapMetricProvider):
    """Which values are so many bytes. A byte is whole and from 0 to 255, and never missing."""

    condition_metric_name = "column_values.image_size"
    condition_value_keys = ("size",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, size: int, **_: object) -> pd.Series:  # noqa: N805
        return column.map(lambda pixels: isinstance(pixels, bytes) and len(pixels) == size)


class ExpectColumnValuesToBeImages(Told, ColumnMapExpectation):
    """Each value holds the bytes of an image of `size` numbers."""

    sentence: ClassVar[str] = "values must be images of $size bytes."
    size: int
    map_metric: ClassVar[str] = "column_values.image_size"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "size")
