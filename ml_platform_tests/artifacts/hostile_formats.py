"""Builds files of the right format whose content a store must refuse."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml_platform.artifacts.frames import FILE as FRAME
from ml_platform.artifacts.networks import STATE, WEIGHTS, _digest
from ml_platform.artifacts.objects import FILE as OBJECT
from ml_platform.artifacts.reports import FACTS
from ml_platform_tests.artifacts.hostile import ASSET, Maker, sha256, zipped
from ml_platform_tests.artifacts.hostile_payloads import MARKER, bombs

CALLABLES = (
    "os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__",
    "subprocess.Popen", "functools.partial", "operator.methodcaller", "importlib.import_module", "pickle.loads",
    "shutil.rmtree", "antigravity.fly", "sklearn.externals._numpydoc.x", "numpy.load", "ctypes.CDLL",
)  # fmt: skip


def part(loader: str, name: str, **more: Any) -> dict[str, Any]:
    """Returns one part of a skops schema."""
    module, _, kind = name.rpartition(".")
    return {"__class__": kind, "__module__": module, "__loader__": loader, **more}


def text(value: Any) -> dict[str, Any]:
    return part("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def several(*parts: Any, loader: str = "ListNode", name: str = "builtins.list") -> dict[str, Any]:
    return part(loader, name, content=list(parts))


def mapping(content: Mapping[str, Any], name: str = "builtins.dict", loader: str = "DictNode") -> dict[str, Any]:
    kinds = several(*[part("TypeNode", "builtins.str")] * len(content))
    return part(loader, name, key_types=kinds, content=dict(content))


LOADERS: Mapping[str, Callable[[str, Any], dict[str, Any]]] = {
    "FunctionNode": lambda name, _: part("FunctionNode", name),
    "TypeNode": lambda name, _: part("TypeNode", name),
    "ObjectNode": lambda name, argument: part("ObjectNode", name, content=mapping({"a": argument})),
    "ConstructorFromReduceNode": lambda name, argument: part(
        "ConstructorFromReduceNode", name, content=several(argument, loader="TupleNode", name="builtins.tuple")),
    "PartialNode": lambda name, argument: part("PartialNode", "functools.partial", content={
        "func": part("FunctionNode", name), "args": several(argument), "kwds": mapping({}), "namespace": mapping({})}),
    "MethodNode": lambda name, argument: part("MethodNode", "builtins.str", content={"func": name, "obj": argument}),
    "OperatorFuncNode": lambda name, argument: part("OperatorFuncNode", "operator." + name, attrs=several(argument)),
    "ListNode": lambda name, argument: several(argument, name=name),
    "SetNode": lambda name, argument: several(argument, loader="SetNode", name=name),
    "TupleNode": lambda name, argument: several(argument, loader="TupleNode", name=name),
    "DictNode": lambda name, argument: mapping({"a": argument}, name),
    "keys": lambda name, argument: part("DictNode", "builtins.dict", content={"true": argument}, key_types=several(
        part("FunctionNode", name))),
    "DefaultDictNode": lambda name, argument: part("DefaultDictNode", "collections.defaultdict", content={
        "main": mapping({"a": argument}), "default_factory": part("TypeNode", name)}),
    "NdArrayNode": lambda name, argument: part("NdArrayNode", name, type="json", content=[argument], shape=several(text(1))),
    "LossNode": lambda name, argument: part("LossNode", name, content=mapping({}), __reduce__={"args": several(argument)}),
    "TreeNode": lambda name, argument: part("TreeNode", name, content=mapping({}), __reduce__={"args": several(argument)}),
    "RandomGeneratorNode": lambda name, _: part("RandomGeneratorNode", "numpy.random._generator.Generator", content={
        "bit_generator": mapping({"bit_generator": text(name)}), "seed_seq": mapping({})}),
    "CachedNode": lambda name, _: part("CachedNode", name, __id__=999),
    "EvilNode": lambda name, _: part("EvilNode", name),
}  # fmt: skip


def _with(maker: Maker, attribute: Any, **changes: Any) -> dict[str, Any]:
    """Returns the schema of the honest object, with one attribute more."""
    archive = zipfile.ZipFile(io.BytesIO(maker.honest["object"].files[OBJECT]))
    schema = json.loads(archive.read("schema.json"))
    schema["content"]["content"]["more"] = attribute
    schema["content"]["key_types"]["content"].append(part("TypeNode", "builtins.str"))
    return schema | changes


def _object(
    maker: Maker, name: str, schema: Any, members: Mapping[str, bytes] | None = None, bomb: bytes = b""
) -> None:
    archive = zipfile.ZipFile(io.BytesIO(maker.honest["object"].files[OBJECT]))
    rest = {one: archive.read(one) for one in archive.namelist() if one != "schema.json"}
    said = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    maker.replaced("object", OBJECT, zipped({**rest, "schema.json": said, **(members or {})}, bomb), name)


def objects(maker: Maker) -> None:
    """Objects that name what is executed, in every place where a name may stand."""
    command = text(f"touch {maker.base / MARKER}")
    for loader, make in LOADERS.items():
        for name in CALLABLES:
            _object(maker, f"{loader} of {name}", _with(maker, make(name, command)))
    for protocol in (0, 1):
        old = part("FunctionNode", "os.system", content={"module_path": "os", "function": "system"})
        _object(maker, f"protocol {protocol}", _with(maker, old, protocol=protocol))
    for protocol in (99, -1, True, "2", None, 1.5):
        _object(maker, f"protocol {protocol!r}", _with(maker, text(1), protocol=protocol))
    deep = text(1)
    for _ in range(300):
        deep = several(deep)
    _object(maker, "nested deeply", _with(maker, deep))
    _object(maker, "nested more deeply", b'{"protocol": 2, "content": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    for name, schema in {"empty": {}, "a list": [], "a number": 7, "no JSON": b"\x80\x04.", "nothing": b""}.items():
        _object(maker, f"the schema is {name}", schema)
    for missing in ("no.npy", "../../../etc/passwd", "/etc/passwd", "", 7, None):
        array = part("NdArrayNode", "numpy.ndarray", type="numpy", file=missing)
        _object(maker, f"an array in {missing!r}", _with(maker, array))
    for member in ("../../x.npy", "/x.npy", "a\\..\\x.npy", "x.pkl", "x.py", "sub/x.npy", "data.pkl"):
        _object(
            maker,
            f"a member {member}",
            _with(maker, text(1)),
            {member: pickle.dumps(bombs(maker.base / MARKER)["open"])},
        )
    for name, bomb in bombs(maker.base / MARKER).items():
        content = pickle.dumps(np.array([bomb, None], dtype=object))
        array = part("NdArrayNode", "numpy.ndarray", type="numpy", file="evil.npy")
        _object(maker, f"an array that is a pickle ({name})", _with(maker, array), {"evil.npy": content})
        saved = io.BytesIO()
        np.save(saved, np.array([bomb, None], dtype=object), allow_pickle=True)
        _object(maker, f"an array of pickles ({name})", _with(maker, array), {"evil.npy": saved.getvalue()})
    twice = zipped({"schema.json": json.dumps(_with(maker, part("FunctionNode", "os.system"))).encode()})
    with io.BytesIO(twice) as buffer:
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("schema.json", json.dumps(_with(maker, text(1))))
        maker.replaced("object", OBJECT, buffer.getvalue(), "two schemas")


def npy(shape: Any, content: bytes = b"", descr: Any = "<f8") -> bytes:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def bombs_in_objects(maker: Maker) -> dict[str, tuple[Any, Mapping[str, bytes], bytes]]:
    """Returns schemas and members that would take gigabytes."""
    array = part("NdArrayNode", "numpy.ndarray", type="numpy", file="z.npy")
    small = {"z.npy": npy((2**17,), bytes(2**20))}
    laughs = text("ha")
    for level in range(8):
        laughs = part("ListNode", "builtins.list", content=[laughs | {"__id__": 1000 + level}] + [
            part("JsonNode", "builtins.str", content="0", is_json=True, __id__=1000 + level)] * 99)  # fmt: skip
    shape = several(*[text(100)] * 8, loader="TupleNode", name="builtins.tuple")
    return {
        "zeros": (_with(maker, array), {"z.npy": npy((300 * 2**17,))}, bytes(8)),
        "a schema": (b'{"protocol": 2, "content": [', {}, b"{},{}, "),
        "one array many times": (_with(maker, several(*[array] * 500)), small, b""),
        "parts that are one": (_with(maker, part("NdArrayNode", "numpy.ndarray", type="json", content=laughs["content"],
                                                 shape=shape)), {}, b""),
        "an archive in an archive": (_with(maker, part("SparseMatrixNode", "scipy.sparse._csr.csr_matrix", type="scipy",
                                                       file="z.npz")), {"z.npz": zipped({"data.npy": b""}, bytes(8))}, b""),
        "a shape beyond the file": (_with(maker, array), {"z.npy": npy((10**12,))}, b""),
        "a negative shape": (_with(maker, array), {"z.npy": npy((-5,), bytes(80))}, b""),
        "a type of a gigabyte": (_with(maker, array), {"z.npy": npy((1,), descr="|S1000000000")}, b""),
    }  # fmt: skip


def bombs_of_many_members(maker: Maker) -> None:
    archive = zipped({f"{number}.npy": bytes(2**20) for number in range(300)} | {"schema.json": b"{}"})
    maker.replaced("object", OBJECT, archive, "a bomb of many members")
    maker.replaced("object", OBJECT, zipped({f"{n}.npy": b"" for n in range(20_000)}), "20,000 members and no schema")


def bombs_of_objects(maker: Maker) -> None:
    for name, (schema, members, bomb) in bombs_in_objects(maker).items():
        _object(maker, f"a bomb: {name}", schema, members, bomb)
    bombs_of_many_members(maker)


def networks(maker: Maker) -> None:
    """Networks whose header lies, whose class nobody named, whose state is not one."""
    whole = maker.honest["network"].files
    known = json.loads(whole[STATE])

    def state(name: str, weights: bytes = whole[WEIGHTS], **changes: Any) -> None:
        document = {key: value for key, value in known.items() if key != "sha256"}
        document |= {"weights_sha256": sha256(weights)} | changes
        said = json.dumps(document | {"sha256": _digest(document)}).encode()
        maker.plant(f"network: {name}", "network", {STATE: said, WEIGHTS: weights}, STATE)

    def header(name: str, said: Any, content: bytes = bytes(64), length: int | None = None) -> None:
        packed = said if isinstance(said, bytes) else json.dumps(said).encode()
        state(name, struct.pack("<Q", len(packed) if length is None else length) + packed + content)

    for name in CALLABLES:
        state(f"class {name}", **{"class": name})
    for name in ("", ".", "../x.Network", "a b", "__main__.X", 7, None, [], {"a": 1}):
        state(f"class {name!r}", **{"class": name})
    for changes in (
        {"format": 2},
        {"format": "1"},
        {"state": None},
        {"state": []},
        {"state": {}},
        {"more": 1},
        {"weights_sha256": 7},
    ):
        state(f"changed {changes}", **changes)
    for dtype in ("U500000000", "S2000000000", "500000000i8", "V1000000000", "(1000,1000,1000)f8"):
        learnt = {
            **known["state"],
            "learnt": {**known["state"]["learnt"], "more_": {"dtype": dtype, "values": ["a", "b"]}},
        }
        state(f"an array of {dtype}", state=learnt)
    for length in (0, 1, 2**20, 2**40, 2**63, 2**64 - 1):
        header(f"a header of {length} bytes", b"{}", length=length)
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    for name, changes in {
        "beyond": {"data_offsets": [0, 2**40]}, "backwards": {"data_offsets": [16, 0]}, "negative": {"data_offsets": [-16, 0]},
        "a negative shape": {"shape": [-4]}, "a shape that overflows": {"shape": [2**62, 2**62]}, "huge": {"shape": [2**40]},
        "no type": {"dtype": "OBJECT"}, "a shape that is none": {"shape": "4"}, "a hole": {"data_offsets": [16, 32]},
    }.items():  # fmt: skip
        header(f"a tensor: {name}", {"a": {**one, **changes}})
    header("tensors that overlap", {"a": one, "b": one}, bytes(16))
    header("metadata that is none", {"__metadata__": {"a": [1]}, "a": one}, bytes(16))
    header("no JSON", b"\x80\x04cos\nsystem\n.")
    header("nested deeply", b"[" * 100_000)
    header("other tensors", {"a": one}, bytes(16))


class Foreign(pa.ExtensionType):
    """What pyarrow once unpickled."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        super().__init__(pa.int64(), "arrow.py_extension_type")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.payload

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> "Foreign":
        return cls(serialized)


