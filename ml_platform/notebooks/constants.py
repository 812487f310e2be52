"""Decides from an expression's source whether it is a constant: the same value wherever it is evaluated."""

import ast
from collections.abc import Iterator, Mapping

_PLAIN = (
    ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp,
    ast.JoinedStr, ast.FormattedValue, ast.Name, ast.Subscript, ast.Slice, ast.Starred, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.keyword, ast.expr_context, ast.operator, ast.unaryop,
    ast.boolop, ast.cmpop,
)  # fmt: skip
_BUILTINS = {
    "abs", "bool", "bytes", "complex", "dict", "enumerate", "float", "frozenset", "int", "len", "list", "max", "min",
    "range", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip",
}  # fmt: skip
_METHODS = {
    "copy", "format", "get", "items", "join", "keys", "lower", "replace", "split", "strip", "title", "union", "upper",
    "values",
}  # fmt: skip
# Calls that give equal values for equal arguments, of a kind that nobody changes by using it.
_CALLS = {
    "collections.Counter", "collections.OrderedDict", "collections.namedtuple", "datetime.date", "datetime.datetime",
    "datetime.time", "datetime.timedelta", "decimal.Decimal", "fractions.Fraction", "logging.getLogger",
    "ml_platform.schema.Column", "ml_platform.schema.Schema", "ml_platform.schema.Schema.of", "numpy.arange",
    "numpy.array", "numpy.dtype", "numpy.linspace", "numpy.timedelta64", "operator.attrgetter", "operator.itemgetter",
    "pandas.CategoricalDtype", "pandas.DateOffset", "pandas.Timedelta", "re.compile", "types.MappingProxyType",
    "typing.NewType", "typing.TypeVar", "zoneinfo.ZoneInfo",
}  # fmt: skip
_SURROUNDINGS = {"os", "sys"}  # what is in them differs from process to process


def obstacle(value: ast.expr, imports: Mapping[str, str], bound: Mapping[str, object]) -> str | None:
    """Returns what keeps an expression from being a constant, or None; the names in it are not judged.

    Args:
        imports: names to the dotted paths that imports bind them to.
        bound: the names that the notebook binds at the top.

    >>> obstacle(ast.parse("{'a': (1, 2)}", mode="eval").body, {}, {})
    >>> obstacle(ast.parse("open('f')", mode="eval").body, {}, {})
    'the call of open'
    """
    for node in _parts(value):
        if isinstance(node, ast.Call):
            if not _is_constant_call(node, imports, bound):
                return f"the call of {ast.unparse(node.func):.60}"
        elif isinstance(node, ast.Attribute):
            path = _path(node, imports)
            if path is not None and path.split(".")[0] in _SURROUNDINGS:
                return f"{ast.unparse(node)}, which differs from process to process"
        elif isinstance(node, ast.Name):
            if imports.get(node.id, "").split(".")[0] in _SURROUNDINGS:
                return f"{node.id}, which differs from process to process"
        elif not isinstance(node, (*_PLAIN, ast.Lambda)):
            return f"{type(node).__name__}"
    return None


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Lists the nodes that are evaluated with an expression: not the bodies of lambdas."""
    yield node
    inner = [node.args] if isinstance(node, ast.Lambda) else list(ast.iter_child_nodes(node))
    for part in inner:
        if isinstance(part, ast.arguments):
            # Defaults of a lambda are evaluated where it stands, its body when it is called.
            for default in (*part.defaults, *filter(None, part.kw_defaults)):
                yield from _parts(default)
        else:
            yield from _parts(part)


def _is_constant_call(call: ast.Call, imports: Mapping[str, str], bound: Mapping[str, object]) -> bool:
    path = _path(call.func, imports)
    if path is not None:
        return path in _CALLS
    if isinstance(call.func, ast.Name):
        # A name that the notebook binds itself is no builtin there, even if it is called `sum`.
        return call.func.id in _BUILTINS and call.func.id not in bound
    # By name alone: what the method is called on has been judged as a part of the expression.
    return isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS


def _path(node: ast.expr, imports: Mapping[str, str]) -> str | None:
    """Returns the dotted path of what an import binds: `pd.Timedelta` is pandas.Timedelta."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in imports:
        return None
    return ".".join([imports[node.id], *reversed(attributes)])
