"""Rule files: reading them, checking them, and running their own samples."""

from safeproxy.rulesets.loading import MODELS_FOLDER, SHIPPED, LoadedRule, LoadedRules, load, load_with_sources, shipped
from safeproxy.rulesets.yaml_lines import Place

__all__ = ["MODELS_FOLDER", "SHIPPED", "LoadedRule", "LoadedRules", "Place", "load", "load_with_sources", "shipped"]