MARK = {b"ml_platform.frame_version": b"1"}


def _parquet(table: pa.Table, mark: Mapping[bytes, bytes] = MARK, **options: Any) -> bytes:
    target = io.BytesIO()
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), **mark})
    pq.write_table(table.cast(schema), target, **options)
    return target.getvalue()


def frames(maker: Maker) -> None:
    """Frames that are not what their manifest says, or unpack to far more than they are."""
    rows = pa.table({"x": np.arange(200.0), "dest": ["BOS", "ORD", "SFO", "LAX"] * 50})

    def frame(name: str, content: bytes, **facts: Any) -> None:
        maker.replaced("frame", FRAME, content, name, **facts)

    frame("without its mark", _parquet(rows, {}))
    frame("of a later version", _parquet(rows, {b"ml_platform.frame_version": b"2"}))
    frame("of fewer rows", _parquet(rows.slice(1)))
    frame("of other columns", _parquet(rows.rename_columns(["x", "other"])))
    frame("of other types", _parquet(pa.table({"x": ["a"] * 200, "dest": ["b"] * 200})))
    for value in (None, "200", -1, 10**12, [200], {}):
        frame(f"rows are {value!r}", _parquet(rows), rows=value)
    for value in (None, {}, [], "x", {"columns": 7, "is_open": False}, {"columns": [["x"]], "is_open": 0}):
        frame(f"schema is {value!r}", _parquet(rows), schema=value)
        maker.cases[-1].names = ASSET
    for codec in ("zstd", "gzip", "brotli", "lz4"):
        frame(f"zeros in {codec}", _parquet(pa.table({"x": np.zeros(2**22)}), compression=codec, use_dictionary=False))
    for name, count, bomb in (
        ("one value", 2**25 + 1, pa.array(np.zeros(2**25 + 1))),
        ("nothing", 2**25 + 1, pa.nulls(2**25 + 1, pa.float64())),
    ):
        frame(f"{name} again and again", _parquet(pa.table({"x": bomb})), rows=count)
    for name, kind, told in (
        ("text", pa.string(), "string?"), ("bytes object", pa.binary(), "any?"),
        ("text in lists", pa.list_(pa.string()), "any?"),
    ):  # fmt: skip
        schema = {"columns": [["x", told]], "is_open": False}
        frame(f"one long {name} again and again", _long_values(kind), rows=1000, schema=schema)
    for name, bomb in bombs(maker.base / MARKER).items():
        kind = Foreign(pickle.dumps(bomb))
        table = pa.table({"x": pa.ExtensionArray.from_storage(kind, pa.array([1, 2]))})
        frame(f"an extension type that is a pickle ({name})", _parquet(table), rows=2)
    whole = _parquet(rows)
    for length in (0, 1, 2**20, 2**31 - 1, 2**32 - 1):
        frame(f"a footer of {length} bytes", whole[:-8] + struct.pack("<I", length) + b"PAR1")
    frame("an encrypted footer", whole[:-4] + b"PARE")
    frame("magic numbers alone", b"PAR1PAR1")


def _long_values(kind: pa.DataType) -> bytes:
    """1,000 values of a mebibyte each, of which the file has one in each of 20 parts."""
    schema = pa.schema({"x": kind}, {b"ml_platform.frame_version": b"1"})
    value = pa.array(["x" * 2**20] * 50, kind.value_type if pa.types.is_list(kind) else kind)
    values = pa.ListArray.from_arrays(list(range(51)), value) if pa.types.is_list(kind) else value
    target = io.BytesIO()
    with pq.ParquetWriter(target, schema, dictionary_pagesize_limit=2**22) as writer:
        for _ in range(20):
            writer.write_table(pa.table({"x": values}, schema=schema))
    return target.getvalue()


def reports(maker: Maker) -> None:
    """Reports whose facts are none."""
    for name, said in {"a list": "[]", "a text": '"x"', "null": "null", "a number": "7", "deep": "[" * 200_000, "empty": "",
                       "two": "{}{}", "a long number": '{"a": ' + "9" * 10_000 + "}"}.items():  # fmt: skip
        maker.replaced("report", FACTS, said.encode(), f"facts are {name}")
    maker.replaced("report", FACTS, b"\xff\xfe{}", "facts are not UTF-8")
