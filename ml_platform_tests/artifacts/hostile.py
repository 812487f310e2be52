"""Files that a stranger might send: each case is a store, or a table, with one thing in it that is not as it should be."""

import gzip
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ml_platform.artifacts.frames import FILE as FRAME
from ml_platform.artifacts.frames import write_frame
from ml_platform.artifacts.networks import STATE, WEIGHTS
from ml_platform.artifacts.objects import FILE as OBJECT
from ml_platform.artifacts.objects import write_object
from ml_platform.artifacts.reports import FACTS, Report, write_report
from ml_platform.models import EntityEmbeddingClassifier

Files = dict[str, bytes]
ASSET = "t/it"
HEAD = f"heads/{ASSET}/_whole.json"
NETWORK = "ml_platform.models.tables.EntityEmbeddingClassifier"
BOMB_MIB = 300  # more than any small file may unpack to
PLACES = 12  # where a file is cut, and where a byte is flipped


@dataclass
class Case:
    """One hostile file.

    Attributes:
        kind: how it is read.
        base: the store, or the folder of the table.
        names: what the refusal must name: a part of the path of the file.
        asked: the arguments of a version that is asked for.
    """

    name: str
    kind: str
    base: Path
    names: str
    asked: list[Any] = field(default_factory=list)


@dataclass
class Honest:
    """What the platform itself writes: the files of a value, and its facts."""

    kind: str
    files: Files
    facts: dict[str, Any]


def honest_values(folder: Path) -> dict[str, Honest]:
    """Writes one value of each kind."""
    drawn = np.random.default_rng(0)
    rows = pd.DataFrame({"x": drawn.normal(size=200), "dest": ["BOS", "ORD", "SFO", "LAX"] * 50})
    target = np.array(["late", "soon"] * 100)
    model = LogisticRegression().fit(rows[["x"]], target)
    network = EntityEmbeddingClassifier(["dest"], hidden_layer_sizes=(4,), max_iter=1, random_state=0).fit(rows, target)

    def written(name: str, write: Any) -> tuple[Files, dict[str, Any]]:
        (folder / name).mkdir(parents=True)
        facts = write(folder / name) or {}
        return {path.name: path.read_bytes() for path in (folder / name).iterdir()}, facts

    return {
        "object": Honest("sklearn", *written("object", lambda f: write_object(f, model))),
        "network": Honest("sklearn", *written("network", lambda f: write_object(f, network, [NETWORK]))),
        "frame": Honest("frame", *written("frame", lambda f: write_frame(f, rows))),
        "report": Honest("report", *written("report", lambda f: write_report(f, Report({"a": [1, 2.5, "b"] * 20})))),
    }


