"""Compile the checked rows of providers.toml into the form that the package reads, without a parser of TOML.

python tools/compile_providers.py            write src/penstock/_wire/providers.json
python tools/compile_providers.py --check    exit 1 when the file does not match providers.toml
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from penstock._wire import registry

WIRE = Path(__file__).parent.parent / "src" / "penstock" / "_wire"
SOURCE, TARGET = WIRE / "providers.toml", WIRE / "providers.json"


def compiled() -> bytes:
    """Return what the file should hold."""
    rows = registry.parse(SOURCE.read_text("utf-8"), SOURCE.name)
    return msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n"


def main() -> int:
    """Write the file, or say that it is stale."""
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_bytes() != compiled())
    TARGET.write_bytes(compiled())
    return 0


if __name__ == "__main__":
    sys.exit(main())
