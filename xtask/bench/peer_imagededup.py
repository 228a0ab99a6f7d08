"""Hashes of a folder of pictures by imagededup, for `likeness eval near-duplicates --hashes`.

Only its hashing is used: what it imports for its network, for plots and for evaluating is not installed
(a deep-learning framework of a gigabyte), and stands in as an empty module. Its network cannot be had
from a package: the weights come from an address of their own at first use.
"""

import argparse
import json
import pathlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType

ABSENT = {"matplotlib", "sklearn", "torch", "torchvision"}


class Anything(type):
    """A class that has every attribute, which is itself, and can be called and inherited from."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *arguments, **options):
        return cls


class Nothing(metaclass=Anything):
    pass


class Empty(ModuleType):
    """A module in which every name can be had, and nothing works."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing


class EmptyModules(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ABSENT else None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, EmptyModules())

from imagededup.methods import AHash, DHash, PHash, WHash  # noqa: E402

METHODS = {"phash": PHash, "dhash": DHash, "ahash": AHash, "whash": WHash}
BITS = 64
#: The package's default for `max_distance_threshold`.
RECOMMENDED = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="pictures, one file each")
    parser.add_argument("out", type=pathlib.Path, help="folder for one JSON file a method")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["phash", "dhash"])
    options = parser.parse_args()
    files = sorted(path for path in options.folder.iterdir() if path.is_file())
    for name in options.methods:
        method = METHODS[name]()
        hashes = {path.name: method.encode_image(image_file=str(path)) for path in files}
        missing = [file for file, value in hashes.items() if value is None]
        if missing:
            raise SystemExit(f"{name} made no hash of {missing[0]} and {len(missing) - 1} more")
        facts = {
            "name": f"{name} (imagededup {version('imagededup')})",
            "bits": BITS,
            "recommended": RECOMMENDED,
            "hashes": hashes,
        }
        (options.out / f"{name}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
