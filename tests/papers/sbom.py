"""CycloneDX's own verdict on a bill of materials, in its strict schema: `sbom.py FILE`."""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(Path(sys.argv[1]).read_text())
if fault is not None:
    sys.exit(f"{sys.argv[1]}: {fault}")
