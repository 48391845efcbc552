"""How our own rules of Great Expectations read on its pages."""

from typing import Any, ClassVar

from great_expectations.render import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer


class Told:
    """A rule that its pages write as a sentence; without one they print its name and settings."""

    sentence: ClassVar[str]
    """with the rule's settings as $names"""

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None
    ) -> list[RenderedStringTemplateContent]:
        template = {
            "template": cls.sentence,
            "params": (configuration or result.expectation_config).kwargs,
            "styling": (runtime_configuration or {}).get("styling"),
        }
        return [
            RenderedStringTemplateContent(
                content_block_type="string_template", string_template=template
            )
        ]
