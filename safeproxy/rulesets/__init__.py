"""Rule files: reading them, checking them, and running their own samples."""

from safeproxy.rulesets.loading import SHIPPED, LoadedRule, LoadedRules, load, load_with_sources, shipped
from safeproxy.rulesets.yaml_lines import Place

__all__ = ["SHIPPED", "LoadedRule", "LoadedRules", "Place", "load", "load_with_sources", "shipped"]
