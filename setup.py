"""Packaging metadata, read from settings.ini: the one place where it is written."""
from configparser import ConfigParser

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="], interpolation=None)
config.read("settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
statuses = {"1": "1 - Planning", "2": "2 - Pre-Alpha", "3": "3 - Alpha", "4": "4 - Beta", "5": "5 - Production/Stable"}

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    license="Apache-2.0",
    keywords=cfg["keywords"].split(),
    classifiers=[
        f"Development Status :: {statuses[cfg['status']]}",
        f"Intended Audience :: {cfg['audience']}",
        f"Natural Language :: {cfg['language']}",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
        "Topic :: Scientific/Engineering :: Mathematics",
    ],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=["em_notes", "em_notes.*"]),
    package_data={"em_notes": ["**/*.csv", "**/*.js", "**/*.css", "py.typed"]},
    install_requires=cfg["requirements"].split(),
    # Every "<name>_requirements" line of settings.ini is an extra called <name>.
    extras_require={k.removesuffix("_requirements"): v.split() for k, v in cfg.items() if k.endswith("_requirements")},
    # Lets the documentation of other nbdev projects link to ours.
    entry_points={"nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    zip_safe=False,
)
