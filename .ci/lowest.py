"""Prints the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
for requirement in project["dependencies"] + project["optional-dependencies"]["onnx"]:
    name, version = re.match(r"([\w-]+)(?:>=|~=)([\d.]+)", requirement).groups()
    print(f"{name}=={version}")
