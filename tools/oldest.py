"""The oldest versions that settings.ini allows, as constraints for pip: what `make oldest` installs."""
import re
from configparser import ConfigParser
from pathlib import Path

SETTINGS = Path(__file__).resolve().parent.parent / "settings.ini"  # no import of ours: nothing is installed yet


def constraints(
    requirements: str,  # "numpy>=1.26 scipy>=1.11.2"
) -> list[str]:  # "numpy==1.26", ...
    "Each requirement at its lower bound; one without a bound is an error, for nobody could know what it promises."
    found = []
    for requirement in requirements.split():
        if not (bound := re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)(,.*)?", requirement)):
            raise ValueError(f"{requirement} in settings.ini has no lower bound; write name>=version")
        found.append(f"{bound[1]}=={bound[2]}")
    return found


if __name__ == "__main__":
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(SETTINGS, encoding="utf-8")
    print("\n".join(constraints(config["DEFAULT"]["requirements"])))
