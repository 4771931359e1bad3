"""The configuration: a YAML file as typed values, or all that is wrong with it.

    loaded = load(path, os.environ)      Loaded: config, warnings, sources; raises ConfigError
    effective(loaded.config)             plain data, every default filled in, secrets hidden
    entries(loaded.config, "routes")     the same of one section, one by one
    provenance(config, loaded.sources)   where each value of `effective` comes from
    json_schema()                        for editors

One description of every key (`keys.py` and the files it gathers) drives reading, suggestions,
`effective` and the schema. YAML itself is imported only when a file is read.
"""

from proxy.config.keys import SECTIONS, effective, entries, json_schema, without_sections
from proxy.config.loading import Loaded, load, load_text
from proxy.config.model import Config
from proxy.config.problems import ConfigError, Mark, Problem, Severity
from proxy.config.provenance import provenance
from proxy.config.sources import Setting, Sources

__all__ = [
    "SECTIONS",
    "Config",
    "ConfigError",
    "Loaded",
    "Mark",
    "Problem",
    "Setting",
    "Severity",
    "Sources",
    "effective",
    "entries",
    "json_schema",
    "load",
    "load_text",
    "provenance",
    "without_sections",
]