def manifest_of(files: Files, kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    told = [{"name": name, "sha256": sha256(files[name]), "size_bytes": len(files[name])} for name in sorted(files)]
    return {"asset": ASSET, "partition": None, "kind": kind, "files": told, "facts": dict(facts),
            "inputs": {}, "recipe": {}, "lineage": {}}  # fmt: skip


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def folder_of(base: Path, manifest: Mapping[str, Any]) -> Path:
    digest = sha256("".join(f"{file['sha256']} {file['name']}\n" for file in manifest["files"]).encode())
    return base / "objects" / digest[:2] / digest


class Maker:
    """Puts hostile files into stores, each into its own."""

    def __init__(self, base: Path):
        self.base = base
        self.honest = honest_values(base / "honest")
        self.cases: list[Case] = []

    def _next(self) -> Path:
        folder = self.base / "cases" / f"{len(self.cases):04}"
        folder.mkdir(parents=True)
        return folder

    def plant(self, name: str, kind: str, files: Files, names: str, told: Files | None = None, **facts: Any) -> Path:
        """Puts files into a store; its manifest tells of `told`, by default of what they are."""
        base, honest = self._next(), self.honest[kind]
        manifest = manifest_of(told or files, honest.kind, {**honest.facts, **facts})
        folder = folder_of(base, manifest)
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        (base / HEAD).parent.mkdir(parents=True)
        (base / HEAD).write_text(json.dumps(manifest))
        self.cases.append(Case(name, kind, base, names))
        return folder

    def replaced(self, kind: str, file: str, content: bytes, name: str, **facts: Any) -> Path:
        """A stranger's own value: one file is another, and the manifest knows."""
        return self.plant(f"{kind}: {name}", kind, {**self.honest[kind].files, file: content}, file, **facts)

    def manifest(self, name: str, content: bytes) -> None:
        """Puts something else where a head is."""
        base = self._next()
        (base / HEAD).parent.mkdir(parents=True)
        (base / HEAD).write_bytes(content)
        self.cases.append(Case(f"manifest: {name}", "report", base, HEAD))

    def table(self, name: str, file: str, content: bytes) -> None:
        """Puts a table of outside data into a folder."""
        base = self._next()
        (base / file).write_bytes(content)
        self.cases.append(Case(f"table: {name}", "source", base, file))

    def asked(self, name: str, *arguments: Any) -> None:
        """Asks a store for something under a name that is none."""
        self.cases.append(Case(f"name: {name}", "name", self._next(), repr(arguments[0])[1:40], [*arguments]))


FILES = {"object": [OBJECT], "network": [STATE, WEIGHTS], "frame": [FRAME], "report": [FACTS]}


def damaged(maker: Maker) -> None:
    """Files that are cut, changed, swapped or missing, under the manifest of what was written, and under their own."""
    drawn = random.Random(0)
    for kind, names in FILES.items():
        whole = maker.honest[kind].files
        for file in names:
            for _ in range(PLACES):
                place = drawn.randrange(len(whole[file]) - 2)
                cut = {**whole, file: whole[file][:place]}
                maker.plant(f"{kind}: {file} cut at {place}", kind, cut, file, told=whole)
                maker.plant(f"{kind}: {file} cut at {place}, told so", kind, cut, file)
                flipped = bytearray(whole[file])
                flipped[place] ^= 1 << drawn.randrange(8)
                maker.plant(
                    f"{kind}: {file} flipped at {place}", kind, {**whole, file: bytes(flipped)}, file, told=whole
                )
            rest = {name: content for name, content in whole.items() if name != file}
            maker.plant(f"{kind}: {file} missing", kind, rest, file, told=whole)
            if file != STATE:
                maker.plant(f"{kind}: {file} missing, told so", kind, {**rest, "other.txt": b"x"}, file)
            for other, strangers in FILES.items():
                for stranger in strangers if other != kind else []:
                    swapped = {**whole, file: maker.honest[other].files[stranger]}
                    maker.plant(f"{kind}: {stranger} as {file}", kind, swapped, file, told=whole)
                    if file != FACTS or stranger != STATE:  # which is a JSON object, and so are facts
                        maker.plant(f"{kind}: {stranger} as {file}, told so", kind, swapped, file)


def links(maker: Maker) -> None:
    """Links in place of files and folders, and a folder in place of a file."""
    (maker.base / "outside").mkdir()
    for kind, names in FILES.items():
        whole, file = maker.honest[kind].files, names[0]
        (maker.base / "outside" / file).write_bytes(whole[file])
        for target in (str(maker.base / "outside" / file), "/dev/zero", "/proc/self/environ", "nowhere"):
            folder = maker.plant(f"{kind}: {file} is a link to {target}", kind, whole, file)
            (folder / file).unlink()
            (folder / file).symlink_to(target)
        folder = maker.plant(f"{kind}: the folder is a link", kind, whole, "objects")
        elsewhere = maker.cases[-1].base / "elsewhere"
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
        folder = maker.plant(f"{kind}: {file} is a folder", kind, whole, file)
        (folder / file).unlink()
        (folder / file).mkdir()


def manifests(maker: Maker) -> None:
    """Manifests that climb, that are none, that are too much."""
    honest = maker.honest["report"]
    good = manifest_of(honest.files, honest.kind, honest.facts)
    file = good["files"][0]

    def changed(name: str, **changes: Any) -> None:
        maker.manifest(name, json.dumps(good | changes).encode())

    for climbing in (
        "../../../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "x" * 5000,
        7,
    ):
        changed(f"a file's name {climbing!r:.30}", files=[file | {"name": climbing}])
    for digest in ("", "0" * 63, "../" * 20, "Z" * 64, None, 7):
        changed(f"a digest {digest!r:.30}", files=[file | {"sha256": digest}])
    for size in (-1, 1.5, "7", None, True, [1]):
        changed(f"a size {size!r}", files=[file | {"size_bytes": size}])
    for key, values in {"asset": [None, 7, "other/asset", "../../x"], "partition": [7, "2013-01-01", []], "kind": [None, {}],
                        "files": [None, {}, "ab", [7], [{}], [file, file]], "facts": [None, [], "x"],
                        "inputs": [[], {"a": 7}, None], "recipe": [[]], "lineage": [7]}.items():  # fmt: skip
        for value in values:
            changed(f"{key} is {value!r:.30}", **{key: value})
    changed("of a later version", format=99)
    changed("with what is executed", __reduce__=["os.system", "true"])
    whole = json.dumps(good).encode()
    for place in range(0, len(whole) - 1, len(whole) // PLACES):
        maker.manifest(f"cut at {place}", whole[:place])
    for name, text in {"deep": "[" * 200_000, "deep objects": '{"a":' * 100_000, "not a number": '{"facts": NaN}',
                       "infinite": whole.decode()[:-1] + ', "facts": {"a": Infinity}}', "a long number": "9" * 10_000,
                       "a list": "[]", "a text": '"x"', "null": "null", "yaml": "!!python/object/apply:os.system [x]",
                       "XML": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'}.items():  # fmt: skip
        maker.manifest(name, text.encode())
    maker.manifest("not UTF-8", b"\xff\xfe{")
    maker.manifest("huge", b"")
    with (maker.cases[-1].base / HEAD).open("r+b") as huge:
        huge.truncate(8 * 2**30)  # a file with a hole: it takes no room
    maker.manifest("huge, and JSON", b"[" + b"{}," * 6_000_000 + b"{}]")
    for name, target in {"a link to what never ends": "/dev/zero", "a link to itself": "_whole.json"}.items():
        maker.manifest(name, b"")
        (maker.cases[-1].base / HEAD).unlink()
        (maker.cases[-1].base / HEAD).symlink_to(target)
    maker.manifest("a folder", b"")
    (maker.cases[-1].base / HEAD).unlink()
    (maker.cases[-1].base / HEAD).mkdir()


def versions(maker: Maker) -> None:
    """Versions that were changed after they were named."""
    drawn, honest = random.Random(1), maker.honest["report"]
    whole = json.dumps(manifest_of(honest.files, honest.kind, honest.facts)).encode()
    for _ in range(PLACES):
        place = drawn.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << drawn.randrange(8)
        base, name = maker._next(), f"manifests/{ASSET}/_whole/{sha256(whole)}.json"
        (base / name).parent.mkdir(parents=True)
        (base / name).write_bytes(changed)
        maker.cases.append(Case(f"version: flipped at {place}", "name", base, name, [ASSET, None, sha256(whole)]))


def names(maker: Maker) -> None:
    """Names of assets, partitions, branches and versions that lead out of the store, or nowhere."""
    bad = [
        "../../etc/passwd",
        "..",
        ".",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "",
        "a\0b",
        "a\nb",
        "a\\..\\b",
        "x" * 5000,
        ".x",
    ]
    for name in bad:
        maker.asked(f"asset {name!r:.30}", name)
    for partition in ("", "x" * 5000, "é" * 100):
        maker.asked(f"partition {partition!r:.30}", ASSET, partition)
        maker.cases[-1].names = repr(partition)[1:40]
    for version in ("../../etc/passwd", "..", "", "/etc/passwd", "a\0b", "x" * 5000, "ABC"):
        maker.asked(f"version {version!r:.30}", ASSET, None, version)
        maker.cases[-1].names = repr(version)[1:40]


def tables(maker: Maker) -> None:
    """Tables of outside data that are cut, changed, or unpack to far more than they are."""
    drawn, rows = random.Random(2), b"a,b\n" + b"".join(b"%d,%d\n" % (row, row * row) for row in range(2000))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", rows)
    for ending, whole in {"zip": packed.getvalue(), "gz": gzip.compress(rows, mtime=0)}.items():
        for _ in range(PLACES):
            place = drawn.randrange(40, len(whole) - 120)
            maker.table(f"{ending} cut at {place}", f"t.csv.{ending}", whole[:place])
            flipped = bytearray(whole)
            flipped[place] ^= 1 << drawn.randrange(8)
            maker.table(f"{ending} flipped at {place}", f"t.csv.{ending}", bytes(flipped))
    maker.table("a bomb in gzip", "t.csv.gz", bomb_gzip(b"a,b\n", b"1,2\n"))
    maker.table("a bomb in zip", "t.csv.zip", zipped({"t.csv": b"a,b\n"}, bomb=b"1,2\n"))
    maker.table("a climbing name in zip, and no table", "t.csv.zip", zipped({"../../x": b"\x80\x04."}))
    maker.table("an empty zip", "t.csv.zip", zipped({}))
    maker.table("not UTF-8", "t.csv", b"\xff\xfea,b\n1,2\n")
    maker.table("bytes that are no text", "t.csv", b"a,b\n\x80\x04\x95,\xff\n")
    maker.table("a pickle", "t.csv", b"\x80\x04cos\nsystem\n(S'true'\ntR.\n")


def zipped(members: Mapping[str, bytes], bomb: bytes = b"", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns an archive whose last member is followed by a bomb's content, again and again."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression, compresslevel=1) as archive:
        for name, content in members.items():
            with archive.open(name, "w") as member:
                member.write(content)
                for _ in range(BOMB_MIB if bomb and name == [*members][-1] else 0):
                    member.write(bomb * (2**20 // len(bomb)))
    return target.getvalue()


def bomb_gzip(head: bytes, bomb: bytes) -> bytes:
    return gzip.compress(head, mtime=0) + gzip.compress(bomb * (2**20 // len(bomb)), mtime=0) * BOMB_MIB
